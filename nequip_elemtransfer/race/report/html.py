"""``race.html`` and its figure."""

import numpy as np
from matplotlib.ticker import FuncFormatter

from nequip_elemtransfer.config import KIND_NAMES, LabelKind
from nequip_elemtransfer.output.page import drawing, page
from nequip_elemtransfer.race.report.summary import (
    UNITS,
    milli,
    ratio_cell,
    steps_sentence,
    stopped_sentence,
    verdict_sentence,
)
from nequip_elemtransfer.race.result import RaceResult

_COLORS = ("#3b82c4", "#d97a2b", "#4d9a6a", "#9467bd", "#8c564b", "#7f7f7f")


def html_report(result: RaceResult) -> str:
    """The report of a race as HTML text."""
    filters = {
        "milli": milli,
        "percent": ratio_cell,
        "kind": KIND_NAMES.get,
        "unit": UNITS.get,
        "change": lambda one: "–" if one is None else f"{100 * (one.middle - 1):+.1f} %".replace("-", "−"),
    }
    return page(
        __package__,
        "race.html.jinja",
        filters,
        result=result,
        lineup=result.lineup,
        verdict=verdict_sentence(result),
        steps=steps_sentence(result),
        stopped=[stopped_sentence(found, result) for found in result.stopped.values()],
        figure=curves_figure(result),
    )


def curves_figure(result: RaceResult) -> str:
    """Held-out errors of each start against steps with their intervals, a panel for each kind of label, as SVG."""
    kinds: list[LabelKind] = [kind for kind in result.curves if any(result.curves[kind].values())]
    with drawing(8.4, 3.2, max(len(kinds), 1), "Held-out errors of each start") as (axes, picture):
        for ax, kind in zip(axes, kinds):
            for (start, found), color in zip(result.curves[kind].items(), _COLORS):
                marks = [found[mark] for mark in sorted(found)]
                if not marks:
                    continue
                steps = [mark.steps for mark in marks]
                ends = np.array(
                    [[m.interval.low or m.interval.middle, m.interval.high or m.interval.middle] for m in marks]
                )
                ax.plot(steps, [1000 * mark.interval.middle for mark in marks], "o-", ms=3, color=color, label=start)
                ax.fill_between(steps, *(1000 * ends.T), color=color, alpha=0.18, lw=0)
            ax.set_yscale("log")
            for axis in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
                axis(FuncFormatter(_tick))
            ax.set_xlabel("steps")
            ax.set_title(f"{KIND_NAMES[kind]}, MAE ({UNITS[kind]})", fontsize=10)
        if kinds:
            handles = axes[0].get_legend_handles_labels()
            axes[0].figure.legend(*handles, loc="outside lower center", ncols=len(result.lineup.starts), frameon=False)
    return picture.svg


def _tick(value: float, _: int) -> str:
    """The number of a tick, of those that begin with 1, 2 or 5."""
    return f"{value:g}" if f"{value:e}"[0] in "125" else ""
