"""The metrics that Lightning's ``CSVLogger`` left in the folder of a run."""

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path

from nequip_elemtransfer.outcome.errors import Errors, by_set

# what a study's trainings log besides: optimizer steps done
STEPS = "training_steps"


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Rows of ``metrics.csv`` in a folder, those before interruptions first."""
    before = sorted(folder.glob("metrics.before_*.csv"), key=lambda path: int(re.findall(r"\d+", path.name)[0]))
    for path in (*before, folder / "metrics.csv"):
        if path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                yield from csv.DictReader(file)


def number(text: str | None) -> float | None:
    """A finite number; None for a missing or non-finite one."""
    value = float(text) if text else math.nan
    return value if math.isfinite(value) else None


def validations(run: Path) -> list[tuple[int, Errors]]:
    """Optimizer steps done and the logged validation errors then, wherever the run has a ``metrics.csv``."""
    found: dict[int, Errors] = {}
    for row in _rows_of(run):
        errors = _numbers(row, "val")
        if errors:
            steps = number(row.get(STEPS))
            # Lightning writes the number of the last step, counted from zero
            found[int(steps) if steps is not None else int(number(row.get("step")) or 0) + 1] = errors
    return sorted(found.items())


def test_errors(run: Path) -> dict[int, Errors]:
    """Index of the test set -> metric -> value; empty if there was no test, or no ``metrics.csv``."""
    logged: Errors = {}
    for row in _rows_of(run):
        logged |= _numbers(row, "test")
    return by_set(logged, "test")


def _rows_of(run: Path) -> Iterator[dict[str, str]]:
    """Rows of all metrics in and below the folder of a run, older files first."""
    changed: dict[Path, float] = {}
    for file in run.rglob("metrics*.csv"):
        changed[file.parent] = max(changed.get(file.parent, 0.0), file.stat().st_mtime)
    for folder in sorted(changed, key=lambda folder: changed[folder]):
        yield from rows(folder)


def _numbers(row: dict[str, str], stage: str) -> Errors:
    """The finite numbers of columns such as ``val0_epoch/forces_mae``."""
    values = {column: number(text) for column, text in row.items() if re.match(rf"{stage}\d+_epoch/", column or "")}
    return {column: value for column, value in values.items() if value is not None}
