"""Properties of a crystal or of molecules with one model; what fails is named with the reason, and the rest goes on."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials import molecular
from nequip_elemtransfer.materials import properties as materials
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.study import quantities
from nequip_elemtransfer.study.config.evaluation_settings import MoleculeFile, PropertySettings
from nequip_elemtransfer.study.structure_files import structures_with

T = TypeVar("T")
EOS_RATIOS = np.linspace(0.85, 1.15, 13)  # of the volume of the study's crystal


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


def properties_of(crystal: Crystal, calculator: Calculator, settings: PropertySettings) -> dict[str, Any]:
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


def molecules_in(chosen: MoleculeFile) -> list[Atoms]:
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
