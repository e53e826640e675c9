"""A small structure on which two models that should be the same function are compared."""

from itertools import combinations, combinations_with_replacement

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.builders import Architecture, pair_cutoffs

# corners of an irregular tetrahedron, pair distances 0.36 to 0.62: all inside a cutoff of one
_TETRAHEDRON = np.array([[0.0, 0.0, 0.0], [0.38, 0.05, 0.0], [0.1, 0.36, 0.08], [0.12, 0.17, 0.55]])
# 89 types have 4005 pairs, which a model of that size would take minutes and gigabytes for
_MAX_TYPES_FOR_ALL_PAIRS = 12
_DIMER = np.array([[0.0, 0.0, 0.0], [0.27, 0.2, 0.31]])
# from the middle atom of a chain to its two neighbours
_ARMS = np.array([[0.27, 0.2, 0.31], [-0.11, 0.37, 0.24]])


def probe_cluster(architecture: Architecture) -> AtomicDataDict.Type:
    """Separate clusters in one graph: dimers, a tetrahedron of each type, and chains with two types of ends.

    Each distance is in units of its pair's cutoff, so for two architectures whose cutoffs differ the clusters are
    similar, pair by pair. Edges are given, so no cluster sees another, and neither do the ends of a chain: the angles
    of a triangle would change with the ratio of its sides, and its energy with them.

    Returns:
        positions in Å, edges, types, and whatever graph fields the model embeds; no cell
    """
    n_types, cutoffs = len(architecture["type_names"]), pair_cutoffs(architecture)
    clusters: list[tuple[np.ndarray, tuple[int, ...]]] = [(_DIMER, pair) for pair in _pairs(n_types)]
    clusters += [(_TETRAHEDRON, (t,) * 4) for t in range(n_types)]
    positions, edges, n_atoms = [], [], 0
    types: list[int] = []
    for shape, members in clusters:
        positions.append(shape * cutoffs[members[0], members[1]])
        edges += [(n_atoms + i, n_atoms + j) for i in range(len(shape)) for j in range(len(shape)) if i != j]
        types += members
        n_atoms += len(shape)
    for middle, *ends in _triples(n_types):
        positions.append(np.vstack([np.zeros(3), _ARMS * cutoffs[middle, ends][:, None]]))
        edges += [(n_atoms, n_atoms + 1), (n_atoms + 1, n_atoms), (n_atoms, n_atoms + 2), (n_atoms + 2, n_atoms)]
        types += [middle, *ends]
        n_atoms += 3
    data = {
        AtomicDataDict.POSITIONS_KEY: torch.tensor(np.concatenate(positions), dtype=torch.float64),
        AtomicDataDict.EDGE_INDEX_KEY: torch.tensor(edges).T.contiguous(),  # (2, n_edges)
        AtomicDataDict.ATOM_TYPE_KEY: torch.tensor(types),
        AtomicDataDict.NUM_NODES_KEY: torch.tensor([n_atoms]),
    }
    for embedded in architecture.get("categorical_graph_field_embed") or []:
        data[embedded["field"]] = torch.tensor([[int(embedded["min"])]])
    return data


def _pairs(n_types: int) -> list[tuple[int, int]]:
    """All pairs of types, or where those are many, each type with itself and two others."""
    if n_types <= _MAX_TYPES_FOR_ALL_PAIRS:
        return list(combinations_with_replacement(range(n_types), 2))
    return [(t, (t + step) % n_types) for t in range(n_types) for step in (0, 1, n_types // 3)]


def _triples(n_types: int) -> list[tuple[int, int, int]]:
    """Each type between each two different ones, or where types are many, between two others; the middle first."""
    if n_types <= _MAX_TYPES_FOR_ALL_PAIRS:
        return [(t, *ends) for t in range(n_types) for ends in combinations(range(n_types), 2)]
    return [(t, (t + 1) % n_types, (t + n_types // 3) % n_types) for t in range(n_types)]


def largest_difference(
    a: GraphModel, b: GraphModel, data_a: AtomicDataDict.Type, data_b: AtomicDataDict.Type | None = None
) -> float:
    """The largest ``|x_a − x_b| / (1 + |x_b|)`` over atomic energies (eV) and forces times atom positions' scale (eV).

    Args:
        a, b: models in evaluation mode
        data_a: structure for ``a``, from :func:`probe_cluster`
        data_b: structure for ``b`` if it is another size of the same shape
    """
    data_b = data_a if data_b is None else data_b
    a_values, b_values = _scale_free(a, data_a), _scale_free(b, data_b)
    # unlike Python's, NumPy's maximum of anything and NaN is NaN
    return float(np.max([((x - y).abs() / (1 + y.abs())).max() for x, y in zip(a_values, b_values)]))


def _scale_free(model: GraphModel, data: AtomicDataDict.Type) -> list[torch.Tensor]:
    out = model(data.copy())
    values = [out[AtomicDataDict.PER_ATOM_ENERGY_KEY].detach().double().reshape(-1)]
    if AtomicDataDict.FORCE_KEY in out:
        # forces times the length of an atom's edges do not change with the scale
        lengths = _cluster_lengths(data)
        values.append((out[AtomicDataDict.FORCE_KEY].detach().double() * lengths).reshape(-1))
    return values


def _cluster_lengths(data: AtomicDataDict.Type) -> torch.Tensor:
    """The longest edge of each atom in Å, shape (n_atoms, 1); zero for an atom with neighbours of several types.

    The force on that is minus the sum of those on its neighbours, each of which has the unit of another pair.
    """
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
    positions = data[AtomicDataDict.POSITIONS_KEY]
    lengths = (positions[neighbor] - positions[center]).norm(dim=1)  # (n_edges,)
    longest = torch.zeros(len(positions), dtype=lengths.dtype).scatter_reduce(0, center, lengths, "amax")
    types = data[AtomicDataDict.ATOM_TYPE_KEY].reshape(-1)[neighbor]  # (n_edges,)
    least, most = (
        types.new_zeros(len(positions)).scatter_reduce(0, center, types, r, include_self=False)
        for r in ("amin", "amax")
    )
    return torch.where(least == most, longest, 0.0).unsqueeze(1)
