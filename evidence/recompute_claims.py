"""Compute the ratios of claims.md once more from raw errors, with code of its own, and fail where the page differs.

    python evidence/recompute_claims.py

Nothing of the package or of the other scripts here is used: logarithms, sums of squares, Student's t by bisection.
"""

import json
import math
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
RATIO = re.compile(r"([a-z]+(?: of slabs)?)?[ (]*([+−]\d+ % \([+−]\d+ to [+−]\d+\))")
KINDS = {"forces": "forces_mae", "energies": "per_atom_energy_mae", "stresses": "stress_mae"}


def main() -> int:
    """Returns 1 if the page has a ratio that is not found again, or lacks one that is."""
    page = (HERE / "claims.md").read_text(encoding="utf-8")
    tables = re.findall(r"<!-- table: (?:claims|failed) .*?-->(.*?)<!-- end of table -->", page, re.S)
    said = sorted(found[1] for table in tables for found in RATIO.findall(table))
    again = sorted(expected())
    for text in sorted(set(said) ^ set(again)):
        where = "is not found again from the raw errors" if text in said else "is missing"
        print(f"{HERE / 'claims.md'}: {text} {where}.")
    return int(said != again)


def expected() -> list[str]:
    """Every ratio of the two tables, as it is written there."""
    ten, germanes, selenium = ("mlearn_converged", 10), ("xtb", 10, "unseen"), ("xtb_se", 10, "unseen")
    found = []
    for kind in KINDS.values():
        found += [paired(runs(*ten, kind=kind), runs(*ten, "scratch", kind=kind))]
        found += [crossed(runs("mlearn_sources", 10, kind=kind), runs("mlearn_sources", 10, "scratch", kind=kind))]
        found += [paired(runs("mlearn_ten_in_all", 10, kind=kind), runs(*ten, "scratch", kind=kind))]
        found += [paired(*(runs("mlearn_ten_in_all", 10, start, kind=kind) for start in STARTS))]
        five = ("mlearn_five_structures", 5)
        found += [paired(runs(*five, kind=kind), runs(*five, "scratch", kind=kind))]
        found += [paired(runs("sw_longer_source", 10, kind=kind), runs("sw_converged", 10, kind=kind))]
        found += [welch(runs(*ten, kind=kind), runs("mlearn_fifty_structures", 50, "scratch", kind=kind))]
        found += [paired(runs("agau", 10, "adam", kind=kind), runs("agau", 10, "element_map", kind=kind))]
        weights = "fit_weights_sw"
        found += [paired(runs(weights, 10, "stress", kind=kind), runs(weights, 10, "equal", kind=kind))]
    for kind in (KINDS["forces"], KINDS["energies"]):
        for study, size, part in (germanes, selenium):
            found += [paired(runs(study, size, part=part, kind=kind), runs(study, size, "scratch", part, kind))]
        found += [welch(runs("xtb", 5, part="unseen", kind=kind), runs("xtb", 100, "scratch", "unseen", kind))]
    slabs = {"part": "Surface", "kind": KINDS["energies"]}
    found += 2 * [paired(runs(*ten, **slabs), runs(*ten, "scratch", **slabs))]
    found += [paired(runs(*ten, kind=KINDS["forces"]), runs("mlearn_fifty_structures", 50, "scratch"))]
    return found


STARTS = ("corresponding_states", "scratch")


def runs(study: str, size: int, start: str = STARTS[0], part: str = "all", kind: str = "forces_mae") -> dict:
    """(seed, source) -> error of a training."""
    return {
        (run["settings"]["seed"], run["settings"].get("source")): run["tests"][part][kind]
        for run in trainings(study)
        if run["settings"]["start"] == start and run["settings"]["size"] == size
    }


def trainings(study: str) -> list:
    report = json.loads((HERE / "studies" / study / "report.json").read_text(encoding="utf-8"))
    return [run for run in report["runs"] if run["settings"].get("size")]


def paired(own: dict, other: dict) -> str:
    """Of the choices that both have."""
    logs = [math.log(own[one] / other[one]) for one in own if one in other]
    middle, squares = moments(logs)
    return text(middle, squares / (len(logs) - 1) / len(logs), len(logs) - 1)


def welch(own: dict, other: dict) -> str:
    """Two samples."""
    middles, variances, freedoms = [], [], []
    for errors in (own, other):
        middle, squares = moments([math.log(error) for error in errors.values()])
        middles.append(middle)
        freedoms.append(len(errors) - 1)
        variances.append(squares / freedoms[-1] / len(errors))
    freedom = sum(variances) ** 2 / sum(v**2 / f for v, f in zip(variances, freedoms))
    return text(middles[0] - middles[1], sum(variances), freedom)


def crossed(own: dict, other: dict) -> str:
    """Each source with each choice: by the sums of squares of a table without interaction."""
    logs = {(seed, source): math.log(error / other[seed, None]) for (seed, source), error in own.items()}
    seeds, sources = ({one[i] for one in logs} for i in (0, 1))
    middle, total = moments(list(logs.values()))
    of_seeds = [sum(logs[seed, source] for source in sources) / len(sources) for seed in seeds]
    of_sources = [sum(logs[seed, source] for seed in seeds) / len(seeds) for source in sources]
    parts = [len(sources) * moments(of_seeds)[1], len(seeds) * moments(of_sources)[1]]
    freedoms = [len(seeds) - 1, len(sources) - 1]
    rest_freedom = freedoms[0] * freedoms[1]
    rest = (total - sum(parts)) / rest_freedom
    squares = [part / freedom for part, freedom in zip(parts, freedoms)]
    kept = [square > rest for square in squares]
    terms = [square if keep else 0.0 for square, keep in zip(squares, kept)] + [(1 - sum(kept)) * rest]
    freedom = sum(terms) ** 2 / sum(t**2 / f for t, f in zip(terms, [*freedoms, rest_freedom]))
    return text(middle, sum(terms) / len(logs), freedom)


def moments(values: list[float]) -> tuple[float, float]:
    """Mean, and sum of the squares about it."""
    middle = sum(values) / len(values)
    return middle, sum((value - middle) ** 2 for value in values)


def text(middle: float, variance: float, freedom: float) -> str:
    half = quantile(freedom) * math.sqrt(variance)
    middle, low, high = (f"{100 * (math.exp(x) - 1):+.0f}" for x in (middle, middle - half, middle + half))
    return f"{middle} % ({low} to {high})".replace("-", "−")


def quantile(freedom: float) -> float:
    """Below which Student's t lies with 97.5 %: its density, Simpson's rule and bisection."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def between_zero_and(end: float, pieces: int = 2000) -> float:
        xs = [end * i / pieces for i in range(pieces + 1)]
        ys = [scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2) for x in xs]
        return end / pieces / 3 * (ys[0] + ys[-1] + 4 * sum(ys[1:-1:2]) + 2 * sum(ys[2:-1:2]))

    low, high = 0.0, 100.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if between_zero_and(middle) < 0.475 else (low, middle)
    return low


if __name__ == "__main__":
    sys.exit(main())
