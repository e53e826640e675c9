"""Labels that structures have, and what their compositions say about the energy shifts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.linalg import null_space

from nequip_elemtransfer.energies.fit import fit_energy_shifts
from nequip_elemtransfer.structures.labels import energy_of


@dataclass(frozen=True)
class Composition:
    """What the energies say about the energy shifts.

    Args:
        counts: atoms of each species in all structures
        rank: of the composition matrix of structures with energies
        undetermined: species whose shift some direction touches that no energy depends on
        directions: these directions, as changes of shifts by species, the largest one
    """

    counts: dict[str, int]
    rank: int
    undetermined: tuple[str, ...]
    directions: tuple[dict[str, float], ...]


def composition(structures: Sequence[Atoms], species: Sequence[str] | None = None) -> Composition:
    """What the structures' energies say about the energy shifts of species, None for those found.

    Raises:
        ValueError: if a structure holds another species
    """
    found = sorted({symbol for atoms in structures for symbol in atoms.symbols})
    species = found if species is None else list(dict.fromkeys(species))
    if missing := [symbol for symbol in found if symbol not in species]:
        raise ValueError(
            f"the structures hold {', '.join(missing)}, which is not among the target's {', '.join(species)}: "
            "add it to `elements` or leave those structures out."
        )
    counts = np.array([[np.sum(atoms.symbols == symbol) for symbol in species] for atoms in structures])
    labelled = counts[[energy_of(atoms) is not None for atoms in structures]]
    directions = _undetermined_directions(labelled, species)
    zero = np.zeros(len(species))
    if len(labelled) == 0:
        rank, undetermined = 0, tuple(range(len(species)))
    else:
        shifts = fit_energy_shifts(np.zeros(len(labelled)), labelled, zero, zero > 0)
        rank, undetermined = shifts.rank, shifts.undetermined
    return Composition(
        dict(zip(species, counts.sum(axis=0).tolist())), rank, tuple(species[i] for i in undetermined), directions
    )


def _undetermined_directions(counts: np.ndarray, species: Sequence[str]) -> tuple[dict[str, float], ...]:
    """Basis of the changes of shifts that change no energy: absent species by themselves, then the rest."""
    absent = [i for i in range(len(species)) if not counts[:, i].any()]
    present = [i for i in range(len(species)) if i not in absent]
    directions = [{species[i]: 1.0} for i in absent]
    if present:
        fractions = counts[:, present] / counts.sum(axis=1, keepdims=True)
        for vector in null_space(fractions, rcond=1e-8).T:
            vector = vector / vector[np.argmax(np.abs(vector))]
            directions.append({species[i]: float(v) for i, v in zip(present, vector) if abs(v) > 1e-8})
    return tuple(directions)
