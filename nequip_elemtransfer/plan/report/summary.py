"""A plan as text for the terminal."""

import shlex
from collections.abc import Sequence

from nequip_elemtransfer.config import KIND_NAMES, start_text
from nequip_elemtransfer.output.table import table, with_error
from nequip_elemtransfer.plan.errors import milli_lines
from nequip_elemtransfer.plan.result import CalculatorPlan, Plan
from nequip_elemtransfer.plan.source_check.check import source_text
from nequip_elemtransfer.plan.start.calculators import Comparison
from nequip_elemtransfer.plan.start.cross_validation import Step
from nequip_elemtransfer.plan.verdict import GO


def summary(plan: Plan) -> str:
    """Verdict, start, what decided λ, ladder, ranking, AUC, warnings and findings, in this order."""
    parts = [_verdict(plan), _start(plan), _lengths(plan), _errors(plan.steps)]
    if plan.comparison is not None:
        parts.append(_costs(plan.comparison))
    if plan.ranking:
        parts.append(_ranking(plan))
    if plan.adversarial:
        parts.append(_adversarial(plan))
    if plan.source_check is not None:
        parts.append(source_text(plan.source_check))
    warnings = [f"Warning: {warning}" for warning in plan.warnings]
    cautions = [finding.sentence for finding in plan.sufficiency.findings if finding.level == "caution"]
    parts.append("\n".join([*warnings, *cautions, *plan.notes]))
    return "\n\n".join(part for part in parts if part)


def calculators_summary(plan: CalculatorPlan) -> str:
    """Errors and costs of calculators that no transfer stands beside, and what was left out."""
    parts = [_errors(plan.steps), _costs(plan.comparison), "\n".join(plan.notes)]
    return "\n\n".join(part for part in parts if part)


def _verdict(plan: Plan) -> str:
    numbers = "\n".join(
        f"  {name}: {'not known' if value is None else f'{value:.3g}'}" for name, value in plan.verdict.numbers.items()
    )
    command = shlex.join(["nequip-elemtransfer", "race", plan.source, plan.data])
    race = "" if plan.verdict.word == GO else f"\n  {command}"
    return f"Verdict: {plan.verdict.word} (before any training {plan.verdict.sentence}).{race}\n{numbers}"


def _start(plan: Plan) -> str:
    rows = [
        [
            target,
            start_text(start) + (" (proposed)" if target in plan.proposed else ""),
            with_error(plan.length_scale[target], plan.length_scale_errors[target]),
            with_error(plan.energy_scale[target], plan.energy_scale_errors[target]),
            f"{plan.energy_shifts[target]:.4f}",
        ]
        for target, start in plan.elements.items()
    ]
    header = ["type", "starts from", "length scale λ", "energy scale α", "energy shift μ (eV)"]
    return table(header, rows, [False, False, True, True, True])


def _lengths(plan: Plan) -> str:
    if plan.scan is None:
        return ""
    asked = ", ".join(f"{KIND_NAMES[kind]} {value:.3f}" for kind, value in plan.scan.asked.items()) or "none"
    marks = ", ".join(f"{name} {value:.3f}" for name, value in plan.scan.marks.items() if name != "fit")
    others = f"; {marks}" if marks else ""
    return f"λ of {plan.scan.type} that each kind of label asks for: {asked}{others}. Taken: {plan.scan.chosen}."


def _errors(steps: Sequence[Step]) -> str:
    rows = [
        [s.name, *map(milli_lines, (s.force_mae, s.energy_mae, s.energy_mae_refitted, s.stress_mae))] for s in steps
    ]
    units = ["", "meV/Å", "meV/atom", "meV/atom", "meV/Å³"]
    header = ["held-out errors", "force MAE", "energy MAE", "shifts refitted", "stress MAE"]
    return table(header, [units, *rows], [False, *[True] * 4])


def _costs(comparison: Comparison) -> str:
    rows = [
        [name, *(["–"] * 2 if cost is None else [f"{cost.clock:.3g}", f"{cost.processor:.3g}"])]
        for name, cost in comparison.costs.items()
    ]
    cost = table(["a step, ms per atom", "by the clock", "in processor time"], rows, [False, True, True])
    return f"{comparison.better}\n\n{cost}\n({comparison.atoms} atoms)".lstrip()


def _ranking(plan: Plan) -> str:
    rows = [
        [
            c.target,
            start_text(c.start),
            f"{c.length_scale:.3f}",
            *map(milli_lines, (c.force_mae, c.energy_mae, c.stress_mae)),
            "–" if c.unexplained is None else f"{c.unexplained:.3f}",
        ]
        for c in plan.ranking
    ]
    header = ["target", "start", "λ", "force MAE", "energy MAE", "stress MAE", "unexplained"]
    units = ["", "", "", "meV/Å", "meV/atom", "meV/Å³", ""]
    return table(header, [units, *rows], [False, False, *[True] * 5])


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
