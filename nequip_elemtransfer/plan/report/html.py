"""``report.html`` and its plots: one page that needs nothing else, light or dark as the reader's browser is."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes

from nequip_elemtransfer.config import KIND_NAMES, LabelKind, start_text
from nequip_elemtransfer.output.page import INK, drawing, page
from nequip_elemtransfer.output.table import with_error
from nequip_elemtransfer.plan.errors import MAE, Estimate, milli_lines
from nequip_elemtransfer.plan.likeness.source_structures import AdversarialStep
from nequip_elemtransfer.plan.result import CalculatorPlan, Plan
from nequip_elemtransfer.plan.source_check.check import property_cells
from nequip_elemtransfer.plan.start.cross_validation import Step
from nequip_elemtransfer.plan.start.length_scan import LengthScan
from nequip_elemtransfer.plan.start.ranking import Candidate


def stacked(estimate: Estimate | None) -> Markup:
    """A number with its interval below, in meV and Å."""
    return Markup('<br><span class="interval">').join(map(escape, milli_lines(estimate))) + Markup(
        "</span>" if estimate else ""
    )


_COMMON = {
    "milli": stacked,
    "significant": lambda value: "not known" if value is None else f"{value:.3g}",
}
_COLORS: dict[LabelKind, str] = {"forces": "#3b82c4", "energy": "#d97a2b", "stress": "#4d9a6a"}
# of an error of each kind, whose name fills the gap
_AXIS: dict[LabelKind, str] = {
    "forces": "force {} (meV/Å)",
    "energy": "energy {} (meV/atom)",
    "stress": "stress {} (meV/Å³)",
}
_STYLES = ("-", ":", "--", "-.")


def html_report(plan: Plan) -> str:
    """The report of a plan as HTML text."""
    targets = list(dict.fromkeys(candidate.target for candidate in plan.ranking))
    filters = _COMMON | {
        "start": start_text,
        "with_error": with_error,
        "kind": KIND_NAMES.get,
        "adversarial": adversarial_name,
        "cells": property_cells,
    }
    return page(
        __package__,
        "report.html.jinja",
        filters,
        plan=plan,
        steps=plan.steps,
        comparison=plan.comparison,
        title=", ".join(f"{target} from {start_text(start)}" for target, start in plan.elements.items()),
        ladder_figure=ladder_figure(plan),
        scan_figure=scan_figure(plan.scan) if plan.scan else None,
        ranking_figures={target: ranking_figure(plan, target) for target in targets},
        adversarial_figure=adversarial_figure(plan) if plan.adversarial else None,
    )


def calculators_report(plan: CalculatorPlan) -> str:
    """The report of calculators that no transfer stands beside, as HTML text."""
    return page(
        __package__,
        "without_source.html.jinja",
        _COMMON,
        plan=plan,
        title=", ".join(row.name for row in plan.comparison.rows),
        steps=plan.steps,
        comparison=plan.comparison,
    )


def ladder_figure(plan: Plan) -> str:
    """Errors of each step, with intervals, a panel for each kind of label."""
    names = [step.name for step in plan.ladder]
    panels = _panels(plan.ladder, energy="energy_mae_refitted")
    with drawing(8.4, 2.3, max(len(panels), 1), "Held-out errors after each step, before any training") as (
        axes,
        picture,
    ):
        for ax, (kind, estimates) in zip(axes, panels.items()):
            _estimates(ax, names, estimates, _COLORS[kind])
            ax.set_xlabel(_AXIS[kind].format("MAE, refitted" if kind == "energy" else "MAE"))
        for ax in axes[1:]:
            ax.set_yticklabels([])
    return picture.svg


def scan_figure(scan: LengthScan) -> str:
    """RMSE of each kind of label against λ, at the α of the forces, each with its lowest; the candidates are marked."""
    panels = [(kind, label, rmse) for kind, label in _AXIS.items() if (rmse := scan.rmse(kind)) is not None]
    title = f"Errors of each kind of label against the length scale of {scan.type}"
    with drawing(8.4, 2.9, len(panels), title) as (axes, picture):
        for ax, (kind, label, rmse) in zip(axes, panels):
            ax.plot(scan.length_scales, 1000 * np.array(rmse, dtype=float), "o-", ms=3.5, color=_COLORS[kind])
            ax.set_ylim(0)
            ax.set_xlabel(f"length scale λ of {scan.type}")
            ax.set_title(label.format("RMSE"), fontsize=10)
            for (name, value), style in zip(sorted(scan.marks.items(), key=lambda m: m[0] != scan.chosen), _STYLES):
                ax.axvline(value, color=INK, lw=0.9, ls=style, label=f"{name} {value:.3f}")
            if kind in scan.asked:
                ax.plot(scan.asked[kind], 0, "^", ms=9, color=_COLORS[kind], clip_on=False)
        marks = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(*marks, loc="outside lower center", ncols=len(scan.marks), frameon=False)
    return picture.svg


def ranking_figure(plan: Plan, target: str) -> str:
    """Held-out errors of each candidate start of a target type, by the kind of label they are ranked by."""
    candidates = [candidate for candidate in plan.ranking if candidate.target == target]
    names = [start_text(candidate.start) for candidate in candidates]
    kind, estimates = next(iter(_panels(candidates).items()))
    with drawing(8.4, 0.7 + 0.3 * len(names), 1, f"Held-out errors of each start for {target}") as ((ax,), picture):
        _estimates(ax, names, estimates, _COLORS[kind])
        ax.set_xlabel(f"held-out {_AXIS[kind].format('MAE')}")
    return picture.svg


def adversarial_figure(plan: Plan) -> str:
    """AUC of each classifier, before and after the length scaling."""
    names = [adversarial_name(step) for step in plan.adversarial]
    estimates = [Estimate(step.result.auc, *step.result.interval) for step in plan.adversarial]
    title = "How well a classifier tells the target's environments from the source's"
    with drawing(8.4, 0.8 + 0.35 * len(names), 1, title) as ((ax,), picture):
        _estimates(ax, names, estimates, _COLORS["forces"], text="{:.2f}")
        ax.axvline(0.5, color=INK, lw=0.9, ls=":")
        ax.set_xlim(0.4, 1.08)
        ax.set_xlabel("ROC AUC (0.5: source and target look the same; 1: always told apart)")
    return picture.svg


def adversarial_name(step: AdversarialStep) -> str:
    """Which features, and at which lengths."""
    kind = "the model's features" if step.features == "model" else f"descriptor ({step.features})"
    return f"{kind}, {step.lengths} ({step.length_scale:.3f})"


def _estimates(ax: Axes, names: list[str], estimates: list[Estimate], color: str, text: str = "{:.1f}") -> None:
    """Points with intervals, first on top, each with its value written beside it."""
    places = np.arange(len(names))[::-1]
    for place, estimate in zip(places, estimates):
        ax.plot([estimate.low, estimate.high], [place, place], color=color, lw=2, alpha=0.5, solid_capstyle="round")
        ax.plot(estimate.value, place, "o", color=color, ms=6)
        ax.annotate(
            text.format(estimate.value), (estimate.high, place), (6, 0), textcoords="offset points", va="center"
        )
    ax.set_yticks(places, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlim(0, 1.15 * max(estimate.high for estimate in estimates))
    ax.tick_params(axis="y", length=0)


def _panels(rows: Sequence[Step | Candidate], energy: str = "energy_mae") -> dict[LabelKind, list[Estimate]]:
    """MAE of all rows in meV and Å, of each kind of label that all have."""
    names = MAE | {"energy": energy}
    found = {kind: [getattr(row, name) for row in rows] for kind, name in names.items()}
    return {
        kind: [Estimate(1000 * e.value, 1000 * e.low, 1000 * e.high) for e in estimates]
        for kind, estimates in found.items()
        if all(estimates)
    }
