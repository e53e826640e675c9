"""How good a forecast are the verdicts of ``plan``? From reports of studies that made plans and trained.

    python benchmarks/forecast.py docs/studies/forecast/*.json

Lists each transfer: what ``plan`` said before training, and the force MAE after it, by transfer and from scratch, in
the mean over seeds. A transfer helps if its mean is lower. The verdicts are scored with the limits of the rules as they
are, and with limits that were chosen on the other targets, for each target in turn: those that get most of the other
transfers right. "Go with care" is counted apart, for it says neither.
"""

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from nequip_elemtransfer.plan.verdict import CARE, GO, LIMITS, STOP, Limits, judge
from nequip_elemtransfer.study.config.starts import SCRATCH
from nequip_elemtransfer.study.run.metrics import FORCE_MAE

TRIED = [
    Limits(*values) for values in itertools.product((0.02, 0.05, 0.1, 0.2), (0.3, 0.5, 0.8), (0.8, 0.9, 0.95, 0.99))
]


@dataclass(frozen=True)
class Transfer:
    """A transfer of a study, with what was said of it and what came of it.

    Args:
        target, start: names of the study and of its start
        unexplained, auc: that the verdict is made of
        verdict: of ``plan``
        errors, scratch: test force MAE in meV/Å of each seed
    """

    target: str
    start: str
    unexplained: float
    auc: float
    verdict: str
    errors: np.ndarray
    scratch: np.ndarray

    @property
    def helps(self) -> bool:
        return bool(self.errors.mean() < self.scratch.mean())

    def word(self, limits: Limits) -> str:
        """The verdict with other limits."""
        plain = judge(self.unexplained, None, self.auc).word
        warned = ["there was a warning"] if self.verdict == CARE != plain else []
        return judge(self.unexplained, None, self.auc, warned, limits=limits).word


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path, help="report.json of each target, named after it")
    transfers = [transfer for path in parser.parse_args().reports for transfer in read(path)]
    print("| target | source | unexplained | AUC | verdict | by transfer | from scratch | helps |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: | --- |")
    for t in transfers:
        print(
            f"| {t.target} | {t.start} | {t.unexplained:.3f} | {t.auc:.2f} | {t.verdict} | "
            f"{mean_text(t.errors)} | {mean_text(t.scratch)} | {'yes' if t.helps else 'no'} |"
        )
    print(f"\n{len(transfers)} transfers, of which {sum(not t.helps for t in transfers)} do not help.")
    print("\n| limits | go, and it helps | do not, and it does not help | go with care |\n| --- | ---: | ---: | ---: |")
    print(score("as they are", [(t, t.word(LIMITS)) for t in transfers]))
    print(score("chosen on the other targets", list(held_out(transfers))))


def read(path: Path) -> list[Transfer]:
    """The transfers of one report."""
    report = json.loads(path.read_text(encoding="utf-8"))
    errors: dict[str, dict[int, float]] = {}
    for run in report["runs"]:
        if run["state"] == "finished" and "all" in run["tests"]:
            start, seed = run["settings"]["start"], run["settings"]["seed"]
            errors.setdefault(start, {})[seed] = 1000 * run["tests"]["all"][FORCE_MAE]
    known = [f for f in report["forecasts"] if f["unexplained"] is not None and f["auc"] is not None]
    scratch = np.array(list(errors[SCRATCH].values()))
    return [
        Transfer(path.stem, f["start"], f["unexplained"], f["auc"], f["verdict"], values, scratch)
        for f in known
        if len(values := np.array(list(errors.get(f["start"], {}).values())))
    ]


def held_out(transfers: Sequence[Transfer]) -> Iterable[tuple[Transfer, str]]:
    """Each transfer with the verdict by limits chosen on the other targets."""
    for target in dict.fromkeys(t.target for t in transfers):
        others = [t for t in transfers if t.target != target]
        # of limits that are right equally often, those nearest to today's
        best = max(TRIED, key=lambda limits: (n_right(others, limits), limits == LIMITS))
        yield from ((t, t.word(best)) for t in transfers if t.target == target)


def n_right(transfers: Iterable[Transfer], limits: Limits) -> int:
    return sum(t.word(limits) == (GO if t.helps else STOP) for t in transfers)


def score(name: str, verdicts: Sequence[tuple[Transfer, str]]) -> str:
    """A row: of each verdict, how often it was right, with Wilson's interval."""
    said = Counter(word for _, word in verdicts)
    right = Counter(word for t, word in verdicts if t.helps == (word != STOP))
    definite = f"{share(right[GO], said[GO])} | {share(right[STOP], said[STOP])}"
    return f"| {name} | {definite} | {share(right[CARE], said[CARE])} help |"


def share(right: int, said: int) -> str:
    if not said:
        return "–"
    low, high = binomtest(right, said).proportion_ci(method="wilson")
    return f"{right} of {said} ({low:.0%} to {high:.0%})"


def mean_text(values: np.ndarray) -> str:
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" if len(values) > 1 else f"{values.mean():.1f}"


if __name__ == "__main__":
    main()
