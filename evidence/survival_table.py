"""Table of the simulations of a study that last to their end."""

from collections.abc import Mapping, Sequence
from typing import Any


def survival(reports: Mapping[str, Any]) -> tuple[Sequence[str], list[list[str]]]:
    """Models all of whose simulations last, with Wilson's interval, and what ended others: a row for each start."""
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
                    f"{model['lasting_models']} of {len(set(model['models']))}",
                    "{:.0f} to {:.0f} %".format(*(100 * end for end in model["lasting_interval"])),
                    f"{model['failed'].count(False)} of {len(model['failed'])}",
                    failures or "–",
                ]
            )
    counted = ["models that last", "interval of the share", "simulations"]
    return ["start", "structures", "begins with", "time (ps)", *counted, "ended by"], rows
