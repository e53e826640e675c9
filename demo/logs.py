"""What the trainings of the demo logged."""

import csv
from pathlib import Path

# name in the summary -> name in NequIP's log
ERRORS = {
    "force_mae_eV_per_A": "forces_mae",
    "energy_mae_eV_per_atom": "per_atom_energy_mae",
    "stress_mae_eV_per_A3": "stress_mae",
}


def metrics(folder: Path) -> list[dict[str, str]]:
    """Rows of the CSV log of a run."""
    path = folder / "metrics" / "metrics.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def last_step(folder: Path) -> int:
    return max((int(row["step"]) for row in metrics(folder) if row.get("step")), default=0)


def validation_curve(folder: Path) -> list[tuple[int, float]]:
    """Step and force MAE in eV/Å of each validation."""
    rows = metrics(folder)
    return [(int(row["step"]), float(row["val0_epoch/forces_mae"])) for row in rows if row.get("val0_epoch/forces_mae")]


def is_tested(folder: Path) -> bool:
    """Whether a run has ended with its test."""
    return any(row.get("test0_epoch/forces_mae") for row in metrics(folder))


def test_errors(folder: Path) -> dict[str, float]:
    row = next(row for row in reversed(metrics(folder)) if row.get("test0_epoch/forces_mae"))
    return {name: float(row[f"test0_epoch/{logged}"]) for name, logged in ERRORS.items()}
