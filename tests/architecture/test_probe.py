import numpy as np
import pytest
import torch
from nequip.data import AtomicDataDict

from nequip_elemtransfer.architecture.probe import largest_difference, probe_cluster

ARCHITECTURE = {"type_names": ["Si", "Ge"], "r_max": 5.0, "per_edge_type_cutoff": {"Si": {"Ge": 4.0}, "Ge": 4.5}}


def edge_lengths(data):
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY]
    positions = data[AtomicDataDict.POSITIONS_KEY]
    return (positions[neighbor] - positions[center]).norm(dim=1).numpy()


def test_every_pair_of_types_and_more_than_two_neighbours_are_probed():
    data = probe_cluster(ARCHITECTURE)
    types = data[AtomicDataDict.ATOM_TYPE_KEY].numpy()
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY].numpy()
    assert {(types[i], types[j]) for i, j in zip(center, neighbor)} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    n_neighbors = np.bincount(center)
    assert {int(t) for t in types[n_neighbors == 3]} == {0, 1}
    assert middles(data) == {(0, 0, 1), (1, 0, 1)}
    assert sorted(set(zip(center, neighbor))) == sorted(zip(neighbor, center))
    assert data[AtomicDataDict.NUM_NODES_KEY].item() == len(types) == len(data[AtomicDataDict.POSITIONS_KEY])


def middles(data):
    """Types of the atoms with two neighbours, and of those."""
    types = data[AtomicDataDict.ATOM_TYPE_KEY].numpy()
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY].numpy()
    middle = np.flatnonzero(np.bincount(center) == 2)
    found = [(int(types[i]), *sorted(types[neighbor[center == i]].tolist())) for i in middle]
    assert len(found) == len(set(found))
    return set(found)


def test_each_type_is_probed_between_each_two():
    """Triples of three different types among them."""
    data = probe_cluster({"type_names": ["A", "B", "C"], "r_max": 5.0})
    assert middles(data) == {(t, *ends) for t in range(3) for ends in ((0, 1), (0, 2), (1, 2))}


def test_many_types_are_probed_without_all_of_their_pairs():
    """Each type in a tetrahedron, in a dimer of its own and with others; 4005 dimers of 89 types would be too many."""
    data = probe_cluster({"type_names": [f"T{i}" for i in range(89)], "r_max": 5.0})
    types = data[AtomicDataDict.ATOM_TYPE_KEY].numpy()
    center, neighbor = data[AtomicDataDict.EDGE_INDEX_KEY].numpy()
    pairs = {(types[i], types[j]) for i, j in zip(center, neighbor)}
    assert all((t, t) in pairs and len({u for s, u in pairs if s == t}) == 5 for t in range(89))
    assert set(types[np.bincount(center) == 3]) == set(range(89)) and len(center) < 2000
    assert middles(data) == {(t, *sorted({(t + 1) % 89, (t + 29) % 89})) for t in range(89)}


def test_clusters_are_similar_pair_by_pair():
    """Edge lengths over the cutoff of the cluster's pair do not depend on the cutoffs, and lie inside them."""
    unit = edge_lengths(probe_cluster({"type_names": ["Si", "Ge"], "r_max": 1.0}))
    assert unit.max() < 0.95
    # dimers Si-Si, Si-Ge, Ge-Ge, then a tetrahedron of each, then Si between Si and Ge, and Ge
    cutoffs = np.repeat([5.0, 4.0, 4.5, 5.0, 4.5, 5.0, 4.0, 4.5], [2, 2, 2, 12, 12, 2, 2, 4])
    np.testing.assert_allclose(edge_lengths(probe_cluster(ARCHITECTURE)), unit * cutoffs, rtol=1e-14)


def test_embedded_graph_fields_are_given(nequip_architecture, build):
    embedded = [{"field": "charge", "num_features": 2, "min": -1, "max": 1}]
    architecture = nequip_architecture("Si", categorical_graph_field_embed=embedded)
    data = probe_cluster(architecture)
    assert data["charge"].tolist() == [[-1]]
    assert torch.isfinite(build(architecture)(data)[AtomicDataDict.FORCE_KEY]).all()


def test_directions_and_lengths_of_a_chain():
    """Both arms keep their directions whatever the cutoffs, and are no mirror images of one another."""
    unit, scaled = (
        probe_cluster(a)[AtomicDataDict.POSITIONS_KEY].numpy()[14:]
        for a in (ARCHITECTURE | {"r_max": 1.0, "per_edge_type_cutoff": None}, ARCHITECTURE)
    )
    np.testing.assert_array_equal(unit[0], 0.0)
    np.testing.assert_allclose(
        scaled[[1, 2, 4, 5]], unit[[1, 2, 4, 5]] * np.array([[5.0], [4.0], [4.5], [4.5]]), rtol=1e-14
    )
    cosine = unit[1] @ unit[2] / np.linalg.norm(unit[1]) / np.linalg.norm(unit[2])
    assert 0.3 < cosine < 0.7


def test_forces_on_an_atom_with_neighbours_of_several_types_have_no_unit():
    """A chain of types 1-0-2: the ends' forces count times their distances, 2 and 3 Å, the middle's not at all."""
    chain = {
        AtomicDataDict.POSITIONS_KEY: torch.tensor(
            [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [3.0, 0.0, 0.0]], dtype=torch.float64
        ),
        AtomicDataDict.EDGE_INDEX_KEY: torch.tensor([[0, 1, 0, 2], [1, 0, 2, 0]]),
        AtomicDataDict.ATOM_TYPE_KEY: torch.tensor([0, 1, 2]),
    }
    energies, rest = [[0.0]] * 3, [[0.0] * 3] * 3
    for atom, expected in enumerate([0.0, 0.2, 0.3]):
        forces = [[0.0, 0.1 * (i == atom), 0.0] for i in range(3)]
        found = largest_difference(model_with(energies, forces), model_with(energies, rest), chain)
        assert found == pytest.approx(expected, rel=1e-6)


def model_with(energies, forces):
    def model(data):
        return data | {
            AtomicDataDict.PER_ATOM_ENERGY_KEY: torch.tensor(energies),
            AtomicDataDict.FORCE_KEY: torch.tensor(forces),
        }

    return model


DIMER = {
    AtomicDataDict.POSITIONS_KEY: torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64),
    AtomicDataDict.EDGE_INDEX_KEY: torch.tensor([[0, 1], [1, 0]]),
    AtomicDataDict.ATOM_TYPE_KEY: torch.tensor([0, 0]),
}
ZERO = [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("energies", "forces", "expected"),
    [
        ([[3.0], [-4.0]], ZERO, 0.0),
        ([[3.0], [-4.5]], ZERO, 0.5 / 5),
        # a force of 0.1 eV/Å at a distance of 2 Å
        ([[3.0], [-4.0]], [[0.0, 0.0, 0.0], [0.0, 0.1, 0.0]], 0.2),
        ([[3.0], [np.nan]], ZERO, np.nan),
        ([[3.0], [-4.0]], [[0.0, 0.0, 0.0], [0.0, np.nan, 0.0]], np.nan),
    ],
)
def test_largest_difference(energies, forces, expected):
    found = largest_difference(model_with(energies, forces), model_with([[3.0], [-4.0]], ZERO), DIMER)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-15, nan_ok=True)
