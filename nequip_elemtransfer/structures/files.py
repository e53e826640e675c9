"""Structures of a file as a whole: their elements, parts to hold out, and NequIP's form of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from nequip.data import AtomicDataDict
from nequip.data.ase import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper

from nequip_elemtransfer.structures.checks import check_fields

# NequIP reads all that ASE may store; nothing else is used here.
UNUSED = sorted({*all_properties} - {"energy", "forces", "stress"})


def elements_in(structures: Sequence[Atoms]) -> list[str]:
    """Chemical symbols found, in the order of atomic numbers."""
    numbers = {int(z) for atoms in structures for z in np.unique(atoms.numbers)}
    return Atoms(sorted(numbers)).get_chemical_symbols()


def to_frames(
    structures: Sequence[Atoms],
    types: Sequence[str],
    species: Sequence[str],
    embedded: Sequence[Mapping[str, Any]] = (),
    places: Sequence[int] | None = None,
) -> list[AtomicDataDict.Type]:
    """NequIP's form of structures, without neighbour lists.

    Args:
        types: of the model
        species: chemical symbol of each type
        embedded: NequIP's ``categorical_graph_field_embed`` of the model, whose fields are read too
        places: of the structures in their file, for messages; as they come by default

    Raises:
        ValueError: if a structure holds an element that is not among ``species``
        UnusableStructure: if one lacks a field that the model reads
    """
    unknown = [symbol for symbol in elements_in(structures) if symbol not in species]
    if unknown:
        raise ValueError(
            f"the structures hold {', '.join(unknown)}, which no type of the model covers ({', '.join(species)}): "
            "leave those structures out, or give other ones."
        )
    shared = [symbol for symbol, count in Counter(species).items() if count > 1]
    if shared:
        both = ", ".join(name for name, symbol in zip(types, species) if symbol == shared[0])
        raise ValueError(f"the types {both} are all {shared[0]}, and atoms in a file have no other mark: plan for one.")
    to_types = ChemicalSpeciesToAtomTypeMapper(list(types), dict(zip(species, types)))
    fields = [AtomicDataDict.VIRIAL_KEY, *(field["field"] for field in embedded)]
    frames = [to_types(from_ase(atoms, include_keys=fields, exclude_keys=UNUSED)) for atoms in structures]
    for place, frame in zip(range(len(frames)) if places is None else places, frames):
        check_fields(frame, embedded, f"structure {place}")
    return frames


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
