"""Structures as NequIP gives them to a model: frames, their types and their neighbour lists."""

from collections.abc import Sequence

import numpy as np
import torch
from nequip.data import AtomicDataDict, compute_neighborlist_, get_field_type
from nequip.nn import with_edge_vectors_

# More frames than this say nothing new about one number per type, and would be paid for at every start.
MAX_FRAMES = 200


def evenly_spaced(n: int, limit: int) -> np.ndarray:
    """Indices of at most ``limit`` of n items, evenly spaced, the first and the last among them."""
    return np.linspace(0, n - 1, min(n, limit)).round().astype(int)


def compositions(frames: Sequence[AtomicDataDict.Type], n_types: int) -> np.ndarray:
    """Number of atoms of each type in each frame, shape (n_frames, n_types)."""
    return np.array([np.bincount(_types(f), minlength=n_types) for f in frames])


def atom_types(frames: Sequence[AtomicDataDict.Type]) -> np.ndarray:
    """Type index of each atom of all frames, shape (n_atoms,)."""
    return np.concatenate([_types(f) for f in frames])


def require_edges(frames: Sequence[AtomicDataDict.Type], cutoffs: np.ndarray) -> None:
    """Check that the neighbour lists in the data reach as far as the model.

    Args:
        frames: as the datamodule makes them
        cutoffs: of each pair of types in Å, shape (n_types, n_types)

    Raises:
        ValueError: with both radii
    """
    for frame in frames:
        needed = _edge_lengths_inside(with_neighbors(frame, cutoffs.max()), cutoffs)
        found = _edge_lengths_inside(frame, cutoffs)
        if len(found) < len(needed):
            reach = f"none beyond {found.max():.3f} Å" if len(found) else "none at all"
            if cutoffs.max() > (half := _smallest_height(frame) / 2):
                reach += f"; half the smallest cell height is {half:.3f} Å, so a neighbour counts in several images"
            raise ValueError(
                f"the data's neighbour lists lack {len(needed) - len(found)} edges that a model with "
                f"r_max = {cutoffs.max():.3f} Å needs ({reach}): "
                "set `r_max: ${element_transfer:r_max}` in the NeighborListTransform of `data`."
            )


def with_neighbors(frame: AtomicDataDict.Type, r_max: float) -> AtomicDataDict.Type:
    """The frame with a neighbour list of cutoff ``r_max`` in Å in place of its own."""
    return compute_neighborlist_(without_edges(frame), float(r_max))


def without_edges(frame: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The frame without its neighbour list, and all that is of its edges."""
    return {
        name: value
        for name, value in frame.items()
        if name not in (AtomicDataDict.EDGE_INDEX_KEY, AtomicDataDict.EDGE_TRANSPOSE_PERM_KEY)
        and get_field_type(name, error_on_unregistered=False) != "edge"
    }


def _types(frame: AtomicDataDict.Type) -> np.ndarray:
    return frame[AtomicDataDict.ATOM_TYPE_KEY].reshape(-1).numpy()


def _smallest_height(frame: AtomicDataDict.Type) -> float:
    """Smallest distance in Å between opposite faces of the cell along its periodic directions, infinite without any."""
    if AtomicDataDict.CELL_KEY not in frame or AtomicDataDict.PBC_KEY not in frame:
        return float("inf")
    cell, periodic = frame[AtomicDataDict.CELL_KEY].reshape(3, 3), frame[AtomicDataDict.PBC_KEY].reshape(3)
    if not periodic.any():
        return float("inf")
    # rows of the inverse's transpose are normal to the faces, of length one over the height
    heights = 1 / torch.linalg.norm(torch.linalg.inv(cell).T, dim=1)
    return float(heights[periodic].min())


def edge_lengths(frame: AtomicDataDict.Type) -> np.ndarray:
    """Lengths in Å of a frame's edges, shape (n_edges,); none without a neighbour list."""
    if AtomicDataDict.EDGE_INDEX_KEY not in frame:
        return np.array([])
    edges = with_edge_vectors_(frame.copy(), with_lengths=True)
    return edges[AtomicDataDict.EDGE_LENGTH_KEY].reshape(-1).numpy()


def isolated_atoms(frames: Sequence[AtomicDataDict.Type], r_max: float) -> list[int]:
    """Indices of the frames in which no atom has a neighbour within ``r_max`` in Å, periodic images included."""
    return [i for i, frame in enumerate(frames) if not is_bonded(with_neighbors(frame, r_max))]


def is_bonded(frame: AtomicDataDict.Type) -> bool:
    """Whether any atom of a frame with a neighbour list has a neighbour."""
    return frame[AtomicDataDict.EDGE_INDEX_KEY].shape[1] > 0


def _edge_lengths_inside(frame: AtomicDataDict.Type, cutoffs: np.ndarray) -> np.ndarray:
    """Lengths in Å of the edges inside their pair's cutoff."""
    lengths = edge_lengths(frame)
    if not len(lengths):
        return lengths
    center, neighbor = _types(frame)[frame[AtomicDataDict.EDGE_INDEX_KEY].numpy()]
    # an edge at the cutoff counts for nothing, so rounding there must not count either
    return lengths[lengths < cutoffs[center, neighbor] * (1 - 1e-6)]
