"""The plots of a study."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from nequip_elemtransfer.output.page import INK, Picture, drawing
from nequip_elemtransfer.study import quantities
from nequip_elemtransfer.study.config.study_file import CORRESPONDING_STATES, ELEMENT_MAP, SCRATCH
from nequip_elemtransfer.study.report.curves import TEST_ERRORS, Curve, Point
from nequip_elemtransfer.study.run.results import FORCE_MAE, RunResult

LABELS = dict(zip(TEST_ERRORS, ("force MAE (meV/Å)", "energy MAE (meV/atom)", "stress MAE (meV/Å³)")))
_COLORS = {SCRATCH: "#8b93a1", ELEMENT_MAP: "#d97a2b", CORRESPONDING_STATES: "#3b82c4"}
_MORE_COLORS = ("#3f9e6b", "#9b5fc0", "#c2456b", "#b39a28")
_FUNCTIONS = {
    quantities.RDF: ("r / nearest-neighbour distance", "g(r)"),
    quantities.ADF: ("bond angle (degrees)", "density (1/degree)"),
    quantities.MSD: ("time (ps)", "mean-square displacement (Å²)"),
}


def learning_curve_figure(curves: Sequence[Curve]) -> Picture:
    """Errors against the number of structures, for the starts of a cell; bars from low to high."""
    errors = measured(curves)
    width, title = 4.2 * len(errors), "Test errors against the number of structures"
    with drawing(width, 3.4, len(errors), title) as (axes, picture):
        for ax, quantity in zip(axes, errors):
            for curve, color in zip(curves, _start_colors([curve.start for curve in curves])):
                _errors(ax, curve.points, quantity, curve.start, color)
            if ax.lines:
                points = [point for curve in curves for point in curve.points]
                sizes = sorted({point.size for point in points if point.size is not None})
                ax.set_xscale("log")
                ax.set_yscale("log")
                ax.set_xticks(sizes, [str(size) for size in sizes])
                ax.xaxis.set_minor_formatter(NullFormatter())
                _plain(ax.yaxis)
            ax.set_ylabel(LABELS[quantity])
        _describe(axes, "training structures")
    return picture


def measured(curves: Sequence[Curve]) -> list[str]:
    """Those of :data:`.curves.TEST_ERRORS` that some run has; force and energy errors in any case."""
    points = [point for curve in curves for points in curve.test_sets.values() for point in points]
    return [q for i, q in enumerate(TEST_ERRORS) if i < 2 or any(q in point.errors for point in points)]


def validation_figure(results: Sequence[RunResult]) -> Picture | None:
    """Validation force error along the training: a panel for each size, a line for each seed, starts in colour.

    Returns:
        None if no run has validated
    """
    logged = [result for result in results if result.history(FORCE_MAE)]
    if not logged:
        return None
    sizes = sorted({result.run.settings["size"] for result in logged}, key=lambda size: size or 0)
    starts = list(dict.fromkeys(result.run.settings["start"] for result in results))
    colors = dict(zip(starts, _start_colors(starts)))
    width, title = max(4.2, 2.8 * len(sizes)), "Validation force error along the training"
    with drawing(width, 3.2, len(sizes), title) as (axes, picture):
        for ax, size in zip(axes, sizes):
            for result in logged:
                if result.run.settings["size"] == size:
                    steps, _, errors = zip(*result.history(FORCE_MAE))
                    start = result.run.settings["start"]
                    label = None if start in ax.get_legend_handles_labels()[1] else start
                    ax.plot(steps, [1000 * e for e in errors], color=colors[start], lw=1.2, alpha=0.8, label=label)
            ax.set_yscale("log")
            _plain(ax.yaxis)
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        _share_limits(axes)
        titles = ["" if size is None else f"{size} structures" for size in sizes]
        _describe(axes, "steps", "validation force MAE (meV/Å)", titles)
    return picture


def equation_of_state_figure(curves: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any] | None) -> Picture:
    """Energy against volume, each curve from its lowest energy.

    Args:
        curves: start -> ``volumes`` (Å³/atom) and ``energies`` (eV/atom)
        reference: likewise, drawn in the text colour
    """
    with drawing(4.6, 3.2, 1, "Energy against volume") as ((ax,), picture):
        for start, color in zip(curves, _start_colors(list(curves))):
            ax.plot(*_from_lowest(curves[start]), color=color, lw=1.5, label=start)
        if reference is not None:
            ax.plot(*_from_lowest(reference), "--", color=INK, lw=1.2, label="reference")
        _describe([ax], "volume (Å³/atom)", "energy (meV/atom)")
    return picture


def phonon_figure(bands: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any] | None) -> Picture:
    """Phonon bands, a panel for each start, those of the reference dashed."""
    with drawing(4.2 * len(bands), 3.2, len(bands), "Phonon bands of each start") as (axes, picture):
        for ax, start, color in zip(axes, bands, _start_colors(list(bands))):
            own = bands[start]
            ax.plot(own["x"], own["frequencies"], color=color, lw=1.3)
            if reference is not None:
                ax.plot(own["x"], reference["frequencies"], "--", color=INK, lw=0.9)
            for position in own["ticks"]:
                ax.axvline(position, color=INK, lw=0.4, alpha=0.4)
            ax.set_xticks(own["ticks"], own["labels"], fontsize=8)
            ax.set_xlim(own["x"][0], own["x"][-1])
        _share_limits(axes)
        _describe(axes, "", "frequency (THz)", bands)
    return picture


def survival_figure(panels: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> Picture:
    """Share of models none of whose simulations has failed, against time, after Kaplan and Meier; bands hold 95 %.

    Args:
        panels: title -> start -> ``times`` (ps), ``shares``, ``low`` and ``high``
    """
    width, title = max(4.2, 2.8 * len(panels)), "Share of simulations that go on, against time"
    with drawing(width, 3.0, len(panels), title) as (axes, picture):
        for ax, curves in zip(axes, panels.values()):
            for (start, curve), color in zip(curves.items(), _start_colors(list(curves))):
                times = curve["times"]
                ax.step(times, curve["shares"], where="post", color=color, lw=1.8, alpha=0.8, label=start)
                ax.fill_between(times, curve["low"], curve["high"], step="post", color=color, alpha=0.15, lw=0)
            ax.set_ylim(-0.04, 1.04)
        _describe(axes, "time (ps)", "share of models", panels)
    return picture


def structure_figure(
    name: str, x: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]], reference: Mapping[str, np.ndarray | None]
) -> Picture:
    """RDF, ADF or mean-square displacement of simulations.

    Args:
        name: ``rdf``, ``adf`` or ``msd``
        x: of the axis, (n,)
        panels: title -> start -> (n,)
        reference: title -> (n,), or None
    """
    x_axis, y_axis = _FUNCTIONS[name]
    with drawing(max(4.2, 2.8 * len(panels)), 3.0, len(panels), f"{y_axis} against {x_axis}") as (axes, picture):
        for ax, title in zip(axes, panels):
            functions = panels[title]
            for start, color in zip(functions, _start_colors(list(functions))):
                ax.plot(x, functions[start], color=color, lw=1.4, label=start)
            if (known := reference.get(title)) is not None:
                ax.plot(x, known, "--", color=INK, lw=1.0, label="reference")
            ax.set_ylim(bottom=0)
        _describe(axes, x_axis, y_axis, panels)
    return picture


def _errors(ax: Axes, points: Sequence[Point], quantity: str, label: str, color: str) -> None:
    """Means joined by lines, which break where a point is missing."""
    spreads = [point.errors.get(quantity) for point in points]
    sizes = [point.size for point in points if point.size is not None]
    means = [1000 * s.mean if s else float("nan") for s in spreads]
    if not any(spreads) or len(sizes) < len(points):
        return
    ends = [(s.mean - s.low, s.high - s.mean) if s else (0, 0) for s in spreads]
    bars = [[1000 * end for end in side] for side in zip(*ends)]  # (2, n_points): below, above
    ax.errorbar(sizes, means, yerr=bars, fmt="o-", ms=4, lw=1.5, capsize=3, color=color, label=label)


def _plain(axis: Axis) -> None:
    """``50`` instead of a power of ten, and few enough of them."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


def _share_limits(axes: Sequence[Axes]) -> None:
    """The same range of y in all panels."""
    lows, highs = zip(*(ax.get_ylim() for ax in axes))
    for ax in axes:
        ax.set_ylim(min(lows), max(highs))


def _describe(axes: Sequence[Axes], x: str, y: str = "", titles: Iterable[str] = ()) -> None:
    """Name the axes and panels; a legend in the first, if there is anything to name."""
    for ax, title in zip_longest(axes, titles):
        ax.set_xlabel(x)
        ax.set_title(title or "", fontsize=10)
    if y:
        axes[0].set_ylabel(y)
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(frameon=False, fontsize=9, labelcolor=INK)


def _start_colors(starts: Sequence[str]) -> list[str]:
    """The colour of each start, the same in all figures."""
    more = iter(_MORE_COLORS * len(starts))
    return [_COLORS.get(start) or next(more) for start in starts]


def _from_lowest(curve: Mapping[str, Any]) -> tuple[Sequence[float], list[float]]:
    lowest = min(curve["energies"])
    return curve["volumes"], [1000 * (energy - lowest) for energy in curve["energies"]]
