"""Structures for LAMMPS: diamond of a model's elements, or any that ASE reads."""

from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states

from nequip_elemtransfer.output.refusal import first_line


def structure(spec: str, type_names: Sequence[str], r_max: float) -> Atoms:
    """``diamond``, or the last structure of a file, in a box LAMMPS can make periodic.

    Args:
        spec: ``diamond``, or path of a file in any format ASE reads
        type_names: of the model
        r_max: cutoff in Å; non-periodic directions, still marked so, get this much vacuum on either side

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it cannot be read or holds an element the model lacks, or if the model's types are no elements
    """
    _require_elements(type_names)
    atoms = diamond(type_names) if spec == "diamond" else read_structure(spec)
    _require_types(atoms, type_names, spec)
    for axis in range(3):
        if not atoms.pbc[axis]:
            atoms.center(vacuum=r_max, axis=axis)
    return atoms


def diamond(type_names: Sequence[str]) -> Atoms:
    """64 atoms of all elements in turn on the diamond lattice, at the mean of their bond lengths."""
    atoms = bulk(type_names[0], "diamond", a=np.mean([_lattice_constant(t) for t in type_names]), cubic=True).repeat(2)
    atoms.symbols = [type_names[i % len(type_names)] for i in range(len(atoms))]
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
        ValueError: if it cannot be read, or holds no atoms
    """
    file = Path(spec)
    if not file.is_file():
        raise FileNotFoundError(f"structure {spec!r} does not exist: give `diamond` or a file that ASE reads.")
    try:
        atoms = ase.io.read(file, index=-1)
    except Exception as error:  # every format has its own
        raise ValueError(f"structure {spec!r} cannot be read by ASE: {first_line(error)}") from error
    if not len(atoms):
        raise ValueError(f"structure {spec!r} holds no atoms.")
    return atoms


def _require_elements(type_names: Sequence[str]) -> None:
    other = [t for t in type_names if t not in chemical_symbols]
    if other:
        raise ValueError(
            f"the model's types {', '.join(other)} are not named by elements, so that a structure's atoms cannot be "
            "told apart: write the LAMMPS input by hand, with the lines of `nequip-deploy info`."
        )


def _require_types(atoms: Atoms, type_names: Sequence[str], spec: str) -> None:
    missing = sorted(set(atoms.symbols) - set(type_names))
    if missing:
        raise ValueError(
            f"structure {spec!r} holds {', '.join(missing)}, which the model lacks; it knows {', '.join(type_names)}."
        )
