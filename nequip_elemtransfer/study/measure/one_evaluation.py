"""One evaluation of one model."""

from dataclasses import asdict
from pathlib import Path

from nequip_elemtransfer.checkpoints.callables import calls
from nequip_elemtransfer.materials.calculator_file import make_calculator
from nequip_elemtransfer.study.config.evaluation_settings import (
    EAGER,
    PLAN,
    PROPERTIES,
    REFERENCE_CALCULATOR,
    STABILITY,
    EvaluationSettings,
    without_sizes,
)
from nequip_elemtransfer.study.folder import REFERENCE, RESULT_FILE, checkpoint_of, evaluation_folder
from nequip_elemtransfer.study.grid import Grid
from nequip_elemtransfer.study.measure.kept import keep, made_from
from nequip_elemtransfer.study.measure.model_calculator import trained_calculator
from nequip_elemtransfer.study.measure.molecules import molecular_properties, molecules_in
from nequip_elemtransfer.study.measure.plan import plan_of
from nequip_elemtransfer.study.measure.properties import properties_of
from nequip_elemtransfer.study.measure.stability import run_simulations
from nequip_elemtransfer.study.run.training_configs import written_config


def evaluate_model(out: Path, kind: str, model: str) -> None:
    """Do one evaluation; the result is in its folder.

    Args:
        out: folder of the study
        kind: ``properties``, ``stability`` or ``plan``
        model: name of a run, or ``reference``
    """
    evaluations = EvaluationSettings.from_mapping(Grid.read(out).evaluations)
    folder, origin = evaluation_folder(out, kind, model), made_from(out, kind, model)
    if kind == PLAN:
        found = plan_of(out, model, evaluations.plan.source_data)
        keep(folder / RESULT_FILE, found, without_sizes(evaluations.plan) | origin)
        return
    engine = evaluations.stability.engine if kind == STABILITY else EAGER
    if model == REFERENCE:
        calculator = make_calculator(REFERENCE_CALCULATOR, evaluations.reference.calculator)
    else:
        calculator = trained_calculator(checkpoint_of(out, model), engine, folder, [*calls(written_config(out, model))])
    if kind == PROPERTIES and evaluations.molecules is not None:
        chosen = evaluations.molecules
        found = molecular_properties(molecules_in(chosen), chosen.element, calculator)
        keep(folder / RESULT_FILE, found, asdict(chosen) | without_sizes(evaluations.properties) | origin)
    elif kind == PROPERTIES:
        found = properties_of(evaluations.crystal, calculator, evaluations.properties)
        settings = asdict(evaluations.crystal) | without_sizes(evaluations.properties)
        keep(folder / RESULT_FILE, found, settings | origin)
    else:
        run_simulations(evaluations.crystal, calculator, evaluations.stability, folder, origin)
