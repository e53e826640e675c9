"""What the frames of a simulation say about structure and motion: RDF, ADF and mean-square displacement."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from matscipy.neighbours import first_neighbours, neighbour_list, triplet_list


def radial_distribution(frames: Sequence[Atoms], edges: np.ndarray) -> np.ndarray:
    """g(r), the density of atoms at a distance from an atom, over the mean density; averaged over frames.

    Args:
        frames: periodic in all directions
        edges: of the bins, (n_bins + 1,) in Å, increasing

    Returns:
        (n_bins,)
    """
    shells = 4 / 3 * np.pi * np.diff(edges**3)  # Å³
    found = []
    for atoms in frames:
        counts, _ = np.histogram(neighbour_list("d", atoms, edges[-1]), edges)
        found.append(counts / (len(atoms) * shells * len(atoms) / atoms.get_volume()))
    return np.mean(found, axis=0)


def angular_distribution(frames: Sequence[Atoms], cutoff: float, edges: np.ndarray) -> np.ndarray:
    """Density of angles between bonds of the same atom, per degree; its integral over all angles is 1.

    Args:
        frames: structures
        cutoff: length of the longest bond, Å
        edges: of the bins, (n_bins + 1,) in degrees

    Returns:
        (n_bins,); zero everywhere if no atom has two bonds
    """
    counts = np.zeros(len(edges) - 1)
    for atoms in frames:
        i_p, d_p, D_p = neighbour_list("idD", atoms, cutoff)
        ij_t, ik_t = triplet_list(first_neighbours(len(atoms), i_p), d_p, cutoff)
        cosines = np.einsum("tc,tc->t", D_p[ij_t], D_p[ik_t]) / (d_p[ij_t] * d_p[ik_t])
        counts += np.histogram(np.degrees(np.arccos(np.clip(cosines, -1, 1))), edges)[0]
    total = counts.sum()
    return counts / (total * np.diff(edges)) if total else counts


def mean_square_displacement(frames: Sequence[Atoms]) -> np.ndarray:
    """Mean over atoms of the squared displacement since the first frame, the common motion of all atoms taken out.

    Args:
        frames: of one run, positions not wrapped into the cell

    Returns:
        (n_frames,) in Å²
    """
    positions = np.array([atoms.positions for atoms in frames])  # (n_frames, n_atoms, 3)
    moved = positions - positions[0]
    moved -= moved.mean(axis=1, keepdims=True)
    return (moved**2).sum(axis=2).mean(axis=1)
