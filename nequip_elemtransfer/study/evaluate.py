"""One evaluation of one model, in a process of its own:

    python -m nequip_elemtransfer.study.evaluate OUT PART MODEL

MODEL is the name of a run, or ``reference``.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from omegaconf import OmegaConf

from nequip_elemtransfer.materials import properties as materials
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import Protocol, Simulation, simulate
from nequip_elemtransfer.materials.structure_functions import (
    angular_distribution,
    mean_square_displacement,
    radial_distribution,
)
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.evaluations import (
    CRYSTAL,
    EAGER,
    PLAN,
    PROPERTIES,
    STABILITY,
    Evaluations,
    MDStart,
    PropertySettings,
    StabilitySettings,
    without_sizes,
)
from nequip_elemtransfer.study.grid import Grid
from nequip_elemtransfer.study.model_calculator import reference_calculator, trained_calculator
from nequip_elemtransfer.study.quantities import ADF, EQUATION_OF_STATE, MSD, PHONONS, RDF
from nequip_elemtransfer.study.structure_files import has_labels, read_structures
from nequip_elemtransfer.study.tasks import REFERENCE, RESULT, evaluation_folder, free_path, run_folder, simulation_name
from nequip_elemtransfer.study.training_configs import GROUP, PRIMARY

EOS_RATIOS = np.linspace(0.85, 1.15, 13)  # of the volume of the study's crystal
RDF_EDGES = np.linspace(0.0, 2.5, 101)  # in nearest-neighbour distances
ADF_EDGES = np.linspace(0.0, 180.0, 91)  # degrees
LONGEST_BOND = 1.2  # in nearest-neighbour distances: short of the second shell of fcc and diamond


def main() -> None:
    """Evaluate; the result is in the folder of the evaluation."""
    out, part, model = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    evaluations = Evaluations.from_mapping(Grid.read(out).evaluations)
    folder = evaluation_folder(out, part, model)
    if part == PLAN:
        found = plan_of(out, model, evaluations.plan.source_data)
        keep(folder / RESULT, found, without_sizes(evaluations.plan))
        return
    engine = evaluations.stability.engine if part == STABILITY else EAGER
    if model == REFERENCE:
        calculator = reference_calculator(evaluations.reference.calculator)
    else:
        calculator = trained_calculator(run_folder(out, model) / "best.ckpt", engine, folder)
    if part == PROPERTIES:
        found = properties_of(evaluations.crystal, calculator, evaluations.properties)
        keep(folder / RESULT, found, asdict(evaluations.crystal) | without_sizes(evaluations.properties))
    else:
        run_simulations(evaluations.crystal, calculator, evaluations.stability, folder)


def properties_of(crystal: Crystal, calculator: Calculator, settings: PropertySettings) -> dict[str, Any]:
    """All properties that the model has; what fails is named with the reason, and the rest goes on.

    Returns:
        ``values`` by name, ``failed`` name -> reason, and ``equation_of_state`` and ``phonons`` as lists
    """
    found: dict[str, Any] = {"values": {}, "failed": {}}

    def attempt(name: str, calculate: Callable[[], Any]) -> Any:
        try:
            return calculate()
        except Exception as error:  # a model may fail in any way where it was never trained
            found["failed"][name] = f"{type(error).__name__}: {' '.join(str(error).split())}"

    def value(name: str, calculate: Callable[[], float]) -> None:
        number = attempt(name, calculate)
        if number is not None:
            found["values"][name] = float(number)

    energies = attempt(EQUATION_OF_STATE, lambda: materials.equation_of_state(crystal, calculator, EOS_RATIOS))
    if energies is not None:
        found[EQUATION_OF_STATE] = {
            "volumes": list(EOS_RATIOS * crystal.unit_cell().get_volume() / len(crystal.unit_cell())),
            "energies": energies.tolist(),
        }
    relaxed = attempt("lattice_constant", lambda: materials.equilibrium(crystal, calculator))
    if relaxed is None:
        return found
    value("lattice_constant", lambda: relaxed.a)
    value("bulk_modulus", lambda: materials.bulk_modulus(relaxed, calculator))
    constants = attempt("C11", lambda: materials.elastic_constants(relaxed, calculator)) or {}
    for name, number in constants.items():
        value(name, lambda number=number: number)
    bands = attempt(PHONONS, lambda: materials.phonon_bands(relaxed, calculator, settings.phonon_supercell))
    if bands is not None:
        value("highest_phonon", lambda: bands.frequencies.max())
        value("lowest_phonon", lambda: bands.frequencies.min())
        found[PHONONS] = {
            "x": bands.x.tolist(),
            "frequencies": bands.frequencies.tolist(),
            "ticks": bands.ticks.tolist(),
            "labels": list(bands.labels),
        }
    value(
        "vacancy_formation_energy",
        lambda: materials.vacancy_formation_energy(relaxed, calculator, settings.supercell),
    )
    for hkl in settings.surfaces:
        miller = tuple(int(index) for index in hkl)
        value(f"surface_energy_{hkl}", lambda miller=miller: materials.surface_energy(relaxed, calculator, miller))
    return found


def run_simulations(crystal: Crystal, calculator: Calculator, settings: StabilitySettings, folder: Path) -> None:
    """Run the simulations that have no file yet, and write one for each."""
    for path, start, atoms, protocol in simulations(crystal, settings, folder):
        asked = {
            "start": start,
            "began_with": asdict(settings.starts[start]) | {"temperatures": [protocol.temperature]},
            "crystal": asdict(crystal) | {"supercell": settings.supercell},
            "protocol": asdict(protocol),
            "criteria": asdict(settings.criteria),
            "engine": settings.engine,
        }
        if is_kept(path, asked):
            continue
        result = simulate(atoms, calculator, protocol, crystal.nearest_neighbor, settings.criteria)
        keep(path, _seen(result, crystal.nearest_neighbor), asked)
        print(f"{path.stem}: {result.survived:.3g} of {protocol.time:.3g} ps {result.reason}", flush=True)


def simulations(
    crystal: Crystal, settings: StabilitySettings, folder: Path
) -> Iterator[tuple[Path, str, Atoms, Protocol]]:
    """File of the result, name of the start, structure and protocol of each simulation.

    Raises:
        ValueError, FileNotFoundError: the structures to begin with cannot be had
    """
    for name, start in settings.starts.items():
        frames = start_structures(name, start, crystal, settings.supercell)
        for temperature, index in product(start.temperatures, range(settings.runs)):
            file = folder / simulation_name(name, temperature, index)
            yield file, name, frames[index % len(frames)], settings.protocol(temperature, seed=index)


def start_structures(name: str, start: MDStart, crystal: Crystal, supercell: int) -> list[Atoms]:
    """What simulations begin with; the runs take one each in turn.

    Raises:
        ValueError, FileNotFoundError: see :func:`.structure_files.read_structures`
    """
    if start.file is None:
        return [crystal.supercell(supercell) if name == CRYSTAL else crystal.vacancy(supercell)]
    frames = [atoms for atoms in read_structures(start.file) if has_labels(atoms, start.labels)]
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
        content[RDF] = radial_distribution(result.frames, RDF_EDGES * nearest_neighbor).tolist()
        content[ADF] = angular_distribution(result.frames, bond, ADF_EDGES).tolist()
        content[MSD] = mean_square_displacement(result.frames).tolist()
    return content


def plan_of(out: Path, run: str, source_data: str | None) -> dict[str, Any]:
    """What ``nequip-elemtransfer plan`` says of the transfer of a run, given the run's own training set, and as
    ``rescales`` whether the run has a length scale."""
    from nequip_elemtransfer.plan import plan

    config = OmegaConf.load(out / PRIMARY / GROUP / f"{run}.yaml")
    key = OmegaConf.to_container(config.element_transfer, resolve=True)
    found = plan(
        key["source"],
        config.data.train_file_path,
        elements=key.get("elements", {}),
        chemical_species=key.get("chemical_species", {}),
        source_data=source_data,
    )
    return {"rescales": key.get("length_scale") != "none", **found.to_dict()}


def is_kept(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the result for these settings is there."""
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["settings"] == _plain(settings)


def keep(path: Path, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a result, complete or not at all; one for other settings is moved aside."""
    if path.exists() and not is_kept(path, settings):
        path.rename(free_path(path.with_name(path.stem + ".before_{}" + path.suffix)))
    with written_together([path]) as (partial,):
        partial.write_text(json.dumps({"settings": settings, **content}) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))  # as it is read back


if __name__ == "__main__":
    main()
