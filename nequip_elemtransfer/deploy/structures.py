"""Structures for LAMMPS: diamond of a model's elements, or any that ASE reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states

from nequip_elemtransfer.output.paths import require_structure
from nequip_elemtransfer.structures.reading import read_structures
from nequip_elemtransfer.structures.specs import split_spec


def element_of(type_name: str, info: Mapping[str, Any]) -> str | None:
    """Chemical symbol of a model's type, by its name or by the key of its transfer; None if neither says.

    Args:
        info: metadata of the deployed file
    """
    species = (info["element_transfer"] or {}).get("chemical_species", {})
    symbol = species.get(type_name, type_name)
    return symbol if symbol in chemical_symbols[1:] else None  # the first is ASE's X


def elements_of(type_names: Sequence[str], info: Mapping[str, Any]) -> list[str]:
    """Chemical symbol of each type, by which a structure's atoms are told apart.

    Args:
        info: metadata of the deployed file

    Raises:
        ValueError: if a type is no element, or two types are the same one
    """
    advice = "write the LAMMPS input by hand, with the lines of `nequip-deploy info`"
    found = {name: element_of(name, info) for name in type_names}
    if unknown := [name for name, symbol in found.items() if symbol is None]:
        raise ValueError(
            f"the model's types {', '.join(unknown)} are not named by elements, so that a structure's atoms cannot be "
            f"told apart: {advice}."
        )
    for symbol in found.values():
        if len(same := [name for name in found if found[name] == symbol]) > 1:
            raise ValueError(
                f"the model's types {', '.join(same)} are all {symbol}, so that a structure's atoms cannot be told "
                f"apart: {advice}."
            )
    return [str(found[name]) for name in type_names]


def structure(spec: str, elements: Sequence[str], r_max: float) -> Atoms:
    """``diamond``, or the last structure of a file, in a box LAMMPS can make periodic.

    Args:
        spec: ``diamond``, or path of a file in any format ASE reads
        elements: those of the model
        r_max: cutoff in Å; non-periodic directions, still marked so, get this much vacuum on either side

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it cannot be read or holds an element the model lacks
    """
    atoms = diamond(list(dict.fromkeys(elements))) if spec == "diamond" else read_structure(spec)
    _require_known(atoms, elements, spec)
    for axis in range(3):
        if not atoms.pbc[axis]:
            atoms.center(vacuum=r_max, axis=axis)
    return atoms


def diamond(elements: Sequence[str]) -> Atoms:
    """64 atoms of all elements in turn on the diamond lattice, at the mean of their bond lengths."""
    atoms = bulk(elements[0], "diamond", a=np.mean([_lattice_constant(e) for e in elements]), cubic=True).repeat(2)
    atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
    return atoms


def _lattice_constant(element: str) -> float:
    """Of diamond in Å: known, or from the covalent radius."""
    number = atomic_numbers[element]
    known = reference_states[number] or {}
    if known.get("symmetry") == "diamond":
        return known["a"]
    return 2 * covalent_radii[number] * 4 / np.sqrt(3)


def read_structure(spec: str) -> Atoms:
    """The last structure of a file.

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it cannot be read, or is damaged
    """
    path, selection = split_spec(spec)
    if not path.exists():
        require_structure(spec)
    return read_structures(spec if selection else f"{spec}@-1", labels=False).structures[-1]


def _require_known(atoms: Atoms, elements: Sequence[str], spec: str) -> None:
    missing = sorted(set(atoms.symbols) - set(elements))
    if missing:
        raise ValueError(
            f"structure {spec!r} holds {', '.join(missing)}, which the model lacks; it knows "
            f"{', '.join(dict.fromkeys(elements))}."
        )
