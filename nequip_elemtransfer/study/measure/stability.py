"""Simulations of a crystal, or of other structures, with one model, each until it ends or fails."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials import dynamics
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import Protocol, Simulation
from nequip_elemtransfer.study import quantities
from nequip_elemtransfer.study.config.evaluation_settings import CRYSTAL, Beginning, StabilitySettings
from nequip_elemtransfer.study.grid import simulation_name
from nequip_elemtransfer.study.measure.evaluation import is_kept, keep
from nequip_elemtransfer.study.structure_files import structures_with

RDF_EDGES = np.linspace(0.0, 2.5, 101)  # in nearest-neighbour distances
ADF_EDGES = np.linspace(0.0, 180.0, 91)  # degrees
LONGEST_BOND = 1.2  # in nearest-neighbour distances: short of the second shell of fcc and diamond


def run_simulations(
    crystal: Crystal, calculator: Calculator, settings: StabilitySettings, folder: Path, origin: Mapping[str, str]
) -> None:
    """Run the simulations that have no file yet, and write one for each.

    Args:
        crystal, settings: of the study
        calculator: of the model
        folder: for the files
        origin: of the model, see :func:`.evaluation.made_from`
    """
    for path, start, atoms, protocol in simulations(crystal, settings, folder):
        asked = {
            "start": start,
            "began_with": asdict(settings.starts[start]) | {"temperatures": [protocol.temperature]},
            "crystal": asdict(crystal) | {"supercell": settings.supercell},
            "protocol": asdict(protocol),
            "criteria": asdict(settings.criteria),
            "engine": settings.engine,
            **origin,
        }
        if is_kept(path, asked):
            continue
        result = dynamics.simulate(atoms, calculator, protocol, crystal.nearest_neighbor, settings.criteria)
        keep(path, _seen(result, crystal.nearest_neighbor), asked)
        print(f"{path.stem}: {result.survived:.3g} of {protocol.time:.3g} ps {result.reason}", flush=True)


def simulations(
    crystal: Crystal, settings: StabilitySettings, folder: Path
) -> Iterator[tuple[Path, str, Atoms, Protocol]]:
    """File of the result, name of the start, structure and protocol of each simulation.

    Raises:
        ValueError, FileNotFoundError: see :func:`start_structures`
    """
    for name, start in settings.starts.items():
        frames = start_structures(name, start, crystal, settings.supercell)
        for temperature, index in product(start.temperatures, range(settings.runs)):
            file = folder / simulation_name(name, temperature, index)
            yield file, name, frames[index % len(frames)], settings.protocol(temperature, seed=index)


def start_structures(name: str, start: Beginning, crystal: Crystal, supercell: int) -> list[Atoms]:
    """What simulations begin with; the runs take one each in turn.

    Raises:
        ValueError, FileNotFoundError: see :func:`.structure_files.structures_in`
    """
    if start.file is None:
        return [crystal.supercell(supercell) if name == CRYSTAL else crystal.vacancy(supercell)]
    frames = structures_with(start.file, start.labels)
    if not frames:
        raise ValueError(f"{start.file} has no structures with {dict(start.labels)}, which {name!r} should begin with.")
    return frames


def _seen(result: Simulation, nearest_neighbor: float) -> dict[str, Any]:
    """A simulation as plain data, its frames as RDF, ADF and mean-square displacement."""
    content: dict[str, Any] = {
        "survived": result.survived,
        "failure": result.failure,
        "reason": result.reason,
        "mean_temperature": result.temperature,
        "drift": result.drift,
    }
    if result.frames:
        bond = LONGEST_BOND * nearest_neighbor
        content[quantities.RDF] = dynamics.radial_distribution(result.frames, RDF_EDGES * nearest_neighbor).tolist()
        content[quantities.ADF] = dynamics.angular_distribution(result.frames, bond, ADF_EDGES).tolist()
        content[quantities.MSD] = dynamics.mean_square_displacement(result.frames).tolist()
    return content
