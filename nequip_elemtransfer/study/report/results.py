"""What came of the runs of a study: how far each is, its errors along the training, and its test errors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nequip_elemtransfer.study.folder import FINISHED_FILE, State, failure_reason, run_folder, state_of
from nequip_elemtransfer.study.grid import Grid, Run
from nequip_elemtransfer.study.run.metrics import Validation, test_errors, validations


@dataclass(frozen=True)
class RunResult:
    """A run and what came of it.

    Args:
        run: the run
        folder: of its files
        state: how far it is
        reason: why it failed, or cannot run; empty otherwise
        validations: in the order of steps, the first before the training
        tests: name of the test set -> metric -> value, of the best checkpoint; empty unless finished
        machine: see :func:`.machine.machine`; empty unless finished
    """

    run: Run
    folder: Path
    state: State
    reason: str
    validations: tuple[Validation, ...]
    tests: Mapping[str, Mapping[str, float]]
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        """The best model."""
        return self.folder / "best.ckpt"


def read_results(grid: Grid, out: Path) -> list[RunResult]:
    """The result of every run of a study, as far as it has come."""
    return [_read(run, run_folder(out, run.name), list(grid.test_sets)) for run in grid.runs]


def _read(run: Run, folder: Path, names: list[str]) -> RunResult:
    state = state_of(folder)
    reason = failure_reason(folder)
    if state is State.NOT_STARTED and run.needs and state_of(folder.parent / run.needs) is State.FAILED:
        reason = f"its source, {run.needs}, failed"
    tests = test_errors(folder) if state is State.FINISHED else {}
    named = {(names[index] if index < len(names) else f"test{index}"): values for index, values in tests.items()}
    return RunResult(run, folder, state, reason, validations(folder), named, _machine(folder))


def _machine(folder: Path) -> dict[str, str]:
    path = folder / FINISHED_FILE
    return json.loads(path.read_text(encoding="utf-8")).get("machine", {}) if path.exists() else {}
