"""Studies run in the test's process, their tasks forked from one that has imported NequIP."""

import io
import subprocess
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
from commands import Forked

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.study.run import tasks


def run_study(file, out, *options) -> tuple[int, str]:
    """Exit code and output of ``nequip-elemtransfer study run``."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.setattr(tasks, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": Forked}))
        code = main(["study", "run", str(file), "--out", str(out), *options])
    return code, printed.getvalue()
