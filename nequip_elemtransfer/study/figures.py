"""The plots of a study."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from nequip_elemtransfer.output.page import INK, Picture, drawing
from nequip_elemtransfer.study.config import CORRESPONDING_STATES, ELEMENT_MAP, SCRATCH
from nequip_elemtransfer.study.evaluation import QUANTITIES, Curve, Point, history
from nequip_elemtransfer.study.run_results import FORCE_MAE, RunResult

LABELS = {QUANTITIES[0]: "force MAE (meV/Å)", QUANTITIES[1]: "energy MAE (meV/atom)"}
_COLORS = {SCRATCH: "#8b93a1", ELEMENT_MAP: "#d97a2b", CORRESPONDING_STATES: "#3b82c4"}
_MORE_COLORS = ("#3f9e6b", "#9b5fc0", "#c2456b", "#b39a28")


def learning_curve_figure(curves: Sequence[Curve]) -> Picture:
    """Force and energy errors against the number of structures, for the starts of a cell; bars from low to high."""
    with drawing(8.4, 3.4, 2) as (axes, picture):
        for ax, quantity in zip(axes, QUANTITIES):
            for curve, color in zip(curves, start_colors([curve.start for curve in curves])):
                _errors(ax, next(iter(curve.test_sets.values())), quantity, curve.start, color)
            if ax.lines:
                points = [point for curve in curves for point in next(iter(curve.test_sets.values()))]
                _logarithmic(ax, sorted({point.size for point in points}))
            ax.set_xlabel("training structures")
            ax.set_ylabel(LABELS[quantity])
        legend(axes[0])
    return picture


def validation_figure(results: Sequence[RunResult]) -> Picture | None:
    """Validation force error along the training: a panel for each size, a line for each seed, starts in colour.

    Returns:
        None if no run has validated
    """
    logged = [result for result in results if history(result, FORCE_MAE)]
    if not logged:
        return None
    sizes = sorted({result.run.settings["size"] for result in logged}, key=lambda size: size or 0)
    starts = list(dict.fromkeys(result.run.settings["start"] for result in results))
    colors = dict(zip(starts, start_colors(starts)))
    with drawing(max(4.2, 2.8 * len(sizes)), 3.2, len(sizes)) as (axes, picture):
        for ax, size in zip(axes, sizes):
            for result in logged:
                if result.run.settings["size"] == size:
                    steps, _, errors = zip(*history(result, FORCE_MAE))
                    start = result.run.settings["start"]
                    label = None if start in ax.get_legend_handles_labels()[1] else start
                    ax.plot(steps, [1000 * e for e in errors], color=colors[start], lw=1.2, alpha=0.8, label=label)
            ax.set_yscale("log")
            _plain(ax.yaxis)
            ax.set_title("" if size is None else f"{size} structures", fontsize=10)
            ax.set_xlabel("steps")
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        low, high = (f(ax.get_ylim()[i] for ax in axes) for i, f in enumerate((min, max)))
        for ax in axes:
            ax.set_ylim(low, high)
        axes[0].set_ylabel("validation force MAE (meV/Å)")
        legend(axes[0])
    return picture


def _errors(ax: Axes, points: Sequence[Point], quantity: str, label: str, color: str) -> None:
    """Means joined by lines, which break where a point is missing."""
    spreads = [point.errors.get(quantity) for point in points]
    sizes = [point.size for point in points]
    means = [1000 * s.mean if s else float("nan") for s in spreads]
    if not any(spreads) or None in sizes:
        return
    ends = [(s.mean - s.low, s.high - s.mean) if s else (0, 0) for s in spreads]
    bars = [[1000 * end for end in side] for side in zip(*ends)]  # (2, n_points): below, above
    ax.errorbar(sizes, means, yerr=bars, fmt="o-", ms=4, lw=1.5, capsize=3, color=color, label=label)


def _logarithmic(ax: Axes, sizes: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_formatter(NullFormatter())
    _plain(ax.yaxis)


def _plain(axis: Axis) -> None:
    """``50`` instead of a power of ten, and few enough of them."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


def legend(ax: Axes) -> None:
    """A legend, if there is anything to name."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9, labelcolor=INK)


def start_colors(starts: Sequence[str]) -> list[str]:
    """The colour of each start, the same in all figures."""
    more = iter(_MORE_COLORS * len(starts))
    return [_COLORS.get(start) or next(more) for start in starts]
