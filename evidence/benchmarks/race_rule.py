"""The rule by which a race stops starts, fitted to the validation curves of the studies and tried on other targets.

    python evidence/benchmarks/race_rule.py

Trainings by transfer and from scratch, of one study, size and schedule, whose learning rate ends at zero with the last
step. For each target in turn the line of :mod:`nequip_elemtransfer.race.rule` is fitted to the transfers of all other
targets, and asked at a third of the steps which start will have the lower error on the test structures. At the end of
the budget a race goes by the interval of the ratio of validation errors, which has no constant; it is tried here where
there are three seeds, which stand for the folds.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.intervals import Ratio, Replicate, paired_ratio
from nequip_elemtransfer.race.rule import FRACTION, Line, outlook

STUDIES = Path(__file__).resolve().parent.parent / "studies"
# study -> its target; a target is never judged by a line that it was fitted to
TARGETS = {
    **{f"forecast_{name}": name for name in ("ag", "ni", "ge", "ge_sw", "w", "ta")},
    **{"emt_ag": "ag", "emt_sources": "ag", "emt_recipes": "ag", "emt_recipe_sizes": "ag"},
    **{"emt_alloy_recipes": "agau", "agau_25": "agau", "mow": "mow", "nbta": "nbta", "ta": "ta", "w": "w"},
    **{"mlearn_recipes": "ge", "mlearn_recipe_sizes": "ge"},
    **{"sw": "ge_sw", "sw_recipes": "ge_sw", "sw_temperature": "ge_sw", "sw_labels": "ge_sw"},
    **{"xtb_groups": "ge_xtb", "xtb_labels": "ge_xtb", "xtb_se_groups": "se", "xtb_se_labels": "se"},
}
# of the studies' starts, those that a race knows: fitted, the map alone, another source
STARTS = ("corresponding_states", "lattice_constants", "element_map", "cu", "si_sw", "si", "si_elastic", "mo", "nb")
VALIDATED: dict[LabelKind, str] = {"forces": "force_mae", "energy": "energy_mae", "stress": "stress_mae"}
TESTED: dict[LabelKind, str] = {"forces": "forces_mae", "energy": "per_atom_energy_mae", "stress": "stress_mae"}
NAMES: dict[LabelKind, str] = {"forces": "forces", "energy": "energies", "stress": "stresses"}


@dataclass(frozen=True)
class Transfer:
    """Trainings of one start and those from scratch beside them.

    Args:
        target: of the transfer
        name: study, start and what else tells it from others
        pairs: of each seed and source, the run by transfer and that from scratch
    """

    target: str
    name: str
    pairs: dict[Replicate, tuple[dict[str, Any], dict[str, Any]]]

    def ratio(self, error: Callable[[dict[str, Any]], float | None]) -> Ratio | None:
        """Of the errors of both, over seeds."""
        errors = {replicate: (error(own), error(other)) for replicate, (own, other) in self.pairs.items()}
        if not errors or any(value is None or value <= 0 for pair in errors.values() for value in pair):
            return None
        own, other = ({replicate: pair[i] for replicate, pair in errors.items()} for i in (0, 1))
        return paired_ratio(own, other)


def transfers() -> Iterator[Transfer]:
    for study, target in TARGETS.items():
        runs = json.loads((STUDIES / study / "report.json").read_text(encoding="utf-8"))["runs"]
        cells: dict[tuple, dict[Replicate, dict[str, Any]]] = {}
        for run in runs:
            settings = run["settings"]
            if run["tests"] and settings["start"] != "source":
                axes = tuple(sorted((k, v) for k, v in settings.items() if k not in ("start", "seed", "source")))
                replicate = Replicate(settings["seed"], settings.get("source"))
                cells.setdefault((axes, settings["start"]), {})[replicate] = run
        for (axes, start), own in cells.items():
            scratch = cells.get((axes, "scratch"), {})
            pairs = {r: (run, scratch[Replicate(r.seed)]) for r, run in own.items() if Replicate(r.seed) in scratch}
            pairs = {r: pair for r, pair in pairs.items() if _steps(pair[0]) == _steps(pair[1])}
            if start in STARTS and pairs:
                yield Transfer(target, f"{study} {start} {dict(axes)}", pairs)


def _steps(run: dict[str, Any]) -> int:
    return run["validations"][-1]["steps"]


def validated(kind: LabelKind, fraction: float) -> Callable[[dict[str, Any]], float | None]:
    """The validation error at a part of the steps, between validations on a straight line of its logarithm."""

    def error(run: dict[str, Any]) -> float | None:
        points = [(v["steps"], v[VALIDATED[kind]]) for v in run["validations"] if v.get(VALIDATED[kind])]
        if len(points) < 2:
            return None
        steps, errors = np.array(points).T
        return exp(float(np.interp(fraction * _steps(run), steps, np.log(errors))))

    return error


def tested(kind: LabelKind) -> Callable[[dict[str, Any]], float | None]:
    """The error on the whole test set, whose name comes first."""
    return lambda run: next(iter(run["tests"].values())).get(TESTED[kind])


def line_of(points: list[tuple[float, float]]) -> Line:
    """The line through log ratios so far and at the end."""
    so_far, at_end = np.array(points).T
    slope, intercept = np.polyfit(so_far, at_end, 1)
    return Line(float(intercept), float(slope), float(np.std(at_end - intercept - slope * so_far, ddof=2)))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    found = list(transfers())
    alone = [t for t in found if t.name.startswith("forecast")]
    print(f"{len(found)} transfers to {len({t.target for t in found})} targets")
    for title, some in (("all", found), ("those of the forecasts", alone)):
        print(
            f"\n{title}\n\n| errors of | transfers | line | decided at a third | right | decided at the end | right |"
        )
        print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
        for kind in ("forces", "energy", "stress"):
            assert kind in LABEL_KINDS
            print(_row(kind, some))


def _row(kind: LabelKind, some: list[Transfer]) -> str:
    rows = []
    for transfer in some:
        so_far, at_end = transfer.ratio(validated(kind, FRACTION)), transfer.ratio(tested(kind))
        if so_far is not None and at_end is not None:
            rows.append((transfer, log(so_far.ratio), log(at_end.ratio)))
    decided = right = 0
    for transfer, so_far, at_end in rows:
        line = line_of([(x, y) for other, x, y in rows if other.target != transfer.target])
        certain = Ratio(exp(so_far), exp(so_far), exp(so_far), 1, True)
        expected = outlook(certain, kind, catching_up=True, line=line)
        if expected is not None and expected.told_apart:
            decided += 1
            right += (expected.ratio > 1) == (at_end > 0)
    ended = [(t.ratio(validated(kind, 1.0)), at_end) for t, _, at_end in rows if len({r.seed for r in t.pairs}) > 2]
    apart = [(ratio, at_end) for ratio, at_end in ended if ratio is not None and ratio.told_apart]
    agree = sum((ratio.ratio > 1) == (at_end > 0) for ratio, at_end in apart)
    line = line_of([(x, y) for _, x, y in rows])
    text = f"{line.intercept:+.2f} {line.slope:+.2f} ln r, ± {line.spread:.2f}".replace("-", "−")
    share = f"{decided} of {len(rows)} | {right} of {decided}"
    return (
        f"| {NAMES[kind]} | {len(rows)} | {text} | {share} | {len(apart)} of {len(ended)} | {agree} of {len(apart)} |"
    )


if __name__ == "__main__":
    main()
