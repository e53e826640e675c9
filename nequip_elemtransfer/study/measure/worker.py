"""One evaluation of one model, in a process of its own:

    python -m nequip_elemtransfer.study.measure.worker OUT KIND MODEL

KIND is ``properties``, ``stability`` or ``plan``, MODEL the name of a run, or ``reference``.
"""

import sys
from pathlib import Path

from nequip_elemtransfer.study.measure.one_evaluation import evaluate_model

if __name__ == "__main__":
    evaluate_model(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
