"""``report.html``: one page that needs nothing else, light or dark as the reader's browser is."""

from nequip_elemtransfer import __version__
from nequip_elemtransfer.config import start_text
from nequip_elemtransfer.output.page import page
from nequip_elemtransfer.output.table import with_error
from nequip_elemtransfer.plan import figures
from nequip_elemtransfer.plan.errors import milli_text
from nequip_elemtransfer.plan.outcome import Plan
from nequip_elemtransfer.plan.source_check.text import property_cells
from nequip_elemtransfer.plan.without_source import CalculatorPlan

_COMMON = {
    "milli": milli_text,
    "significant": lambda value: "not known" if value is None else f"{value:.3g}",
}


def html_report(plan: Plan) -> str:
    """The report of a plan as HTML text."""
    targets = list(dict.fromkeys(candidate.target for candidate in plan.ranking))
    filters = _COMMON | {
        "start": start_text,
        "kind": {"energy": "energies", "forces": "forces", "stress": "stresses"}.get,
        "adversarial": figures.adversarial_name,
        "cells": property_cells,
        "with_error": with_error,
    }
    return page(
        __package__,
        "report.html.jinja",
        filters,
        plan=plan,
        steps=plan.ladder + plan.compared_steps,
        comparison=plan.comparison,
        version=__version__,
        title=", ".join(f"{target} from {start_text(start)}" for target, start in plan.elements.items()),
        ladder_figure=figures.ladder_figure(plan),
        scan_figure=figures.scan_figure(plan) if plan.scan else None,
        ranking_figures={target: figures.ranking_figure(plan, target) for target in targets},
        adversarial_figure=figures.adversarial_figure(plan) if plan.adversarial else None,
    )


def calculators_report(plan: CalculatorPlan) -> str:
    """The report of calculators that no transfer stands beside, as HTML text."""
    return page(
        __package__,
        "without_source.html.jinja",
        _COMMON,
        plan=plan,
        version=__version__,
        title=", ".join(row.name for row in plan.comparison.rows),
        steps=plan.steps,
        comparison=plan.comparison,
    )
