"""What a training logged: its errors on the validation set along the way, and on the test sets at the end."""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nequip_elemtransfer.study.run.callbacks import SECONDS, STEPS

FORCE_MAE, ENERGY_MAE, STRESS_MAE = "forces_mae", "per_atom_energy_mae", "stress_mae"
WEIGHTED_SUM = "weighted_sum"  # of NequIP's validation metrics, what checkpoints and schedules go by


@dataclass(frozen=True)
class Validation:
    """Errors on the validation set in the course of a training.

    Args:
        steps: optimizer steps done
        seconds: spent in them
        force_mae: eV/Å; None if not logged, as the others
        energy_mae: eV/atom
        stress_mae: eV/Å³
        weighted_sum: of the validation metrics, by their ``coeffs``
    """

    steps: int
    seconds: float
    force_mae: float | None
    energy_mae: float | None
    stress_mae: float | None = None
    weighted_sum: float | None = None


def tested(folder: Path) -> bool:
    """Whether the last thing that a run does is done."""
    return any(metrics for metrics in test_errors(folder).values())


def validations(folder: Path) -> tuple[Validation, ...]:
    """All validations; of one that was done again after an interruption, the last."""
    found: dict[int, Validation] = {}
    for row in _rows(folder):
        if row.get(STEPS):
            steps = int(float(row[STEPS]))
            logged = (FORCE_MAE, ENERGY_MAE, STRESS_MAE, WEIGHTED_SUM)
            values = (_number(row.get(f"val0_epoch/{name}")) for name in logged)
            found[steps] = Validation(steps, float(row[SECONDS]), *values)
    return tuple(found[steps] for steps in sorted(found))


def test_errors(folder: Path) -> dict[int, dict[str, float]]:
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
    before = sorted(folder.glob("metrics/metrics.before_*.csv"), key=lambda path: int(re.findall(r"\d+", path.name)[0]))
    for path in (*before, folder / "metrics" / "metrics.csv"):
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                yield from csv.DictReader(file)


def _number(text: str | None) -> float | None:
    """A finite number; None for a missing or non-finite one."""
    if not text:
        return None
    value = float(text)
    return value if math.isfinite(value) else None
