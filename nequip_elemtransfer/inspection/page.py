"""``model.html`` and ``model.json``: one page of a model that was looked at, and its numbers."""

import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from nequip_elemtransfer.config import LabelKind, start_text
from nequip_elemtransfer.energies.fit import composition_residual
from nequip_elemtransfer.inspection.look import Look, kinds_measured, per_structure
from nequip_elemtransfer.inspection.text import crystal_failures, crystal_rows, recorded_start
from nequip_elemtransfer.outcome.errors import by_set, means
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.output.page import INK, drawing, page
from nequip_elemtransfer.plan.errors import Estimate, milli_text
from nequip_elemtransfer.plan.source_check.group_errors import Evaluated, GroupErrors
from nequip_elemtransfer.structures.labels import Labels

FILES = ("model.html", "model.json")

_COLORS: dict[LabelKind, str] = {"forces": "#3b82c4", "energy": "#d97a2b", "stress": "#4d9a6a"}
_START = "#9aa5b5"
# of each kind: what is plotted, its unit, and the field of a group's errors with their unit
_AXES: dict[LabelKind, tuple[str, str]] = {
    "energy": ("energy", "eV/atom"),
    "forces": ("force", "eV/Å"),
    "stress": ("stress", "meV/Å³"),
}
_FIELDS: dict[LabelKind, tuple[str, str]] = {
    "energy": ("energy_mae", "meV/atom"),
    "forces": ("force_mae", "meV/Å"),
    "stress": ("stress_mae", "meV/Å³"),
}
# structures that a page names for their errors
_WORST = 8


def write_look(look: Look, out: Path, *, force: bool = False) -> None:
    """Write the page and the numbers into a folder, which is made if need be: both or none.

    Args:
        force: replace files that exist

    Raises:
        OSError: see :func:`.atomic.require_writable`
    """
    texts = (look_page(look), json.dumps(look.to_dict(), indent=1, ensure_ascii=False) + "\n")
    out.mkdir(parents=True, exist_ok=True)
    with written_together([out / name for name in FILES], force=force) as paths:
        for path, text in zip(paths, texts):
            path.write_text(text, encoding="utf-8")


def look_page(look: Look) -> str:
    """The page as HTML text."""
    elements = {} if look.record is None else look.record.elements
    starts = ", ".join(f"{target} from {start_text(start)}" for target, start in elements.items())
    rows = (
        []
        if look.now.evaluated is None
        else [{"place": i} | r for i, r in enumerate(per_structure(look.now.evaluated))]
    )
    by = "forces_mae" if any(row["forces_mae"] is not None for row in rows) else "energy_mae"
    worst = sorted((row for row in rows if row[by] is not None), key=lambda row: -row[by])[:_WORST]
    return page(
        __package__,
        "model.html.jinja",
        {"milli": milli_text, "thousand": _thousand},
        look=look,
        title=starts or ", ".join(look.model.type_names),
        parameters=sum(tensor.numel() for tensor in look.model.build().parameters()),
        recorded=recorded_start(look),
        pairs=_pairs(look),
        parity=parity_figure(look),
        kinds=group_figure(look) if look.now.errors and len(look.now.errors.groups) > 1 else "",
        curve=curve_figure(look),
        worst=worst,
        crystal_rows=crystal_rows(look),
        failures=crystal_failures(look),
    )


def parity_figure(look: Look) -> str:
    """Predictions against labels, a panel for each kind; the start's behind the model's."""
    kinds, found = kinds_measured(look), look.now.evaluated
    if found is None or not kinds:
        return ""
    start = look.start and look.start.evaluated
    with drawing(
        8.4,
        3.1,
        len(kinds),
        f"Predictions against labels{', the start in grey' if start else ''}: numbers are in the table",
    ) as (axes, picture):
        for ax, kind in zip(axes, kinds):
            label, ours = _plotted(kind, found.labels, found), _plotted(kind, found.predicted, found)
            if start:
                _scatter(ax, label, _plotted(kind, start.predicted, found), _START, "its start")
            _scatter(ax, label, ours, _COLORS[kind], "this model")
            ax.axline((0, 0), slope=1, color=INK, lw=0.8)
            _square(ax, label, ours)
            what, unit = _AXES[kind]
            less = " less composition" if kind == "energy" else ""
            ax.set_xlabel(f"reference {what} ({unit})")
            ax.set_ylabel(f"predicted{less}")
        if start:
            marks = axes[0].get_legend_handles_labels()
            legend = axes[0].figure.legend(*marks, loc="outside lower center", ncols=2, frameon=False, markerscale=3)
            for handle in legend.legend_handles:
                if handle is not None:
                    handle.set_alpha(1)
    return picture.svg


def group_figure(look: Look) -> str:
    """Errors by kind of structure, a panel for each kind of label, the start's in grey."""
    groups = look.now.errors.groups if look.now.errors else []
    starts = {} if look.start is None or look.start.errors is None else {g.group: g for g in look.start.errors.groups}
    kinds = [kind for kind in kinds_measured(look) if all(getattr(g, _FIELDS[kind][0]) is not None for g in groups)]
    title = "Errors by kind of structure"
    with drawing(8.4, 0.9 + 0.3 * len(groups), max(1, len(kinds)), title) as (axes, picture):
        places = np.arange(len(groups))[::-1]
        for ax, kind in zip(axes, kinds):
            name, unit = _FIELDS[kind]
            for place, group in zip(places, groups):
                if group.group in starts:
                    _interval(ax, getattr(starts[group.group], name), place + 0.18, _START)
                _interval(ax, getattr(group, name), place - 0.05, _COLORS[kind])
            ax.set_yticks(places, [g.group for g in groups] if ax is axes[0] else [])
            ax.set_ylim(-0.6, len(groups) - 0.4)
            ax.set_xlim(0)
            ax.tick_params(axis="y", length=0)
            ax.set_xlabel(f"{_AXES[kind][0]} MAE ({unit})")
    return picture.svg


def curve_figure(look: Look) -> str:
    """Validation errors against the step, a panel for each kind; empty where the training logged none."""
    sets = [(step, by_set(errors, "val").get(0, {})) for step, errors in look.curve]
    known = means(sets[-1][1]) if sets else {}
    if not known:
        return ""
    best = look.log.best[0] if look.log is not None and look.log.best is not None else None
    with drawing(8.4, 2.6, len(known), "Validation errors along the training") as (axes, picture):
        for ax, (name, quantity) in zip(axes, known.items()):
            points = [(step, 1000 * errors[name]) for step, errors in sets if name in errors]
            color = next((c for kind, c in _COLORS.items() if quantity.name.startswith(kind)), INK)
            ax.plot(*zip(*points), "o-", ms=3, color=color)
            if best is not None:
                ax.axvline(best, color=INK, lw=0.8, ls=":")
            ax.set_ylim(0)
            ax.set_xlabel("step")
            ax.set_title(f"{quantity.name} ({quantity.unit})", fontsize=10)
    return picture.svg


def _plotted(kind: LabelKind, values: Labels, found: Evaluated) -> np.ndarray:
    """Energies per atom less what composition explains of the labels, forces in eV/Å, stresses in meV/Å³; flat."""
    if kind != "energy":
        return np.ravel(values.of(kind)) * (1000 if kind == "stress" else 1)
    explained = found.labels.energies / found.counts.sum(axis=1) - composition_residual(
        found.labels.energies, found.counts
    )
    return values.energies / found.counts.sum(axis=1) - explained


def _scatter(ax: Axes, x: np.ndarray, y: np.ndarray, color: str, label: str) -> None:
    alpha = float(np.clip(30 / np.sqrt(len(x)), 0.15, 0.8))
    # a picture in the picture: a file of forces has a hundred thousand of them
    ax.plot(x, y, "o", ms=2.5, mew=0, color=color, alpha=alpha, label=label, rasterized=len(x) > 1000)


def _square(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """The same limits on both axes, by the model; points of the start may lie outside."""
    both = np.concatenate([x, y])
    low, high = np.nanmin(both), np.nanmax(both)
    margin = 0.05 * (high - low) or 0.1
    ax.set_xlim(low - margin, high + margin)
    ax.set_ylim(low - margin, high + margin)
    ax.set_aspect("equal")


def _interval(ax: Axes, estimate: Estimate | None, place: float, color: str) -> None:
    if estimate is not None:
        low, value, high = (1000 * x for x in (estimate.low, estimate.value, estimate.high))
        ax.plot([low, high], [place, place], color=color, lw=2, alpha=0.5, solid_capstyle="round")
        ax.plot(value, place, "o", color=color, ms=5)


def _pairs(look: Look) -> list[tuple[GroupErrors, GroupErrors | None]]:
    """Errors of each group, with those of the start."""
    starts = {} if look.start is None or look.start.errors is None else {g.group: g for g in look.start.errors.groups}
    return [(group, starts.get(group.group)) for group in (look.now.errors.groups if look.now.errors else ())]


def _thousand(value: float | None) -> str:
    return "–" if value is None else f"{1000 * value:.1f}"
