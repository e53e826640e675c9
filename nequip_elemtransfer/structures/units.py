"""Units of labels that a file or an option names, and sizes that no label in NequIP's units has.

NequIP takes eV, eV/Å and eV/Å³, stresses positive under tension, and converts nothing. What is in another unit is
converted here if that is said, by ``--energy-unit`` and its like or by an entry such as ``energy-unit`` of a structure.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.config import KIND_NAMES, LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.names import entries, without
from nequip_elemtransfer.structures.options import DataOptions
from nequip_elemtransfer.structures.unit_names import ALIASES, Unit, parse_unit

# Entries of a structure that name the unit of a kind of label, such as `energy-unit` or `forces_units`
_ENTRY = re.compile(
    r"^(?:\w+[-_ .])?(energy|forces?|stress(?:es)?|virials?|positions?|lengths?|cell)[-_ .]?units?$", re.IGNORECASE
)
_KIND: dict[str, LabelKind] = {"e": "energy", "f": "forces", "s": "stress", "v": "stress"}

# 1000 GPa, the pressure within giant planets, is 6.2 eV/Å³; half of the structures of a file have no more than thrice.
_LARGEST_STRESS = 20.0

# Energies are per atom where structures of sizes that differ by this factor leave this part of the spread that energies
# of whole structures would leave.
_SIZES, _PER_ATOM, _LEAST_STRUCTURES = 1.5, 0.1, 4


class WrongUnit(ValueError):
    """Labels in another unit or of the other sign than NequIP's."""


def units_in(atoms: Atoms, name: str) -> dict[LabelKind, Unit]:
    """The units that the entries of a structure name, other than NequIP's.

    Args:
        name: what a message calls the structure

    Raises:
        ValueError: one is not known, or is a unit of length other than Å
    """
    found: dict[LabelKind, Unit] = {}
    for entry, text in atoms.info.items():
        match = _ENTRY.match(str(entry))
        if not match or not isinstance(text, str):
            continue
        what, where = match[1].lower(), f"`{entry}` of {name}"
        if what[0] in "plc":
            if ALIASES.get(text.lower()) != "Å":
                raise WrongUnit(f"{where} is {text!r}: positions and cells are taken in Å; convert them first.")
            continue
        unit = _virial_unit(text, where) if what.startswith("v") else parse_unit(text, _KIND[what[0]], where)
        found[_KIND[what[0]]] = unit
    return found


def _virial_unit(text: str, where: str) -> Unit:
    """Virials are energies, and stresses are made of them: σ = −W / V."""
    unit = parse_unit(text, "energy", where)
    return Unit(f"{unit.name}/Å³", unit.size)


def in_nequip_units(structures: Sequence[Atoms], options: DataOptions, spec: str) -> tuple[str, ...]:
    """Bring labels into NequIP's units where options or entries of the structures say that they are in others.

    Args:
        structures: changed in place
        spec: the file, for messages

    Returns:
        sentences on what was converted; none where nothing was

    Raises:
        ValueError: a unit is not known, or options and entries contradict each other
    """
    asked, done = options.units, dict[tuple[LabelKind, str], int]()
    for i, atoms in enumerate(structures):
        name = f"structure {i} of {spec!r}"
        named = units_in(atoms, name)
        for kind, unit in named.items():
            if kind in asked and not np.isclose(asked[kind].size, unit.size):
                raise WrongUnit(
                    f"{name} says that its {kind} {_is(kind)} in {unit.name}, and the options say {asked[kind].name}: "
                    "leave the option out, or mend the file."
                )
        for kind in _convert(atoms, {**asked, **named}):
            unit = {**asked, **named}[kind]
            done[kind, unit.name] = done.get((kind, unit.name), 0) + 1
    if not done:
        return ()
    parts = [f"{KIND_NAMES[kind]} from {unit} ({number})" for (kind, unit), number in done.items()]
    return (f"Converted labels of {spec!r} to eV and Å (number of structures): {', '.join(parts)}.",)


def _is(kind: str) -> str:
    return "are" if kind == "forces" else "is"


def _convert(atoms: Atoms, by_kind: dict[LabelKind, Unit]) -> list[LabelKind]:
    """Convert what a structure holds of some kinds; those that were in another unit."""
    held = entries(atoms)
    factors = {
        kind: unit.size * (len(atoms) if unit.per_atom else 1)
        for kind, unit in by_kind.items()
        if held.get(kind) is not None and unit.name not in ("eV", "eV/Å", "eV/Å³")
    }
    if not factors:
        return []
    labels = {kind: held[kind] for kind in LABEL_KINDS if held.get(kind) is not None}
    rest = {k: v for k, v in getattr(atoms.calc, "results", {}).items() if k not in LABEL_KINDS}
    without(atoms, LABEL_KINDS)
    atoms.calc = SinglePointCalculator(atoms)
    atoms.calc.results |= rest | {k: np.asarray(v) * factors.get(k, 1.0) for k, v in labels.items()}
    if "energy" in labels:
        atoms.calc.results["energy"] = float(np.ravel(atoms.calc.results["energy"])[0])
    return list(factors)


def check_sizes(structures: Sequence[Atoms], spec: str, entry: str = "stress") -> None:
    """Refuse stresses of a size that occurs in no matter.

    Args:
        entry: that holds them

    Raises:
        WrongUnit: with their size, and the unit that it is like
    """
    sizes = [
        float(np.max(np.abs(stress)))
        for atoms in structures
        if atoms.pbc.all() and (stress := entries(atoms).get(entry)) is not None and np.any(stress)
    ]
    sizes = [size for size in sizes if np.isfinite(size)]
    if not sizes or (size := float(np.median(sizes))) <= _LARGEST_STRESS:
        return
    unit = "kbar" if size < 1000 else "bar" if size < 1e7 else "Pa"
    raise WrongUnit(
        f"the stresses of {spec!r} have a median size of {size:.3g} where NequIP takes eV/Å³, and the 1000 GPa within "
        f"giant planets are 6.2 eV/Å³: they look like {unit}. Say so, as in `--stress-unit {unit}` (`=-{unit}` if they "
        "are positive under compression), or leave them out, as in `--key stress=`."
    )


def check_totals(structures: Sequence[Atoms], spec: str, entry: str = "energy") -> None:
    """Refuse energies that do not grow with the number of atoms: they are per atom.

    Args:
        entry: that holds them

    Raises:
        WrongUnit: with the way to read them
    """
    held = [
        (atoms, float(np.ravel(energy)[0])) for atoms in structures if (energy := entries(atoms).get(entry)) is not None
    ]
    known = [(atoms, energy) for atoms, energy in held if np.isfinite(energy) and energy != 0]
    n_atoms = np.array([len(atoms) for atoms, _ in known])
    if len(known) < _LEAST_STRUCTURES or n_atoms.max() < _SIZES * n_atoms.min():
        return
    energies = np.array([energy for _, energy in known])
    elements = np.unique(np.concatenate([atoms.numbers for atoms, _ in known]))
    fractions = np.array([[np.mean(atoms.numbers == z) for z in elements] for atoms, _ in known])
    if _left(energies, fractions) < _PER_ATOM * _left(energies / n_atoms, fractions):
        raise WrongUnit(
            f"the energies of {spec!r} do not grow with the number of atoms, {n_atoms.min()} to {n_atoms.max()}: they "
            f"look like energies per atom, where NequIP takes those of the whole structure: `--key "
            f"{entry}=energy_per_atom` reads them."
        )


def _left(values: np.ndarray, fractions: np.ndarray) -> float:
    """What composition does not explain, r.m.s."""
    rest = values - fractions @ np.linalg.lstsq(fractions, values, rcond=1e-8)[0]
    return float(np.sqrt(np.mean(rest**2)))


def require_nequip_units(structures: Sequence[Atoms], labels: Mapping[str, str], spec: str) -> None:
    """Refuse structures of which a label is said to be in another unit, or must be, for NequIP converts nothing.

    Args:
        labels: name of an entry -> what it is read as

    Raises:
        WrongUnit: with the structure, the unit and the command that converts
    """
    for i, atoms in enumerate(structures):
        held, units_named = entries(atoms), units_in(atoms, f"structure {i} of {spec!r}")
        for entry, kind in labels.items():
            unit = next((unit for named, unit in units_named.items() if named == kind), None)
            if unit is not None and held.get(entry) is not None and (unit.size != 1.0 or unit.per_atom):
                raise WrongUnit(
                    f"structure {i} of {spec!r} says that its {kind} {_is(kind)} in {unit.name}, and NequIP, which "
                    f"converts nothing, would take the number as it is: `nequip-elemtransfer plan SOURCE {spec} --out "
                    "DIR` writes copies in eV and Å, and a train.yaml that reads them."
                )
    for entry, kind in labels.items():
        if kind == "stress":
            check_sizes(structures, spec, entry)
        elif kind == "energy":
            check_totals(structures, spec, entry)
