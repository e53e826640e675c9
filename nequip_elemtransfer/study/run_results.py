"""What the folder of a run says: its state, its validation errors along the training, and its test errors."""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from nequip_elemtransfer.study.grid import Grid, Run
from nequip_elemtransfer.study.training_callbacks import SECONDS, STEPS

FINISHED, FAILED, LOG = "finished.json", "failed.json", "nequip-train.log"
FORCE_MAE, ENERGY_MAE = "forces_mae", "per_atom_energy_mae"


class State(str, Enum):
    """Of a run."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not started"


@dataclass(frozen=True)
class Validation:
    """Errors on the validation set in the course of a training.

    Args:
        steps: optimizer steps done
        seconds: spent in them
        force_mae: eV/Å; None if not logged
        energy_mae: eV/atom; None if not logged
    """

    steps: int
    seconds: float
    force_mae: float | None
    energy_mae: float | None


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
    return [_read(run, out / "runs" / run.name, list(grid.test_sets)) for run in grid.runs]


def run_state(folder: Path) -> State:
    """How far the run of a folder is."""
    if (folder / FINISHED).exists():
        return State.FINISHED
    if (folder / FAILED).exists():
        return State.FAILED
    return State.INTERRUPTED if folder.exists() else State.NOT_STARTED


def failure_reason(folder: Path) -> str:
    """Why what has this folder failed; empty if it did not."""
    path = folder / FAILED
    return json.loads(path.read_text(encoding="utf-8"))["reason"] if path.exists() else ""


def tested(folder: Path) -> bool:
    """Whether the last thing that a run does is done."""
    return any(metrics for metrics in _tests(folder).values())


def _read(run: Run, folder: Path, names: list[str]) -> RunResult:
    state = run_state(folder)
    reason = failure_reason(folder)
    if state is State.NOT_STARTED and run.needs and run_state(folder.parent / run.needs) is State.FAILED:
        reason = f"its source, {run.needs}, failed"
    tests = _tests(folder) if state is State.FINISHED else {}
    named = {(names[index] if index < len(names) else f"test{index}"): values for index, values in tests.items()}
    return RunResult(run, folder, state, reason, _validations(folder), named, _machine(folder))


def _machine(folder: Path) -> dict[str, str]:
    path = folder / FINISHED
    return json.loads(path.read_text(encoding="utf-8")).get("machine", {}) if path.exists() else {}


def _validations(folder: Path) -> tuple[Validation, ...]:
    """All validations; of one that was done again after an interruption, the last."""
    found: dict[int, Validation] = {}
    for row in _rows(folder):
        if row.get(STEPS):
            steps = int(float(row[STEPS]))
            force, energy = (_number(row.get(f"val0_epoch/{name}")) for name in (FORCE_MAE, ENERGY_MAE))
            found[steps] = Validation(steps, float(row[SECONDS]), force, energy)
    return tuple(found[steps] for steps in sorted(found))


def _tests(folder: Path) -> dict[int, dict[str, float]]:
    """Index of the test set -> metric -> value."""
    found: dict[int, dict[str, float]] = {}
    for row in _rows(folder):
        for column, text in row.items():
            match = re.fullmatch(r"test(\d+)_epoch/(.+)", column)
            value = _number(text)
            if match and value is not None:
                found.setdefault(int(match[1]), {})[match[2]] = value
    return dict(sorted(found.items()))


def _rows(folder: Path) -> Iterator[dict[str, str]]:
    """Rows of the metrics, those before interruptions first."""
    parts = sorted(folder.glob("metrics/metrics.before_*.csv"), key=lambda path: int(re.findall(r"\d+", path.name)[0]))
    for path in (*parts, folder / "metrics" / "metrics.csv"):
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                yield from csv.DictReader(file)


def _number(text: str | None) -> float | None:
    """A finite number; None for a missing or non-finite one."""
    if not text:
        return None
    value = float(text)
    return value if math.isfinite(value) else None
