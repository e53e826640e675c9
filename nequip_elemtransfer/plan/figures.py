"""The plots of a plan, as SVG text."""

import numpy as np
from matplotlib.axes import Axes

from nequip_elemtransfer.config import LabelKind, start_text
from nequip_elemtransfer.output.page import INK, drawing
from nequip_elemtransfer.plan.errors import Estimate
from nequip_elemtransfer.plan.outcome import Plan
from nequip_elemtransfer.plan.source_comparison import AdversarialStep

_COLORS: dict[LabelKind, str] = {"forces": "#3b82c4", "energy": "#d97a2b", "stress": "#4d9a6a"}
_RMSE: dict[LabelKind, str] = {
    "forces": "force RMSE (meV/Å)",
    "energy": "energy RMSE (meV/atom)",
    "stress": "stress RMSE (meV/Å³)",
}
_STYLES = ("-", ":", "--", "-.")


def ladder_figure(plan: Plan) -> str:
    """Errors of each step, with intervals, a panel for each kind of label."""
    names = [step.name for step in plan.ladder]
    of_step = {
        "forces": ("force MAE (meV/Å)", [step.force_mae for step in plan.ladder]),
        "energy": ("energy MAE, refitted (meV/atom)", [step.energy_mae_refitted for step in plan.ladder]),
        "stress": ("stress MAE (meV/Å³)", [step.stress_mae for step in plan.ladder]),
    }
    panels = [(kind, *panel) for kind, panel in of_step.items() if all(panel[1])]
    with drawing(8.4, 2.3, max(len(panels), 1)) as (axes, picture):
        for ax, (kind, label, estimates) in zip(axes, panels):
            _estimates(ax, names, [_milli(e) for e in estimates], _COLORS[kind])
            ax.set_xlabel(label)
        for ax in axes[1:]:
            ax.set_yticklabels([])
    return picture.svg


def scan_figure(plan: Plan) -> str:
    """RMSE of each kind of label against λ; the candidates are marked, and where each kind alone is explained best."""
    scan = plan.scan
    panels = [(kind, label, rmse) for kind, label in _RMSE.items() if (rmse := scan.rmse(kind)) is not None]
    with drawing(8.4, 2.9, len(panels)) as (axes, picture):
        for ax, (kind, label, rmse) in zip(axes, panels):
            ax.plot(scan.length_scales, 1000 * np.array(rmse, dtype=float), "o-", ms=3.5, color=_COLORS[kind])
            ax.set_ylim(0)
            ax.set_xlabel(f"length scale λ of {scan.type}")
            ax.set_title(label, fontsize=10)
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
    errors = {
        "forces": ("held-out force MAE (meV/Å)", [c.force_mae for c in candidates]),
        "energy": ("held-out energy MAE (meV/atom)", [c.energy_mae for c in candidates]),
        "stress": ("held-out stress MAE (meV/Å³)", [c.stress_mae for c in candidates]),
    }
    kind, label, estimates = next((kind, *panel) for kind, panel in errors.items() if all(panel[1]))
    with drawing(8.4, 0.7 + 0.3 * len(names), 1) as ((ax,), picture):
        _estimates(ax, names, [_milli(estimate) for estimate in estimates], _COLORS[kind])
        ax.set_xlabel(label)
    return picture.svg


def adversarial_figure(plan: Plan) -> str:
    """AUC of each classifier, before and after the length scaling."""
    names = [adversarial_name(step) for step in plan.adversarial]
    estimates = [Estimate(step.result.auc, *step.result.interval) for step in plan.adversarial]
    with drawing(8.4, 0.8 + 0.35 * len(names), 1) as ((ax,), picture):
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


def _milli(estimate: Estimate) -> Estimate:
    return Estimate(1000 * estimate.value, 1000 * estimate.low, 1000 * estimate.high)
