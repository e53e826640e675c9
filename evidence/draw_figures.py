"""Draw the figures of the results from the studies' report.json, or check that they were drawn from what is there.

    python evidence/draw_figures.py [--check]

Each function of ``FIGURES`` draws the file of evidence/figures with its name; made_from.json beside them keeps the
digest of this file and of the reports that the figure shows. A picture itself depends on fonts and versions.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from baselines_table import models
from claims_table import against_scratch
from forecast_tables import GO, STOP, planned_transfers
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter
from table_cells import ERROR_TITLES, errors_of_runs

from nequip_elemtransfer.intervals import Ratio, Replicate, paired_ratio
from nequip_elemtransfer.output.page import INK, Picture, drawing
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, ELEMENT_MAP, SCRATCH
from nequip_elemtransfer.study.report.comparison import spread
from nequip_elemtransfer.study.report.curves import TEST_ERRORS
from nequip_elemtransfer.study.report.survival import Survival, survival_picture
from nequip_elemtransfer.study.run.results import ENERGY_MAE, FORCE_MAE

HERE = Path(__file__).parent
_COLORS = {SCRATCH: "#8b93a1", ELEMENT_MAP: "#d97a2b", CORRESPONDING_STATES: "#3b82c4", "adam": "#3b82c4"}
_MORE_COLORS = ("#3b82c4", "#3f9e6b", "#9b5fc0", "#d97a2b")
_TITLES = dict(zip(TEST_ERRORS, ("forces", "energies", "stresses")))
_ERROR_TITLES = dict(zip(TEST_ERRORS, ERROR_TITLES))
# study, default start and test structures of each transfer of ten structures
_TRANSFERS = {
    "Si → Ge, DFT": ("mlearn_converged", CORRESPONDING_STATES, "all"),
    "Si → Ge, Stillinger-Weber": ("sw_converged", CORRESPONDING_STATES, "all"),
    "the same from a longer source": ("sw_recipes", "adam", "all"),
    "Cu → Ag": ("emt_recipes", "adam", "all"),
    "CuAu → AgAu": ("emt_alloy_recipes", "adam", "all"),
    "Mo → W, DFT": ("w", CORRESPONDING_STATES, "all"),
    "Nb → Ta, DFT": ("ta", CORRESPONDING_STATES, "all"),
    "Mo → MoW, DFT": ("mow", CORRESPONDING_STATES, "all"),
    "Nb → NbTa, DFT": ("nbta", CORRESPONDING_STATES, "all"),
    "Si → Ge, unseen molecules": ("xtb", CORRESPONDING_STATES, "unseen"),
    "S → Se, unseen molecules": ("xtb_se", CORRESPONDING_STATES, "unseen"),
}
# transfers of the forest plot: trained until the validation error has stopped falling or for 8000 steps, and for
# at most 1000 or 2000
_CONVERGED = (
    ("Si → Ge, DFT, ten in all, 1000 steps", against_scratch("mlearn_ten_in_all", scratch="mlearn_converged")),
    ("Si → Ge, DFT", against_scratch("mlearn_five_structures", 5)),
    ("Si → Ge, DFT", against_scratch("mlearn_converged")),
    ("Si → Ge, DFT, three sources", against_scratch("mlearn_sources")),
    ("Si → Ge, DFT", against_scratch("mlearn_more_structures", 25)),
    ("Si → Ge, DFT", against_scratch("mlearn_fifty_structures", 50)),
    ("Si → Ge, DFT", against_scratch("mlearn_more_structures", 152)),
    ("Si → Ge, classical", against_scratch("sw_converged")),
    ("the same, longer source", against_scratch("sw_longer_source", scratch="sw_converged")),
)
_SHORT = (
    ("Cu → Ag, three sources", against_scratch("emt_sources")),
    ("Cu → Ag, three sources", against_scratch("emt_sources", 25)),
    ("CuAu → AgAu", against_scratch("emt_alloy_recipes", start="adam")),
    ("CuAu → AgAu", against_scratch("agau_25", 25, start="adam")),
    ("Mo → W, DFT", against_scratch("w")),
    ("Nb → Ta, DFT", against_scratch("ta")),
    ("Mo → MoW, DFT", against_scratch("mow")),
    ("Nb → NbTa, DFT", against_scratch("nbta")),
    ("Nb → NbTa, DFT", against_scratch("nbta", 25)),
    ("Si → Ge, unseen molecules", against_scratch("xtb", 5, "unseen")),
    ("Si → Ge, unseen molecules", against_scratch("xtb", 10, "unseen")),
    ("Si → Ge, unseen molecules", against_scratch("xtb", 25, "unseen")),
    ("Si → Ge, unseen molecules", against_scratch("xtb", 100, "unseen")),
    ("S → Se, unseen molecules", against_scratch("xtb_se", 5, "unseen")),
    ("S → Se, unseen molecules", against_scratch("xtb_se", 10, "unseen")),
    ("S → Se, unseen molecules", against_scratch("xtb_se", 25, "unseen")),
)
_WAYS = {
    "Si → Ge, Stillinger-Weber": "sw_recipes",
    "Si → Ge, DFT": "mlearn_recipes",
    "Cu → Ag": "emt_recipes",
    "CuAu → AgAu": "emt_alloy_recipes",
}
_PROPERTIES = {
    "lattice_constant": "lattice constant",
    "C11": "C11",
    "C12": "C12",
    "C44": "C44",
    "vacancy_formation_energy": "vacancy",
    "surface_energy_111": "surface (111)",
    "surface_energy_110": "surface (110)",
    "surface_energy_100": "surface (100)",
}


_READ: set[str] = set()  # the studies that a figure shows


@cache
def report(study: str) -> Mapping[str, Any]:
    _READ.add(study)
    return json.loads((HERE / "studies" / study / "report.json").read_text(encoding="utf-8"))


def errors(study: str, start: str, size: int, structures: str, quantity: str) -> dict[Replicate, float]:
    """Of the finished trainings of a start."""
    return errors_of_runs(report(study), start, size, quantity, structures)


def transfers() -> Picture:
    """Errors by transfer in per cent of those from scratch."""
    return _ratios(_TRANSFERS, SCRATCH, "error by transfer, % of that from scratch")


def forest() -> Picture:
    """Errors by transfer in per cent of those from scratch: converged trainings above, short ones below."""
    groups = {"until converged, or 8000 steps": _CONVERGED, "at most 1000 or 2000 steps": _SHORT}
    rows = [row for title, entries in groups.items() for row in ((title, None), *entries)]
    studies = {side.study for _, entry in rows if entry for side in (entry.own, entry.other)}
    reports = {study: report(study) for study in studies}
    labels = [name if entry is None else f"{name} ({entry.counted(reports)})" for name, entry in rows]
    with drawing(11, 0.26 * len(rows) + 1.0, len(TEST_ERRORS), "all transfers") as (axes, picture):
        for ax, quantity in zip(axes, TEST_ERRORS):
            color = ""
            for y, (_, entry) in enumerate(rows):
                if entry is None:
                    color = _COLORS[SCRATCH] if color else _MORE_COLORS[0]
                elif ratio := entry.ratio(reports, quantity):
                    ax.plot(100 * ratio.ratio, y, "o", ms=4, color=color)
                    ax.plot([100 * ratio.low, 100 * ratio.high], [y, y], color=color, lw=1.2, solid_capstyle="butt")
            ax.set_yticks(range(len(rows)), labels if ax is axes[0] else [""] * len(rows))
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.axvline(100, color=INK, lw=0.8)
            ax.set_xscale("log")
            ax.set_xlim(2, 300)
            ax.set_xticks([5, 10, 20, 50, 100, 200], ["5", "10", "20", "50", "100", "200"])
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel(_TITLES[quantity])
            ax.grid(axis="x", lw=0.3)
        for label, (_, entry) in zip(axes[0].get_yticklabels(), rows):
            label.set_fontweight("bold" if entry is None else "normal")
        axes[1].set_xlabel(f"{_TITLES[TEST_ERRORS[1]]}\nerror by transfer, % of that from scratch")
    return picture


def lengths() -> Picture:
    """Errors of the default start in per cent of those of the element map alone."""
    of_silicon = {
        "Si → Ge, DFT": ("mlearn_element_map", CORRESPONDING_STATES, "all"),
        "Si → Ge, Stillinger-Weber": ("sw_recipes", "adam", "all"),
    }
    others = {name: entry for name, entry in _TRANSFERS.items() if not entry[0].startswith(("mlearn", "sw"))}
    return _ratios(of_silicon | others, ELEMENT_MAP, "error with rescaled lengths and energies, % of that without")


def ways() -> Picture:
    """Errors of each way to fine-tune in per cent of plain Adam's."""
    names = [c["start"] for c in report("sw_recipes")["curves"] if c["start"] not in (SCRATCH, ELEMENT_MAP, "adam")]
    with drawing(11, 4.2, len(TEST_ERRORS), "ways to fine-tune") as (axes, picture):
        for ax, quantity in zip(axes, TEST_ERRORS):
            for i, (transfer, study) in enumerate(_WAYS.items()):
                base = errors(study, "adam", 10, "all", quantity)
                found = {n: paired_ratio(errors(study, n, 10, "all", quantity), base) for n in names}
                _dots(ax, names, found, (i - 1.5) * 0.18, _MORE_COLORS[i], transfer)
            ax.set_xlim(60, 180)
            _panel(ax, names, f"{_TITLES[quantity]}, % of plain Adam's", first=ax is axes[0])
        axes[0].legend(frameon=False, fontsize=7, handlelength=1, loc="lower right", borderaxespad=0)
    return picture


def crystal() -> Picture:
    """Properties of germanium's crystal beside the reference's."""
    panels = {
        "Stillinger-Weber": {
            "from scratch": ("sw_converged", SCRATCH, _COLORS[SCRATCH]),
            "from silicon, 8000 steps": ("sw_converged", CORRESPONDING_STATES, _MORE_COLORS[0]),
            "from silicon, 20 000 steps": ("sw_longer_source", CORRESPONDING_STATES, _MORE_COLORS[1]),
        },
        "DFT": {
            "from scratch": ("mlearn_converged", SCRATCH, _COLORS[SCRATCH]),
            "from silicon, 20 000 steps": ("mlearn_converged", CORRESPONDING_STATES, _MORE_COLORS[1]),
            "from silicon, three layers, 25 structures": ("mlearn_three_layers", "lattice_constants", _MORE_COLORS[3]),
        },
    }
    with drawing(11, 4.2, len(panels), "properties of the crystal") as (axes, picture):
        for ax, (title, series) in zip(axes, panels.items()):
            reference = report(next(iter(series.values()))[0])["reference"]
            names = [name for name in _PROPERTIES if name in reference]
            for i, (label, (study, start, color)) in enumerate(series.items()):
                model = next(m for m in report(study)["properties"] if m["start"] == start)  # of the smallest size
                values = [model["quantities"][name]["values"] for name in names]
                middle = [100 * (v["mean"] / reference[n] - 1) for n, v in zip(names, values)]
                spread = [100 * (v["deviation"] or 0) / abs(reference[n]) for n, v in zip(names, values)]
                places = [y + (i - 1) * 0.2 for y in range(len(names))]
                ax.errorbar(middle, places, xerr=spread, fmt="o", ms=4, color=color, capsize=2, lw=1, label=label)
            ax.axvline(0, color=INK, lw=0.8)
            _panel(ax, [_PROPERTIES[name] for name in names], f"{title}: deviation from the reference, %", first=True)
            ax.legend(frameon=False, fontsize=8)
    return picture


def sources() -> Picture:
    """Errors of each training of silver and of DFT germanium, from scratch and from three sources."""
    panels = [(study, quantity) for study in ("emt_sources", "mlearn_sources") for quantity in (FORCE_MAE, ENERGY_MAE)]
    with drawing(11, 2.8, len(panels), "sources") as (axes, picture):
        for ax, (study, quantity) in zip(axes, panels):
            groups: dict[str, list[float]] = {}
            for start in (SCRATCH, CORRESPONDING_STATES):
                for replicate, error in errors(study, start, 10, "all", quantity).items():
                    groups.setdefault(f"{replicate.source} source" if replicate.source else start, []).append(error)
            for i, (name, values) in enumerate(groups.items()):
                color = _COLORS[SCRATCH if name == SCRATCH else CORRESPONDING_STATES]
                ax.plot([1000 * value for value in values], [i] * len(values), "o", ms=5, color=color, alpha=0.8)
            ax.set_xlim(0, 1.06 * 1000 * max(max(values) for values in groups.values()))
            target = "Ag" if study == "emt_sources" else "Ge"
            _panel(ax, list(groups), f"{target}: {_ERROR_TITLES[quantity]}", first=ax is axes[0])
    return picture


def molecules() -> Picture:
    """Force errors on molecules that no training saw, against the number of structures."""
    panels = {"germanium from silicon": ["xtb"], "selenium from sulfur": ["xtb_se"]}
    return _learning(panels, "unseen")


def sizes() -> Picture:
    """Force errors against the number of structures, after as many steps and until converged."""
    panels = {
        "Cu → Ag, 1000 steps": ["emt_recipes", "emt_recipe_sizes"],
        "Si → Ge, DFT, 1000 steps": ["mlearn_recipes", "mlearn_recipe_sizes"],
        "Si → Ge, DFT, up to 8000 steps": [
            "mlearn_five_structures",
            "mlearn_converged",
            "mlearn_fifty_structures",
            "mlearn_more_structures",
        ],
    }
    return _learning(panels, "all")


def survival() -> Picture:
    """How long models go on in the hottest liquid of the data."""
    return survival_picture([Survival(**model) for model in report("mlearn_sources")["stability"]])


def survival_forces_alone() -> Picture:
    """The same of classical germanium trained on forces alone."""
    return survival_picture([Survival(**model) for model in report("sw")["stability"]])


def forecast() -> Picture:
    """Error by transfer in per cent of that from scratch, against what the start leaves unexplained."""
    studies = [f"forecast_{target}" for target in ("ag", "ni", "ge", "ge_sw", "w", "ta")]
    found = planned_transfers({study: report(study) for study in studies})
    with drawing(6.5, 3.6, 1, "forecasts") as ((ax,), picture):
        for verdict, color in ((GO, _MORE_COLORS[1]), (STOP, _MORE_COLORS[3])):
            points = [(t.unexplained, 100 * t.error / t.scratch) for t in found if t.verdict == verdict]
            ax.plot(*zip(*points), "o", ms=5, color=color, alpha=0.8, label=f"“{verdict}”")
        ax.axhline(100, color=INK, lw=0.8)
        ax.set_xscale("log")
        ax.set_xticks([0.01, 0.03, 0.1, 0.3, 1], ["0.01", "0.03", "0.1", "0.3", "1"])
        ax.minorticks_off()
        ax.set_ylim(0, None)
        ax.set_xlabel("variance of held-out forces that the start leaves unexplained")
        ax.set_ylabel("force error, % of that from scratch")
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    return picture


def baselines() -> Picture:
    """Errors of DFT germanium beside those of other packages' models."""
    found = models({study: report(study) for study in ("mlearn_converged", "mlearn_more_structures", "baselines")})
    names = [f"{model.name}: {model.size}" for model in found]
    with drawing(11, 0.3 * len(names) + 0.9, len(TEST_ERRORS), "other packages") as (axes, picture):
        for ax, quantity in zip(axes, TEST_ERRORS):
            for y, model in enumerate(found):
                if quantity in model.errors:
                    of_model = spread(list(model.errors[quantity].values()))
                    color = _COLORS[CORRESPONDING_STATES if "transfer" in model.name else SCRATCH]
                    style = {"fmt": "o", "ms": 4, "color": color, "capsize": 2, "lw": 1}
                    ax.errorbar(1000 * of_model.mean, y, xerr=1000 * (of_model.deviation or 0), **style)
            ax.set_xlim(0, None)
            _panel(ax, names, _ERROR_TITLES[quantity], first=ax is axes[0])
    return picture


def _learning(panels: Mapping[str, Sequence[str]], structures: str) -> Picture:
    with drawing(min(4.4 * len(panels), 11), 3.4, len(panels), "errors against structures") as (axes, picture):
        for ax, (title, studies) in zip(axes, panels.items()):
            ticks: set[int] = set()
            for start in (SCRATCH, ELEMENT_MAP, "adam", CORRESPONDING_STATES):
                of_sizes = {
                    point["size"]: point["errors"][FORCE_MAE]
                    for name in studies
                    for curve in report(name)["curves"]
                    if curve["start"] == start
                    for point in curve["test_sets"][structures]
                    if FORCE_MAE in point["errors"]
                }
                if not of_sizes:
                    continue
                points = sorted(of_sizes.items())
                ticks |= set(of_sizes)
                middle = [1000 * error["mean"] for _, error in points]
                spread = [1000 * (error["deviation"] or 0) for _, error in points]
                label = {"adam": "transfer", CORRESPONDING_STATES: "transfer"}.get(start, start.replace("_", " "))
                style = {"color": _COLORS[start], "marker": "o", "ms": 4, "capsize": 2, "lw": 1.2}
                ax.errorbar([n for n, _ in points], middle, yerr=spread, label=label, **style)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xticks(sorted(ticks), [str(n) for n in sorted(ticks)])
            ax.minorticks_off()
            ax.yaxis.set_major_formatter(ScalarFormatter())
            ax.yaxis.set_minor_formatter(NullFormatter())
            low, high = ax.get_ylim()
            ax.set_yticks([y for y in (20, 30, 40, 50, 60, 70, 80, 100, 120, 150, 200, 300, 500) if low <= y <= high])
            ax.set_xlabel("training structures")
            ax.set_title(title, fontsize=10)
        axes[0].set_ylabel("force MAE (meV/Å)")
        axes[0].legend(frameon=False, fontsize=8)
    return picture


def _ratios(entries: Mapping[str, tuple[str, str, str]], other: str, title: str) -> Picture:
    with drawing(11, 0.34 * len(entries) + 1.1, len(TEST_ERRORS), title) as (axes, picture):
        for ax, quantity in zip(axes, TEST_ERRORS):
            found = {
                name: paired_ratio(*(errors(study, which, 10, structures, quantity) for which in (start, other)))
                for name, (study, start, structures) in entries.items()
            }
            _dots(ax, list(entries), found, 0.0, _MORE_COLORS[0], None)
            ax.set_xlim(0, max(130, ax.get_xlim()[1]))
            _panel(ax, list(entries), _TITLES[quantity], first=ax is axes[0])
        axes[1].set_xlabel(f"{_TITLES[TEST_ERRORS[1]]}\n{title}")
    return picture


def _dots(
    ax: Axes,
    names: Sequence[str],
    found: Mapping[str, Ratio | None],
    shift: float,
    color: str,
    label: str | None,
) -> None:
    """100 % is the other start; bars are the intervals of the paired ratios."""
    known = [(i + shift, found[name]) for i, name in enumerate(names) if found[name] is not None]
    places, middle = [y for y, _ in known], [100 * r.ratio for _, r in known]
    ends = [(r.ratio - r.low, r.high - r.ratio) if r.low is not None else (0.0, 0.0) for _, r in known]
    below_and_above = [[100 * end for end in side] for side in zip(*ends)]
    ax.errorbar(middle, places, xerr=below_and_above, fmt="o", ms=4, color=color, capsize=2, lw=1, label=label)
    ax.axvline(100, color=INK, lw=0.8)


def _panel(ax: Axes, names: Sequence[str], title: str, *, first: bool) -> None:
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names] if first else [""] * len(names))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel(title)
    ax.grid(axis="x", lw=0.3)


FIGURES: tuple[Callable[[], Picture], ...] = (
    forest,
    transfers,
    lengths,
    ways,
    crystal,
    sources,
    molecules,
    sizes,
    survival,
    survival_forces_alone,
    forecast,
    baselines,
)


def main() -> int:
    """Returns 1 if figures were to be checked and one is of other reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a figure is not up to date")
    check = parser.parse_args().check
    folder = HERE / "figures"
    record = folder / "made_from.json"
    pictures, digests = {}, {}
    for draw in FIGURES:
        report.cache_clear()
        _READ.clear()
        pictures[draw.__name__] = draw().png
        files = (Path(__file__), *(HERE / "studies" / study / "report.json" for study in sorted(_READ)))
        digests[draw.__name__] = sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if check:
        old = [name for name, digest in digests.items() if json.loads(record.read_text()).get(name) != digest]
        for name in old:
            print(f"{folder / name}.png is not of what report.json says: run `python evidence/draw_figures.py`.")
        return int(bool(old))
    folder.mkdir(exist_ok=True)
    for name, png in pictures.items():
        (folder / f"{name}.png").write_bytes(png)
    record.write_text(json.dumps(digests, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
