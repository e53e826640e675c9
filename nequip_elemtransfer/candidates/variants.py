"""Changed structures: strained, rattled, with vacancies, with surfaces; each says in ``info`` what was done."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from ase.stress import full_3x3_to_voigt_6_strain
from matscipy.neighbours import neighbour_list

# structures with fewer atoms keep no crystal about a vacancy
LEAST_FOR_VACANCY = 8
VACUUM = 10.0  # Å between a surface and the next image
_FIRST_REACH, _LONGEST_REACH = 3.0, 12.0  # Å, within which neighbours are looked for


def strained(atoms: Atoms, largest: float, rng: np.random.Generator) -> Atoms:
    """The structure under a random strain, symmetric, each component at most ``largest``; ``strain`` in ``info`` is in
    Voigt order, twice the shear components."""
    drawn = rng.uniform(-largest, largest, (3, 3))
    strain = (drawn + drawn.T) / 2
    found = atoms.copy()
    found.set_cell(np.asarray(atoms.cell) @ (np.eye(3) + strain), scale_atoms=True)
    found.info["strain"] = full_3x3_to_voigt_6_strain(np.eye(3) + strain).round(6).tolist()
    return found


def rattled(atoms: Atoms, deviation: float, rng: np.random.Generator) -> Atoms:
    """The structure with normally distributed displacements of each component, standard deviation in Å."""
    found = atoms.copy()
    found.positions += rng.normal(0.0, deviation, found.positions.shape)
    found.info["rattle"] = round(float(deviation), 6)
    return found


def with_vacancy(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The structure without one atom."""
    found = atoms.copy()
    place = int(rng.integers(len(atoms)))
    found.info["removed"] = place
    del found[place]
    return found


def with_surface(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """The structure cut along one face of its cell, with vacuum there; still periodic in three directions."""
    found, axis = atoms.copy(), int(rng.integers(3))
    found.wrap()
    found.center(vacuum=VACUUM / 2, axis=axis)
    found.info["face"] = axis
    return found


def nearest_neighbor(structures: Sequence[Atoms]) -> float:
    """Typical distance of nearest neighbours in Å: the median over all atoms that have one.

    Raises:
        ValueError: no atom has a neighbour
    """
    found = [distances for atoms in structures if len(distances := _nearest(atoms))]
    if not found:
        raise ValueError(f"no atom of the structures has another within {_LONGEST_REACH:g} Å: are the lengths in Å?")
    return float(np.median(np.concatenate(found)))


def shortest_distance(atoms: Atoms) -> float:
    """The smallest distance of two atoms in Å, periodic images among them; infinite beyond the range looked at."""
    return float(min(_nearest(atoms), default=np.inf))


def _nearest(atoms: Atoms) -> np.ndarray:
    """Distance in Å to the nearest neighbour of each atom that has one."""
    cell = complete_cell(atoms.cell)
    for reach in np.arange(_FIRST_REACH, _LONGEST_REACH + 1, _FIRST_REACH):
        i, d = neighbour_list("id", positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=float(reach))
        if len(d):
            nearest = np.full(len(atoms), np.inf)
            np.minimum.at(nearest, i, d)
            return nearest[np.isfinite(nearest)]
    return np.zeros(0)
