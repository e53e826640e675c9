"""Derive anew what the studies' report.json derive from their raw results, or check that it is what today's code says.

    python evidence/update_reports.py [--check]

Raw are the errors of each training and what each simulation lasted; derived are means, ratios and intervals.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from nequip_elemtransfer.intervals import CONFIDENCE, Replicate
from nequip_elemtransfer.study.config.study_file import SCRATCH
from nequip_elemtransfer.study.grid import Run, State
from nequip_elemtransfer.study.report.curves import learning_curves
from nequip_elemtransfer.study.report.survival import first_ends
from nequip_elemtransfer.study.run.results import RunResult, Validation

STUDIES = Path(__file__).parent / "studies"


def main() -> int:
    """Returns 1 if reports were to be checked and one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a report differs")
    check = parser.parse_args().check
    return max([_update(path, check) for path in sorted(STUDIES.glob("*/report.json"))])


def _update(path: Path, check: bool) -> int:
    old = path.read_text(encoding="utf-8")
    report = json.loads(old)
    if "runs" not in report:  # of a benchmark
        return 0
    new = json.dumps(derived(report), indent=1, ensure_ascii=False) + "\n"
    if check and not _same(json.loads(new), json.loads(old)):
        print(f"{path} does not follow from its runs: run `python evidence/update_reports.py`.")
        return 1
    if not check:
        path.write_text(new, encoding="utf-8")
    return 0


def _same(one: Any, other: Any) -> bool:
    """To rounding, which depends on the machine."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


def derived(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report with what follows from its runs and simulations."""
    results = [_result(run) for run in report["runs"]]
    test_sets = list(report["curves"][0]["test_sets"])
    curves = learning_curves(results, test_sets, _baseline(report["curves"]))
    return {
        **report,
        "curves": [asdict(curve) for curve in curves],
        "stability": [_survival(entry, results) for entry in report["stability"]],
    }


def _result(run: Mapping[str, Any]) -> RunResult:
    validations = tuple(Validation(**validation) for validation in run["validations"])
    described = Run(run["name"], run["settings"], config="", overrides=())
    return RunResult(
        described,
        Path(),
        State(run["state"]),
        run["reason"],
        validations,
        run["tests"],
        validated_on=run.get("validated_on"),
    )


def _baseline(curves: Sequence[Mapping[str, Any]]) -> str:
    """The start that others are compared with, which has no ratios itself; scratch where none is compared."""
    compared = {
        c["start"] for c in curves if any(p.get("ratios") for points in c["test_sets"].values() for p in points)
    }
    others = dict.fromkeys(curve["start"] for curve in curves if curve["start"] not in compared)
    return next(iter(others)) if compared and len(others) == 1 else SCRATCH


def _survival(entry: Mapping[str, Any], results: Sequence[RunResult]) -> dict[str, Any]:
    replicates = [
        result.run.replicate
        for result in results
        if (result.run.settings["start"], result.run.settings.get("size")) == (entry["start"], entry["size"])
    ]
    models = entry.get("models") or _models(replicates, len(entry["survived"]))
    ends = first_ends(models, entry["survived"], entry["failed"])
    lasting = sum(not failed for _, failed in ends.values())
    interval = binomtest(lasting, len(ends)).proportion_ci(CONFIDENCE, method="wilson")
    return {
        **entry,
        "models": models,
        "lasting_models": lasting,
        "lasting_interval": [float(interval.low), float(interval.high)],
    }


def _models(replicates: Sequence[Replicate], simulations: int) -> list[str]:
    """The model of each simulation, as many of each, in order."""
    return [str(replicate) for replicate in replicates for _ in range(simulations // len(replicates))]


if __name__ == "__main__":
    sys.exit(main())
