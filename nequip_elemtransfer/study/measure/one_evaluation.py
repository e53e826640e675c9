"""One evaluation of one model, a trained one as an ASE calculator."""

import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ase.calculators.calculator import Calculator
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.checkpoints.gate import sha256_of
from nequip_elemtransfer.checkpoints.named_calls import calls
from nequip_elemtransfer.checkpoints.nequip_loader import require_loadable, require_loadable_data
from nequip_elemtransfer.materials.calculator import make_calculator
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.config import evaluation_settings as settings
from nequip_elemtransfer.study.grid import REFERENCE, Grid, checkpoint_of, evaluation_folder
from nequip_elemtransfer.study.measure.evaluation import made_from, write_result_of
from nequip_elemtransfer.study.measure.measurements import (
    molecular_properties,
    molecules_in,
    properties_of,
    run_simulations,
)
from nequip_elemtransfer.study.measure.plan import plan_of
from nequip_elemtransfer.study.run.training_configs import written_config


def evaluate_model(out: Path, kind: str, model: str) -> None:
    """Do one evaluation; the result is in its folder.

    Args:
        out: folder of the study
        kind: ``properties``, ``stability`` or ``plan``
        model: name of a run, or ``reference``

    Raises:
        ValueError: the study does not ask for it
    """
    asked = settings.EvaluationSettings.from_mapping(Grid.read(out).evaluations)
    folder = evaluation_folder(out, kind, model)
    if kind == settings.PLAN and asked.plan is not None:
        write_result_of(out, kind, model, plan_of(out, model, asked.plan.source_data), asked.plan.without_sizes())
    elif kind == settings.STABILITY and asked.stability is not None and asked.crystal is not None:
        calculator = _calculator(out, model, asked, asked.stability.engine, folder)
        run_simulations(asked.crystal, calculator, asked.stability, folder, made_from(out, kind, model))
    elif kind == settings.PROPERTIES and asked.properties is not None and (subject := asked.molecules or asked.crystal):
        calculator = _calculator(out, model, asked, settings.EAGER, folder)
        if asked.molecules is not None:
            found = molecular_properties(molecules_in(asked.molecules), asked.molecules.element, calculator)
        elif asked.crystal is not None:
            found = properties_of(asked.crystal, calculator, asked.properties)
        write_result_of(out, kind, model, found, asdict(subject) | asked.properties.without_sizes())
    else:
        raise ValueError(f"the study in {out} asks for no {kind}.")


def _calculator(out: Path, model: str, asked: settings.EvaluationSettings, engine: str, folder: Path) -> Calculator:
    """Of a trained model, or of the reference."""
    if model == REFERENCE:
        return make_calculator("`reference.calculator`", asked.reference.calculator or {})
    return trained_calculator(checkpoint_of(out, model), engine, folder, [*calls(written_config(out, model))])


def trained_calculator(
    checkpoint: Path, engine: str, folder: Path, vouched: Collection[Mapping[str, Any]] = ()
) -> Calculator:
    """Calculator of a checkpoint, on a GPU if there is one.

    Args:
        checkpoint: of ``nequip-train``
        engine: ``eager`` or ``aotinductor``
        folder: for the compiled model, which is used again for this checkpoint; those of others are removed
        vouched: the :func:`.named_calls.calls` in the config of the training, which are the user's

    Raises:
        RefusedFile: it is damaged or hostile, or names what NequIP's loader should not call
        RuntimeError: the model cannot be compiled
    """
    require_loadable(checkpoint, vouched)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if engine != settings.AOTINDUCTOR:
        from_saved_model = imported("nequip.integrations.ase.NequIPCalculator._from_saved_model")
        return from_saved_model(checkpoint, device, chemical_species_to_atom_type_map=True)
    compiled = folder / f"model-{device}-{sha256_of(checkpoint)[:16]}.nequip.pt2"
    if not compiled.exists():
        for other in folder.glob(f"model-{device}*.nequip.pt2"):
            other.unlink()
        require_loadable_data(checkpoint, vouched)  # nequip-compile takes a structure from there
        with written_together([compiled]) as (staged,):
            command = [sys.executable, "-m", "nequip.scripts.compile", str(checkpoint), str(staged)]
            command += ["--device", device, "--mode", settings.AOTINDUCTOR, "--target", "ase"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
                raise RuntimeError(f"nequip-compile failed on {checkpoint}: {lines[-1]}")
    return NequIPCalculator.from_compiled_model(compiled, device, chemical_species_to_atom_type_map=True)
