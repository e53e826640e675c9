"""Features of environments: invariance, additivity, and the same function whatever the form of the structure."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper

from nequip_elemtransfer.energies.contributions import predict
from nequip_elemtransfer.structures.environments import (
    descriptor_environments,
    descriptor_features,
    descriptor_names,
    model_environments,
    model_features,
    select_environments,
)
from nequip_elemtransfer.structures.frames import with_neighbors

R_MAX = 4.0


@pytest.fixture
def crystal():
    """Eight atoms of Si and Ge off their places."""
    atoms = bulk("Si", "diamond", 5.5, cubic=True)
    atoms.symbols[::3] = "Ge"
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.fixture
def models(nequip_architecture, allegro_architecture, build):
    """One of each kind and several depths."""
    types = ("Si", "Ge")
    return {
        "nequip 1": build(nequip_architecture(*types)),
        "nequip 3": build(nequip_architecture(*types, num_layers=3, l_max=2, parity=True)),
        "nequip mlp": build(
            nequip_architecture(*types, readout_mlp_hidden_layers_depth=1, readout_mlp_hidden_layers_width=5)
        ),
        "nequip zbl": build(
            nequip_architecture(
                *types,
                pair_potential={
                    "_target_": "nequip.nn.pair_potential.ZBL",
                    "units": "metal",
                    "chemical_species": list(types),
                },
            )
        ),
        "allegro 1": build(allegro_architecture(*types)),
        "allegro 2": build(allegro_architecture(*types, num_layers=2, embedding="spline")),
    }


def turned(atoms):
    """Rotated, shifted and in another order."""
    atoms = atoms[np.random.default_rng(0).permutation(len(atoms))]
    atoms.rotate(40, (1, 2, 3), rotate_cell=True)
    atoms.translate((0.3, 1.0, -2.0))
    atoms.wrap()
    return atoms


def rows_equal(a, b, tolerance):
    """The same rows in any order."""
    distances = np.abs(a[:, None] - b[None]).max(axis=2)
    return distances.min(axis=0).max() < tolerance and distances.min(axis=1).max() < tolerance


def frame(atoms, types=("Si", "Ge")):
    return with_neighbors(ChemicalSpeciesToAtomTypeMapper(list(types))(from_ase(atoms)), R_MAX)


class TestModelFeatures:
    def test_are_invariant_and_not_constant(self, models, crystal):
        for name, model in models.items():
            one, other = (model_features(model, [frame(a)]) for a in (crystal, turned(crystal)))
            assert one.shape[0] == 8 and one.dtype == np.float64
            assert rows_equal(one, other, 1e-10), name
            assert one.std(axis=0).max() > 1e-4, name

    def test_nequip_reads_its_energies_from_them(self, models, crystal):
        """A linear readout: the energies are a fixed combination of the features, for every atom."""
        model = models["nequip 3"]
        readout = dict(model.named_modules())["model.func.per_atom_energy_readout"]
        features = torch.tensor(model_features(model, [frame(crystal)]))
        energies = model(frame(crystal))[AtomicDataDict.PER_ATOM_ENERGY_KEY].detach()
        torch.testing.assert_close(1.3 * readout.mlp_module(features) - 4.0, energies)

    def test_of_allegro_vanish_at_the_cutoff(self, models):
        """A neighbour that comes in sight changes nothing at first, so a sum over edges is the right one."""
        near = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.4]])
        for name in ("allegro 1", "allegro 2"):
            alone, edge, inside = (
                model_features(models[name], [frame(near + Atoms("Si", positions=[[z, 0, 0]]))])[0]
                for z in (R_MAX + 1, R_MAX - 1e-3, R_MAX - 1)
            )
            np.testing.assert_allclose(edge, alone, atol=1e-6)
            assert np.abs(inside - alone).max() > 1e-4

    def test_leave_the_model_as_it_was(self, models, crystal):
        for model in models.values():
            before = predict(model, [frame(crystal)])
            model.train()
            model_features(model, [frame(crystal)])
            assert model.training
            after = predict(model, [frame(crystal)])
            np.testing.assert_array_equal(before.forces, after.forces)
            assert not any(module._forward_pre_hooks for module in model.modules())

    def test_none_where_there_is_no_readout(self, build, nequip_architecture, crystal):
        model = build(nequip_architecture("Si", "Ge"))
        dict(model.named_modules())["model.func.per_atom_energy_readout"].out_field = "something_else"
        assert model_features(model, [frame(crystal)]) is None
        assert model_environments(model, [frame(crystal)]) is None

    def test_environments_are_rows_of_the_features(self, models, crystal):
        frames = [frame(crystal), frame(crystal * (1, 1, 2)), frame(turned(crystal))]
        found = model_environments(models["nequip 1"], frames, limit=9)
        whole = [model_features(models["nequip 1"], [f]) for f in frames]
        assert len(found) == 9 and found.n_structures == 3 and len(found.names) == found.features.shape[1]
        for row, i, j in zip(found.features, found.structure, found.atom):
            np.testing.assert_array_equal(row, whole[i][j])


class TestDescriptor:
    def test_does_not_depend_on_how_a_structure_is_written_down(self, crystal):
        features = descriptor_features([crystal], 5.0)
        assert rows_equal(features, descriptor_features([turned(crystal)], 5.0), 1e-10)
        repeated = descriptor_features([crystal * (2, 1, 3)], 5.0)
        np.testing.assert_allclose(repeated, np.tile(features, (6, 1)), atol=1e-10)

    def test_cells_smaller_than_the_cutoff(self):
        one, two = (descriptor_features([atoms], 5.0)[0] for atoms in (bulk("Cu"), bulk("Cu", cubic=True)))
        np.testing.assert_allclose(one, two, atol=1e-12)

    def test_counts_neighbours_by_hand(self):
        """The first column is Σ f_c with the cosine cutoff, the second shell a Gaussian of it."""
        dimer = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.0]])
        cutoff = 0.5 * (np.cos(np.pi * 2.0 / 5.0) + 1)
        features = descriptor_features([dimer], 5.0)
        spacing = 5.0 / 13
        np.testing.assert_allclose(features[:, 0], cutoff)
        np.testing.assert_allclose(features[:, 2], cutoff * np.exp(-((2.0 - 2 * spacing) ** 2) / (2 * spacing**2)))
        np.testing.assert_allclose(features[:, 13:], 0.0)  # no angles
        assert descriptor_names(5.0)[2] == "neighbours near 0.8 Å"

    def test_sees_angles(self):
        """A bent and a straight trimer with equal bonds differ where the names say."""
        bent = Atoms("Si3", positions=[[0, 0, 0], [0, 0, 1.5], [0, 1.5, 0]])
        straight = Atoms("Si3", positions=[[0, 0, 0], [0, 0, 1.5], [0, 0, -1.5]])
        a, b = (descriptor_features([atoms], 5.0)[0] for atoms in (bent, straight))
        np.testing.assert_allclose(a[:13], b[:13])
        places = [i for i, name in enumerate(descriptor_names(5.0)) if name == "angles near 180° (ζ = 16, all)"]
        assert len(places) == 1 and b[places[0]] > 10 * a[places[0]]

    def test_is_blind_to_elements_and_scales_lengths(self, crystal):
        larger = crystal.copy()
        larger.symbols[:] = "Pb"
        larger.set_cell(1.2 * crystal.cell, scale_atoms=True)
        features = descriptor_features([crystal], 5.0)
        np.testing.assert_allclose(descriptor_features([larger], 5.0, length_scale=1.2), features, atol=1e-10)
        assert np.abs(descriptor_features([larger], 5.0) - features).max() > 0.1

    def test_molecules_slabs_and_atoms(self):
        water = molecule("CH3OH")
        features = descriptor_features([water], 5.0)
        boxed = water.copy()
        boxed.set_cell([30, 30, 30])
        boxed.pbc = True
        sheet = water.copy()
        sheet.set_cell([30, 30, 0])
        sheet.pbc = (True, True, False)
        for same in (boxed, sheet):
            np.testing.assert_allclose(descriptor_features([same], 5.0), features, atol=1e-12)
        assert not descriptor_features([Atoms("Si")], 5.0).any()

    def test_environments_are_rows_of_the_features(self, crystal):
        structures = [crystal, molecule("H2O"), turned(crystal)]
        found = descriptor_environments(structures, 5.0, limit=10)
        whole = [descriptor_features([s], 5.0) for s in structures]
        assert len(found) == 10 and found.kind == "ACSF" and found.names == descriptor_names(5.0)
        for row, i, j in zip(found.features, found.structure, found.atom):
            np.testing.assert_array_equal(row, whole[i][j])


class TestSelection:
    def test_all_if_they_fit(self):
        chosen = select_environments([3, 1, 5], limit=9)
        assert [c.tolist() for c in chosen] == [[0, 1, 2], [0], [0, 1, 2, 3, 4]]

    def test_small_structures_leave_their_share_to_large_ones(self):
        chosen = select_environments([100, 2, 100, 50], limit=92)
        assert [len(c) for c in chosen] == [30, 2, 30, 30]
        assert len(np.unique(chosen[0])) == 30 and np.ptp(np.diff(chosen[0])) <= 1  # evenly spaced

    def test_many_structures(self):
        chosen = select_environments([8] * 3000, limit=2000)
        assert sum(len(c) > 0 for c in chosen) == 500 and sum(map(len, chosen)) == 2000

    def test_nothing(self):
        assert select_environments([]) == []
        assert len(descriptor_environments([], 5.0)) == 0
