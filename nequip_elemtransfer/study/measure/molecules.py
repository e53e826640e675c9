"""Properties of molecules with one model, beside which the reference's are measured."""

from collections.abc import Callable, Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials import molecular
from nequip_elemtransfer.structures.files import read_structures
from nequip_elemtransfer.study.config.evaluation_settings import MoleculeFile
from nequip_elemtransfer.study.property_names import BOND_ANGLES, BOND_LENGTHS, TORSIONS, WAVENUMBERS
from nequip_elemtransfer.study.structure_files import has_labels


def molecules_in(chosen: MoleculeFile) -> list[Atoms]:
    """The molecules that a study names.

    Raises:
        ValueError: there are none
    """
    found = [atoms for atoms in read_structures(chosen.file) if has_labels(atoms, chosen.labels)]
    found = [atoms for atoms in found if chosen.element in atoms.symbols]
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
    found: dict[str, Any] = {"values": {}, "failed": {}}
    for atoms in molecules:
        for name, numbers in _of_molecule(atoms, element, calculator, found["failed"]).items():
            found.setdefault(name, []).append(numbers)
    return found


def _of_molecule(
    atoms: Atoms, element: str, calculator: Calculator, failed: dict[str, str]
) -> dict[str, list[float] | None]:
    def attempt(name: str, calculate: Callable[[], Any]) -> Any:
        try:
            return calculate()
        except Exception as error:  # a model may fail in any way where it was never trained
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            failed[name] = f"{atoms.info.get('molecule', atoms.get_chemical_formula())}: {reason}"
            return None

    found = dict.fromkeys((BOND_LENGTHS, BOND_ANGLES, WAVENUMBERS))
    minimum = attempt(BOND_LENGTHS, lambda: molecular.relaxed_molecule(atoms, calculator))
    if minimum is not None:
        bonds, angles = molecular.bonds_to(atoms, element), molecular.angles_about(atoms, element)
        found[BOND_LENGTHS] = [float(minimum.get_distance(*bond)) for bond in bonds.tolist()]
        found[BOND_ANGLES] = [float(minimum.get_angle(*angle)) for angle in angles.tolist()]
        found[WAVENUMBERS] = attempt(WAVENUMBERS, lambda: molecular.harmonic_wavenumbers(minimum, calculator).tolist())
    return found | {TORSIONS: attempt(TORSIONS, lambda: _profiles(atoms, element, calculator))}


def _profiles(atoms: Atoms, element: str, calculator: Calculator) -> list[float]:
    """Energies of all torsions, one after another."""
    return [
        float(energy)
        for dihedral in molecular.rotatable_bonds(atoms, element)
        for energy in molecular.torsion_profile(atoms, calculator, dihedral)
    ]
