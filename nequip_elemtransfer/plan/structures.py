"""The labelled structures a plan is made for."""

from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from nequip.data import AtomicDataDict
from nequip.data.ase import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper


def read_structures(path: str | Path) -> list[Atoms]:
    """All structures of a file that ASE reads.

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if ASE cannot read it, or finds no structure
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{str(path)!r} does not exist: give a file of labelled structures that ASE reads.")
    try:
        structures = ase.io.read(path, ":")
    except Exception as error:  # each of ASE's readers fails in its own way
        raise ValueError(f"{str(path)!r} cannot be read by ASE: {error}") from error
    if not structures:
        raise ValueError(f"{str(path)!r} holds no structures.")
    return structures


def elements_in(structures: Sequence[Atoms]) -> list[str]:
    """Chemical symbols found, in the order of atomic numbers."""
    numbers = {int(z) for atoms in structures for z in np.unique(atoms.numbers)}
    return Atoms(sorted(numbers)).get_chemical_symbols()


def to_frames(structures: Sequence[Atoms], types: Sequence[str], species: Sequence[str]) -> list[AtomicDataDict.Type]:
    """NequIP's form of structures, without neighbour lists.

    Args:
        types: of the model
        species: chemical symbol of each type

    Raises:
        ValueError: if a structure holds an element that is not among ``species``
    """
    unknown = [symbol for symbol in elements_in(structures) if symbol not in species]
    if unknown:
        raise ValueError(
            f"the structures hold {', '.join(unknown)}, which no type of the model covers ({', '.join(species)}): "
            "leave those structures out, or give other ones."
        )
    to_types = ChemicalSpeciesToAtomTypeMapper(list(types), dict(zip(species, types)))
    return [to_types(from_ase(atoms, exclude_keys=["energies"])) for atoms in structures]


def typical_volume(structures: Sequence[Atoms]) -> float | None:
    """Median volume per atom in Å³ of the structures that are periodic in all directions; None if there are none."""
    volumes = [atoms.get_volume() / len(atoms) for atoms in structures if atoms.pbc.all()]
    return float(np.median(volumes)) if volumes else None


def folds(groups: Sequence[int], n_folds: int, seed: int) -> list[np.ndarray]:
    """Disjoint parts of ``range(len(groups))``, of similar size; members of a group stay together.

    Args:
        groups: label of each structure; copies of one structure share one
        n_folds: at most; as many as there are groups if those are fewer

    Returns:
        sorted indices of each part; a single part if there is one group
    """
    labels = np.asarray(groups)
    order = np.random.default_rng(seed).permutation(np.unique(labels))
    parts = np.array_split(order, min(n_folds, len(order)))
    return [np.flatnonzero(np.isin(labels, part)) for part in parts]
