"""A trained model as an ASE calculator."""

import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from ase.calculators.calculator import Calculator
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.checkpoints.gate import sha256_of
from nequip_elemtransfer.checkpoints.nequip_loader import require_loadable, require_loadable_data
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.config.evaluation_settings import AOTINDUCTOR


def trained_calculator(checkpoint: Path, engine: str, folder: Path, vouched: Collection[Mapping] = ()) -> Calculator:
    """Calculator of a checkpoint, on a GPU if there is one.

    Args:
        checkpoint: of ``nequip-train``
        engine: ``eager`` or ``aotinductor``
        folder: for the compiled model, which is used again for this checkpoint; those of others are removed
        vouched: the :func:`.callables.calls` in the config of the training, which are the user's

    Raises:
        RefusedFile: it is damaged or hostile, or names what NequIP's loader should not call
        RuntimeError: the model cannot be compiled
    """
    require_loadable(checkpoint, vouched)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if engine != AOTINDUCTOR:
        from_saved_model = imported("nequip.integrations.ase.NequIPCalculator._from_saved_model")
        return from_saved_model(checkpoint, device, chemical_species_to_atom_type_map=True)
    compiled = folder / f"model-{device}-{sha256_of(checkpoint)[:16]}.nequip.pt2"
    if not compiled.exists():
        for other in folder.glob(f"model-{device}*.nequip.pt2"):
            other.unlink()
        require_loadable_data(checkpoint, vouched)  # nequip-compile takes a structure from there
        _compile(checkpoint, compiled, device)
    return NequIPCalculator.from_compiled_model(compiled, device, chemical_species_to_atom_type_map=True)


def _compile(checkpoint: Path, out: Path, device: str) -> None:
    with written_together([out]) as (staged,):
        command = [sys.executable, "-m", "nequip.scripts.compile", str(checkpoint), str(staged)]
        command += ["--device", device, "--mode", AOTINDUCTOR, "--target", "ase"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            raise RuntimeError(f"nequip-compile failed on {checkpoint}: {lines[-1]}")
