import numpy as np
import pytest
import torch
from ase.build import bulk
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer.energies.contributions import NetworkParts, network_parts, predict
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.structures.labels import Labels

TYPES = ["Si", "Ge"]
SIGMA = np.array([1.3, 0.8])
ALPHA = np.array([0.7, 1.9])
SHIFTS = np.array([-3.0, -5.5])
ZBL = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": TYPES}


@pytest.fixture(scope="module")
def frames(graph):
    """Pure Si, then an alloy; the numbers of atoms differ."""
    silicon = bulk("Si", "diamond", a=5.43)
    alloy = bulk("Si", "diamond", a=5.55, cubic=True)
    alloy.symbols[[0, 3, 5]] = "Ge"
    for seed, atoms in enumerate((silicon, alloy)):
        atoms.rattle(0.1, seed=seed)
    return [graph(atoms, TYPES, 4.0) for atoms in (silicon, alloy)]


@pytest.fixture(params=["network alone", "ZBL", "trainable"])
def options(request):
    return {
        "network alone": {},
        "ZBL": {"pair_potential": ZBL},
        "trainable": {"per_type_energy_scales_trainable": True, "per_type_energy_shifts_trainable": True},
    }[request.param]


def with_energies(architecture, scales, shifts):
    return architecture | {
        "per_type_energy_scales": dict(zip(TYPES, scales.tolist())),
        "per_type_energy_shifts": dict(zip(TYPES, shifts.tolist())),
    }


@pytest.mark.parametrize("family", ["nequip", "allegro"])
def test_parts_add_up_to_the_prediction_at_any_scales_and_shifts(request, build, frames, family, options):
    """Against a model built with α σ and μ."""
    architecture = request.getfixturevalue(f"{family}_architecture")(*TYPES, **options)
    model = build(with_energies(architecture, SIGMA, np.zeros(2)))
    expected = predict(build(with_energies(architecture, ALPHA * SIGMA, SHIFTS)), frames)
    parts = network_parts(model, frames, SIGMA)
    found = parts.predicted(ALPHA, SHIFTS)
    assert_allclose(found.energies, expected.energies, rtol=1e-13)
    assert_allclose(found.forces, expected.forces, atol=1e-12 * np.abs(expected.forces).max())
    assert_allclose(found.stresses, expected.stresses, atol=1e-12 * np.abs(expected.stresses).max())


def test_parts_by_type(nequip_architecture, build, frames):
    model = build(with_energies(nequip_architecture(*TYPES, pair_potential=ZBL), SIGMA, SHIFTS))
    parts = network_parts(model, frames, SIGMA)
    assert_array_equal(parts.counts, [[2, 0], [5, 3]])
    assert parts.energies.shape == (2, 2) and parts.forces.shape == (2, 10, 3)
    # no germanium in the first structure
    assert parts.energies[1, 0] == 0.0
    assert_array_equal(parts.forces[1, :2], np.zeros((2, 3)))
    # ZBL repels, and no scale or shift enters it
    assert (parts.fixed.energies > 0).all() and np.abs(parts.fixed.forces).max() > 0.1
    again = network_parts(model, frames, 2 * SIGMA)
    assert_allclose(again.fixed.energies, parts.fixed.energies, rtol=1e-14)
    assert_allclose(again.energies, 2 * parts.energies, rtol=1e-11)
    # the model is left at the scales given and at zero shifts
    left = predict(model, frames)
    assert_allclose(left.energies, again.predicted(np.ones(2), np.zeros(2)).energies, rtol=1e-13)


def test_type_in_no_frame_has_no_part(nequip_architecture, build, frames):
    model = build(with_energies(nequip_architecture(*TYPES), SIGMA, np.zeros(2)))
    parts = network_parts(model, frames[:1], SIGMA)
    assert_array_equal(parts.energies[1], [0.0])
    assert_array_equal(parts.forces[1], np.zeros((2, 3)))
    assert_array_equal(parts.fixed.forces, np.zeros((2, 3)))
    assert_allclose(parts.energies[0], predict(model, frames[:1]).energies, rtol=1e-14)


def test_predicted_by_hand():
    push = np.diag([1.0, 0.0, 0.0])
    parts = NetworkParts(
        energies=np.array([[1.0, 2.0], [10.0, 20.0]]),
        forces=np.array([[[1.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]]),
        stresses=np.array([[push, 2 * push], [10 * push, np.full((3, 3), np.nan)]]),
        fixed=Labels(np.array([0.5, 0.25]), np.array([[0.0, 0.0, 4.0]]), np.array([push, push])),
        counts=np.array([[1, 2], [3, 0]]),
    )
    found = parts.predicted(np.array([2.0, 0.5]), np.array([-1.0, -2.0]))
    assert found.energies.tolist() == [2 + 5 + 0.5 - 1 - 4, 4 + 10 + 0.25 - 3]
    assert found.forces.tolist() == [[2.0, 1.0, 4.0]]
    assert found.stresses[0].tolist() == ((2 + 5 + 1) * push).tolist()
    assert np.isnan(found.stresses[1]).all()


@pytest.mark.parametrize("family", ["nequip", "allegro"])
def test_stress_parts_are_derivatives_of_the_energy_parts_by_strain(request, build, frames, family):
    """σ_t = (1/V) ∂E_t/∂ε, by central differences, also for the part that does not scale."""
    architecture = request.getfixturevalue(f"{family}_architecture")(*TYPES, pair_potential=ZBL)
    model, frame, step = build(with_energies(architecture, SIGMA, np.zeros(2))), frames[1], 1e-5
    parts = network_parts(model, [frame], SIGMA)
    volume = float(torch.linalg.det(frame["cell"].reshape(3, 3)).abs())
    for i, j in ((0, 0), (1, 2)):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = 0.5 if i != j else 1.0
        energies = []
        for sign in (1, -1):
            deformation = torch.as_tensor(np.eye(3) + sign * step * strain)
            strained = with_neighbors(
                frame | {"pos": frame["pos"].detach() @ deformation, "cell": frame["cell"].reshape(3, 3) @ deformation},
                4.0,
            )
            found = network_parts(model, [strained], SIGMA)
            energies.append(np.array([*found.energies[:, 0], found.fixed.energies[0]]))
        expected = (energies[0] - energies[1]) / (2 * step * volume)
        found = np.array([*parts.stresses[:, 0, i, j], parts.fixed.stresses[0, i, j]])
        assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_a_cluster_has_no_stress(nequip_architecture, build, graph):
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.pbc = [True, True, False]
    parts = network_parts(
        build(with_energies(nequip_architecture(*TYPES), SIGMA, np.zeros(2))), [graph(atoms, TYPES, 4.0)], SIGMA
    )
    assert np.isnan(parts.stresses[0]).all()
    assert np.isfinite(parts.forces).all()
