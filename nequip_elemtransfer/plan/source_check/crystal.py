"""Properties of a crystal that a source predicts, beside reference values and what its own data's stresses ask for."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from matscipy.neighbours import neighbour_list
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.materials import properties as materials
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.plan.source_check.group_errors import Evaluated
from nequip_elemtransfer.source import SourceModel

LATTICE_CONSTANT, VACANCY_ENERGY = "lattice_constant", "vacancy_formation_energy"
HIGHEST_PHONON, LOWEST_PHONON = "highest_phonon", "lowest_phonon"
ELASTIC, BULK_MODULUS = ("C11", "C12", "C44"), "bulk_modulus"

PROPERTY_UNITS = {
    LATTICE_CONSTANT: "Å",
    BULK_MODULUS: "GPa",
    **dict.fromkeys(ELASTIC, "GPa"),
    VACANCY_ENERGY: "eV",
    HIGHEST_PHONON: "THz",
    LOWEST_PHONON: "THz",
}

# Structures of the data that tell of the crystal: volumes per atom within this part of it, and this part of the atoms
# with the crystal's number of neighbours within so many nearest-neighbour distances.
_VOLUME_WINDOW, _CRYSTALLINE, _SHELL = 0.1, 0.9, 1.25

T = TypeVar("T")


@dataclass(frozen=True)
class Property:
    """One property of the crystal.

    Args:
        name: a key of ``PROPERTY_UNITS``, which gives its unit
        value: of the source
        reference: given; None if not
        data: what the stresses of the source's own structures ask for; None if they do not tell
    """

    name: str
    value: float
    reference: float | None = None
    data: float | None = None


@dataclass(frozen=True)
class CrystalCheck:
    """A crystal as the source has it.

    Args:
        structure, formula: of the crystal
        properties: that could be computed
        failed: name -> why one could not
    """

    structure: str
    formula: str
    properties: list[Property]
    failed: dict[str, str]


def check_references(references: Mapping[str, float], crystal: Crystal | None) -> None:
    """Refuse reference values of what is not computed, or that are no numbers, or without a crystal.

    Raises:
        ValueError: naming one
    """
    if references and crystal is None:
        raise ValueError("--reference needs --crystal, the crystal that its values are of, such as diamond:Si:5.43.")
    for name, value in references.items():
        if name not in PROPERTY_UNITS:
            raise ValueError(f"no property is called {name!r}{suggest(name, PROPERTY_UNITS)}.")
        if not math.isfinite(value):
            raise ValueError(f"the reference value of {name} must be a finite number, found {value}.")


def source_calculator(model: SourceModel, species: list[str]) -> Calculator:
    """The source as an ASE calculator.

    Args:
        species: chemical symbol of each type of the source
    """
    types = dict(zip(species, model.type_names))
    transforms = [ChemicalSpeciesToAtomTypeMapper(model.type_names, types), NeighborListTransform(model.r_max)]
    return NequIPCalculator(model.build().eval(), "cpu", transforms=transforms)


def check_crystal(
    model: SourceModel,
    species: list[str],
    crystal: Crystal,
    references: Mapping[str, float],
    evaluated: Evaluated | None,
) -> CrystalCheck:
    """Compute what the source says of a crystal of its own elements.

    Args:
        species: chemical symbol of each type of the source
        crystal: at the lattice constant of the reference, within 8 % of which the source's is searched
        references: name -> value of other properties
        evaluated: the source's own structures, if they are at hand

    Raises:
        ValueError: if the source lacks an element of the crystal, or cannot be asked for one
    """
    _require(model, species, crystal)
    check_references(references, crystal)
    given = {LATTICE_CONSTANT: crystal.a, **references}
    calculator, failed = source_calculator(model, species), dict[str, str]()
    relaxed = _attempt(failed, LATTICE_CONSTANT, lambda: materials.equilibrium(crystal, calculator))
    if relaxed is None:
        return CrystalCheck(crystal.structure, crystal.formula, [], failed)
    values = {LATTICE_CONSTANT: relaxed.a}
    modulus = _attempt(failed, BULK_MODULUS, lambda: materials.bulk_modulus(relaxed, calculator))
    values |= {} if modulus is None else {BULK_MODULUS: modulus}
    values |= _attempt(failed, "elastic constants", lambda: materials.elastic_constants(relaxed, calculator)) or {}
    if crystal.is_elemental:
        energy = _attempt(failed, VACANCY_ENERGY, lambda: materials.vacancy_formation_energy(relaxed, calculator))
        values |= {} if energy is None else {VACANCY_ENERGY: energy}
    bands = _attempt(failed, "phonons", lambda: materials.phonon_bands(relaxed, calculator))
    if bands is not None:
        values |= {HIGHEST_PHONON: float(bands.frequencies.max()), LOWEST_PHONON: float(bands.frequencies.min())}
    data = None
    if evaluated is not None and "C11" in values:
        bulk_modulus = (values["C11"] + 2 * values["C12"]) / 3 * units.GPa
        data = lattice_constant_of_data(relaxed, bulk_modulus, evaluated)
    found = [
        Property(name, value, given.get(name), data if name == LATTICE_CONSTANT else None)
        for name, value in values.items()
    ]
    return CrystalCheck(crystal.structure, crystal.formula, found, failed)


def lattice_constant_of_data(relaxed: Crystal, bulk_modulus: float, found: Evaluated) -> float | None:
    r"""Lattice constant in Å at which the stresses of the data vanish, from the source's error in the pressure.

    Near equilibrium the mean stress is :math:`3 B \ln(a / a_0)`, so for the same structure

    .. math::

        \ln \frac{a_\mathrm{data}}{a_\mathrm{source}}
        = \frac{\operatorname{tr}(\sigma_\mathrm{source} - \sigma_\mathrm{data})}{9 B} .

    The median over structures that are nearly the crystal is taken: strained, thermal, or with a few defects.

    Args:
        relaxed: at the source's lattice constant
        bulk_modulus: of the source, eV/Å³

    Returns:
        None if no structure of the data is such
    """
    difference = np.trace(found.predicted.stresses - found.labels.stresses, axis1=1, axis2=2)
    used = [
        difference[i]
        for i, atoms in enumerate(found.structures)
        if np.isfinite(difference[i]) and _is_crystalline(atoms, relaxed)
    ]
    return float(relaxed.a * np.exp(np.median(used) / (9 * bulk_modulus))) if used and bulk_modulus > 0 else None


def _is_crystalline(atoms: Atoms, crystal: Crystal) -> bool:
    perfect = crystal.primitive_cell()
    if not atoms.pbc.all() or set(atoms.symbols) != set(perfect.symbols):
        return False
    volume = atoms.get_volume() / len(atoms) * len(perfect) / perfect.get_volume()
    if abs(volume - 1) > _VOLUME_WINDOW:
        return False
    cutoff = _SHELL * crystal.nearest_neighbor
    return float(np.mean(_neighbours(atoms, cutoff) == _neighbours(perfect, cutoff)[0])) >= _CRYSTALLINE


def _neighbours(atoms: Atoms, cutoff: float) -> np.ndarray:
    return np.bincount(neighbour_list("i", atoms, cutoff), minlength=len(atoms))


def _attempt(failed: dict[str, str], name: str, calculate: Callable[[], T]) -> T | None:
    """What a calculation gives, or None and the reason kept."""
    try:
        return calculate()
    except (materials.NoMinimum, materials.Unconverged, ModuleNotFoundError) as error:
        failed[name] = " ".join(str(error).split())
        return None


def _require(model: SourceModel, species: list[str], crystal: Crystal) -> None:
    missing = sorted(set(crystal.primitive_cell().symbols) - set(species))
    if missing:
        raise ValueError(
            f"the crystal {crystal.formula} holds {', '.join(missing)}, which the source does not know "
            f"({', '.join(species)}): give a crystal of the source's own elements."
        )
    if not model.predicts_forces:
        raise ValueError("the source predicts energies alone, and the properties of a crystal need its forces.")
    if model.embedded_fields:
        names = ", ".join(field["field"] for field in model.embedded_fields)
        raise ValueError(f"the source reads {names} of each structure, which a crystal made here does not have.")
