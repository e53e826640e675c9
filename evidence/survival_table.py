"""Table of the simulations of a study that last to their end."""

from collections.abc import Mapping, Sequence
from typing import Any


def survival(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """How many last, with Wilson's interval, and what ended the others: a row for each start and kind of simulation."""
    rows = []
    for report in reports.values():
        for model in report["stability"]:
            failures = ", ".join(f"{name.replace('_', ' ')} ({count})" for name, count in model["failures"].items())
            rows.append(
                [
                    model["start"].replace("_", " "),
                    str(model["size"]),
                    f"{model['begin']}, {model['temperature']:.0f} K",
                    f"{model['time']:g}",
                    f"{len(model['survived']) - sum(model['failures'].values())} of {len(model['survived'])}",
                    "{:.0f} to {:.0f} %".format(*(100 * end for end in model["survived_interval"])),
                    failures or "–",
                ]
            )
    header = ["start", "structures", "begins with", "time (ps)", "lasted", "interval of the share", "ended by"]
    return header, rows
