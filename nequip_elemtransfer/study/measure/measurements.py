"""Properties and simulations with one model.

Of properties, what fails is named with the reason, and the rest goes on; a simulation goes on until it ends or fails.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials import dynamics, molecular
from nequip_elemtransfer.materials import properties as materials
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.study import quantities
from nequip_elemtransfer.study.config import evaluation_settings as asked_for
from nequip_elemtransfer.study.grid import simulation_name, structures_with
from nequip_elemtransfer.study.measure.evaluation import has_result, write_result

T = TypeVar("T")
EOS_RATIOS = np.linspace(0.85, 1.15, 13)  # of the volume of the study's crystal

RDF_EDGES = np.linspace(0.0, 2.5, 101)  # in nearest-neighbour distances
ADF_EDGES = np.linspace(0.0, 180.0, 91)  # degrees
LONGEST_BOND = 1.2  # in nearest-neighbour distances: short of the second shell of fcc and diamond


class _Attempts:
    """What is calculated; None, and the reason by its name in ``failed``, if the model fails.

    It may do so in any way where it was never trained.
    """

    def __init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.whose = ""  # begins the reasons

    def __call__(self, name: str, calculate: Callable[..., T], *args: Any) -> T | None:
        try:
            return calculate(*args)
        except Exception as error:
            self.failed[name] = f"{self.whose}{type(error).__name__}: {' '.join(str(error).split())}"
            return None


def properties_of(crystal: Crystal, calculator: Calculator, settings: asked_for.PropertySettings) -> dict[str, Any]:
    """All properties that the model has.

    Returns:
        ``values`` by name, ``failed`` name -> reason, and ``equation_of_state`` and ``phonons`` as lists
    """
    attempt = _Attempts()
    values: dict[str, float | None] = {}
    found: dict[str, Any] = {"values": {}, "failed": attempt.failed}
    energies = attempt(quantities.EQUATION_OF_STATE, materials.equation_of_state, crystal, calculator, EOS_RATIOS)
    if energies is not None:
        found[quantities.EQUATION_OF_STATE] = {
            "volumes": list(EOS_RATIOS * crystal.unit_cell().get_volume() / len(crystal.unit_cell())),
            "energies": energies.tolist(),
        }
    relaxed = attempt("lattice_constant", materials.equilibrium, crystal, calculator)
    if relaxed is None:
        return found
    values["lattice_constant"] = relaxed.a
    values["bulk_modulus"] = attempt("bulk_modulus", materials.bulk_modulus, relaxed, calculator)
    values |= attempt("C11", materials.elastic_constants, relaxed, calculator) or {}
    bands = attempt(quantities.PHONONS, materials.phonon_bands, relaxed, calculator, settings.phonon_supercell)
    if bands is not None:
        values["highest_phonon"] = float(bands.frequencies.max())
        values["lowest_phonon"] = float(bands.frequencies.min())
        found[quantities.PHONONS] = {
            "x": bands.x.tolist(),
            "frequencies": bands.frequencies.tolist(),
            "ticks": bands.ticks.tolist(),
            "labels": list(bands.labels),
        }
    name = "vacancy_formation_energy"
    values[name] = attempt(name, materials.vacancy_formation_energy, relaxed, calculator, settings.supercell)
    for hkl in settings.surfaces:
        name = f"surface_energy_{hkl}"
        values[name] = attempt(name, materials.surface_energy, relaxed, calculator, [int(index) for index in hkl])
    found["values"] = {name: value for name, value in values.items() if value is not None}
    return found


def molecules_in(chosen: asked_for.MoleculeFile) -> list[Atoms]:
    """The molecules that a study names.

    Raises:
        ValueError: there are none
    """
    found = [atoms for atoms in structures_with(chosen.file, chosen.labels) if chosen.element in atoms.symbols]
    if not found:
        whose = f" and with {dict(chosen.labels)}" if chosen.labels else ""
        raise ValueError(f"`molecules.file` {chosen.file} holds no structure with {chosen.element}{whose}.")
    return found


def molecular_properties(molecules: Sequence[Atoms], element: str, calculator: Calculator) -> dict[str, Any]:
    """Geometry and vibrations at the calculator's own minimum, and torsion profiles of the geometry that was given.

    Which atoms are bonded is read off the geometry that was given, so that it is the same for every calculator.

    Returns:
        ``values``, empty; ``failed``, property -> reason; and by property, for each molecule its numbers, or None where
        that failed
    """
    attempt = _Attempts()
    found: dict[str, Any] = {"values": {}, "failed": attempt.failed}
    for atoms in molecules:
        attempt.whose = f"{atoms.info.get('molecule', atoms.get_chemical_formula())}: "
        lengths = angles = wavenumbers = None
        minimum = attempt(quantities.BOND_LENGTHS, molecular.relaxed_molecule, atoms, calculator)
        if minimum is not None:
            lengths = [float(minimum.get_distance(*bond)) for bond in molecular.bonds_to(atoms, element).tolist()]
            angles = [float(minimum.get_angle(*three)) for three in molecular.angles_about(atoms, element).tolist()]
            wavenumbers = attempt(quantities.WAVENUMBERS, _wavenumbers, minimum, calculator)
        torsions = attempt(quantities.TORSIONS, _torsions, atoms, element, calculator)
        names = (quantities.BOND_LENGTHS, quantities.BOND_ANGLES, quantities.WAVENUMBERS, quantities.TORSIONS)
        for name, numbers in zip(names, (lengths, angles, wavenumbers, torsions)):
            found.setdefault(name, []).append(numbers)
    return found


def _wavenumbers(minimum: Atoms, calculator: Calculator) -> Any:
    return molecular.harmonic_wavenumbers(minimum, calculator).tolist()


def _torsions(atoms: Atoms, element: str, calculator: Calculator) -> list[float]:
    """Energies of all torsions, one after another."""
    return [
        float(energy)
        for dihedral in molecular.rotatable_bonds(atoms, element)
        for energy in molecular.torsion_profile(atoms, calculator, dihedral)
    ]


def run_simulations(
    crystal: Crystal,
    calculator: Calculator,
    settings: asked_for.StabilitySettings,
    folder: Path,
    origin: Mapping[str, str],
) -> None:
    """Run the simulations that have no file yet, and write one for each.

    Args:
        crystal, settings: of the study
        calculator: of the model
        folder: for the files
        origin: of the model, see :func:`.evaluation.made_from`

    Raises:
        ValueError, FileNotFoundError: see :func:`.structure_files.structures_in`
    """
    for name, start in settings.starts.items():
        frames = _start_structures(name, start, crystal, settings.supercell)
        for temperature, index in product(start.temperatures, range(settings.runs)):
            path = folder / simulation_name(name, temperature, index)
            protocol = settings.protocol(temperature, seed=index)
            asked = {
                "start": name,
                "began_with": asdict(start) | {"temperatures": [temperature]},
                "crystal": asdict(crystal) | {"supercell": settings.supercell},
                "protocol": asdict(protocol),
                "criteria": asdict(settings.criteria),
                "engine": settings.engine,
                **origin,
            }
            if has_result(path, asked):
                continue
            atoms = frames[index % len(frames)]
            result = dynamics.simulate(atoms, calculator, protocol, crystal.nearest_neighbor, settings.criteria)
            write_result(path, _seen(result, crystal.nearest_neighbor), asked)
            print(f"{path.stem}: {result.survived:.3g} of {protocol.time:.3g} ps {result.reason}", flush=True)


def _start_structures(name: str, start: asked_for.Beginning, crystal: Crystal, supercell: int) -> list[Atoms]:
    """What simulations begin with; the runs take one each in turn."""
    if start.file is None:
        return [crystal.supercell(supercell) if name == asked_for.CRYSTAL else crystal.vacancy(supercell)]
    frames = structures_with(start.file, start.labels)
    if not frames:
        raise ValueError(f"{start.file} has no structures with {dict(start.labels)} for {name!r} to begin with.")
    return frames


def _seen(result: dynamics.Simulation, nearest_neighbor: float) -> dict[str, Any]:
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
