"""Table of what a number of labelled structures in all gives, those that a checkpoint is chosen by counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from table_cells import with_ratio

from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, SCRATCH
from nequip_elemtransfer.study.run.results import ENERGY_MAE, FORCE_MAE

_VALIDATED_ON = {"mlearn_converged": 28}  # of reports that do not say it


def ten_in_all(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Errors on all test structures by transfer, with their differences from scratch, and from scratch."""
    rows = []
    for study, report in reports.items():
        points = {
            (row["size"], curve["start"]): row for curve in report["curves"] for row in curve["test_sets"]["all"]
        }
        for size in sorted({size for size, _ in points}):
            own, scratch = points[size, CORRESPONDING_STATES], points[size, SCRATCH]
            others = _VALIDATED_ON.get(study) or own["labels"] - size
            labels = f"{size} + {others} to validate on" if others else f"{size} in all"
            cells = [with_ratio(point, name) for name in (FORCE_MAE, ENERGY_MAE) for point in (own, scratch)]
            rows.append((size, others, [labels, *cells, *(f"{p['steps']['mean']:.0f}" for p in (own, scratch))]))
    header = [
        "structures of germanium",
        "forces by transfer (meV/Å)",
        "from scratch",
        "energies by transfer (meV/atom)",
        "from scratch",
        "steps by transfer",
        "from scratch",
    ]
    return header, [row for *_, row in sorted(rows, key=lambda row: row[:2])]
