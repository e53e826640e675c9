"""A plan as text for the terminal."""

from nequip_elemtransfer.element_map import start_text
from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.plan.errors import milli_text
from nequip_elemtransfer.plan.planning import Plan


def summary(plan: Plan) -> str:
    """Verdict, start, ladder, ranking, AUC and findings, in this order."""
    parts = [_verdict(plan), _start(plan), _ladder(plan)]
    if plan.ranking:
        parts.append(_ranking(plan))
    if plan.adversarial:
        parts.append(_adversarial(plan))
    warnings = [f"Warning: {warning}" for warning in plan.scan.warnings] if plan.scan else []
    cautions = [finding.sentence for finding in plan.sufficiency.findings if finding.level == "caution"]
    parts.append("\n".join([*warnings, *cautions, *plan.notes]))
    return "\n\n".join(part for part in parts if part)


def _verdict(plan: Plan) -> str:
    numbers = "\n".join(
        f"  {name}: {'not known' if value is None else f'{value:.3g}'}" for name, value in plan.verdict.numbers.items()
    )
    return f"Verdict: {plan.verdict.word} ({plan.verdict.sentence}).\n{numbers}"


def _start(plan: Plan) -> str:
    rows = [
        [
            target,
            start_text(start) + (" (proposed)" if target in plan.proposed else ""),
            f"{plan.length_scale[target]:.4f}",
            f"{plan.energy_scale[target]:.4f}",
            f"{plan.energy_shifts[target]:.4f}",
        ]
        for target, start in plan.elements.items()
    ]
    header = ["type", "starts from", "length scale λ", "energy scale α", "energy shift μ (eV)"]
    return table(header, rows, [False, False, True, True, True])


def _ladder(plan: Plan) -> str:
    rows = [
        [
            step.name,
            *(milli_text(e) for e in (step.force_mae, step.force_rmse, step.energy_mae, step.energy_mae_refitted)),
        ]
        for step in plan.ladder
    ]
    units = ["", "meV/Å", "meV/Å", "meV/atom", "meV/atom"]
    header = ["held-out errors", "force MAE", "force RMSE", "energy MAE", "energy MAE, shifts refitted"]
    return table(header, [units, *rows], [False, True, True, True, True])


def _ranking(plan: Plan) -> str:
    rows = [
        [c.target, start_text(c.start), f"{c.length_scale:.3f}", milli_text(c.force_mae), f"{c.unexplained:.3f}"]
        for c in plan.ranking
    ]
    header = ["target", "start", "λ", "held-out force MAE (meV/Å)", "force variance unexplained"]
    return table(header, rows, [False, False, True, True, True])


def _adversarial(plan: Plan) -> str:
    rows = [
        [
            "the model's" if step.features == "model" else step.features,
            f"{step.lengths} ({step.length_scale:.3f})",
            f"{step.result.auc:.3f} [{step.result.interval[0]:.3f}, {step.result.interval[1]:.3f}]",
        ]
        for step in plan.adversarial
    ]
    return table(
        ["features", "target's lengths divided by", "ROC AUC, source against target"], rows, [False, False, True]
    )
