"""The plots of a plan, as SVG text."""

import numpy as np
from matplotlib.axes import Axes

from nequip_elemtransfer.element_map import start_text
from nequip_elemtransfer.output.page import INK, drawing
from nequip_elemtransfer.plan.errors import Estimate
from nequip_elemtransfer.plan.planning import AdversarialStep, Plan

_FORCE, _ENERGY = "#3b82c4", "#d97a2b"


def ladder_figure(plan: Plan) -> str:
    """Force and energy errors of each step, with intervals."""
    names = [step.name for step in plan.ladder]
    panels = [
        ("force MAE (meV/Å)", [step.force_mae for step in plan.ladder], _FORCE),
        ("energy MAE, shifts refitted (meV/atom)", [step.energy_mae_refitted for step in plan.ladder], _ENERGY),
    ]
    panels = [panel for panel in panels if panel[1][0] is not None]
    with drawing(8.4, 2.3, len(panels)) as (axes, picture):
        for ax, (label, estimates, color) in zip(axes, panels):
            _estimates(ax, names, [_milli(e) for e in estimates], color)
            ax.set_xlabel(label)
        for ax in axes[1:]:
            ax.set_yticklabels([])
    return picture.svg


def scan_figure(plan: Plan) -> str:
    """Force and energy RMSE against λ, the candidates marked."""
    scan = plan.scan
    with drawing(8.4, 3.0, 1) as ((ax,), picture):
        lengths = np.array(scan.length_scales)
        ax.plot(lengths, 1000 * np.array(scan.force_rmse), "o-", ms=3.5, color=_FORCE)
        ax.set_ylim(0)
        ax.set_xlabel(f"length scale λ of {scan.type}")
        ax.set_ylabel("force RMSE (meV/Å)", color=_FORCE)
        if scan.energy_rmse is not None:
            twin = ax.twinx()
            twin.spines["right"].set_visible(True)
            twin.plot(lengths, 1000 * np.array(scan.energy_rmse, dtype=float), "s-", ms=3, color=_ENERGY)
            twin.set_ylim(0)
            twin.set_ylabel("energy RMSE (meV/atom)", color=_ENERGY)
        # names of nearby marks are kept apart by stacking them
        for level, (name, value) in enumerate(sorted(scan.marks.items(), key=lambda item: item[1])):
            ax.axvline(value, color=INK, lw=0.9, ls="-" if name == scan.chosen else ":")
            ax.annotate(
                f"{name} {value:.3f}",
                (value, 1.02 + 0.075 * level),
                xycoords=("data", "axes fraction"),
                ha="center",
                fontsize=9,
            )
    return picture.svg


def ranking_figure(plan: Plan, target: str) -> str:
    """Held-out force error of each candidate start of a target type."""
    candidates = [candidate for candidate in plan.ranking if candidate.target == target]
    names = [start_text(candidate.start) for candidate in candidates]
    with drawing(8.4, 0.7 + 0.3 * len(names), 1) as ((ax,), picture):
        _estimates(ax, names, [_milli(candidate.force_mae) for candidate in candidates], _FORCE)
        ax.set_xlabel("held-out force MAE (meV/Å)")
    return picture.svg


def adversarial_figure(plan: Plan) -> str:
    """AUC of each classifier, before and after the length scaling."""
    names = [adversarial_name(step) for step in plan.adversarial]
    estimates = [Estimate(step.result.auc, *step.result.interval) for step in plan.adversarial]
    with drawing(8.4, 0.8 + 0.35 * len(names), 1) as ((ax,), picture):
        _estimates(ax, names, estimates, _FORCE, text="{:.2f}")
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
