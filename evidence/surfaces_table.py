"""Table of the energy errors of slabs, which are few among the training structures."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from table_cells import compared, errors_of_runs

from nequip_elemtransfer.intervals import paired_ratio
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, SCRATCH
from nequip_elemtransfer.study.run.results import ENERGY_MAE, FORCE_MAE

# slabs among the first n of the training structures, in each of their orders, and among those of the test
_SLABS = {5: 0, 10: 1, 25: 1, 50: 3, 152: 8}
_TESTED, _TEST_SLABS = 48, 2
_STARTS = (CORRESPONDING_STATES, SCRATCH)


def surfaces(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Energies of the test's slabs by the number of slabs that were trained on: a row for each size and start."""
    rows = []
    for report in reports.values():
        for size in sorted({point["size"] for curve in report["curves"] for point in curve["test_sets"]["all"]}):
            scratch = errors_of_runs(report, SCRATCH, size, ENERGY_MAE, "Surface")
            for start in (SCRATCH, CORRESPONDING_STATES):
                energies = errors_of_runs(report, start, size, ENERGY_MAE, "Surface")
                every = errors_of_runs(report, start, size, ENERGY_MAE)
                share = 100 * _TEST_SLABS * fmean(energies.values()) / (_TESTED * fmean(every.values()))
                forces = errors_of_runs(report, start, size, FORCE_MAE, "Surface")
                others = errors_of_runs(report, SCRATCH, size, FORCE_MAE, "Surface")
                cells = [
                    compared(own, None if start == SCRATCH else base, kind)
                    for own, base, kind in ((energies, scratch, ENERGY_MAE), (forces, others, FORCE_MAE))
                ]
                rows.append((size, [f"{_SLABS[size]} of {size}", start.replace("_", " "), *cells, f"{share:.0f} %"]))
    rows.sort(key=lambda row: row[0])
    header = ["slabs trained on", "start", "energies (meV/atom)", "forces (meV/Å)", "share of the energy error"]
    return header, [row for _, row in rows]


def other_structures(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Energies of each group by transfer in per cent of those from scratch: a row for each size, a column for each."""
    found = []
    for report in reports.values():
        groups = [name for name in report["curves"][0]["test_sets"] if name != "all"]
        for size in sorted({point["size"] for curve in report["curves"] for point in curve["test_sets"]["all"]}):
            ratios = [
                paired_ratio(*(errors_of_runs(report, start, size, ENERGY_MAE, name) for start in _STARTS)).percent
                for name in groups
            ]
            found.append((size, [str(size), *ratios]))
    found.sort(key=lambda row: row[0])
    return ["structures", *groups], [row for _, row in found]
