import numpy as np
import pytest
from ase.build import bulk
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer.frames import Labels, predict
from nequip_elemtransfer.zero_shot import NetworkParts, ZeroShot, network_parts, zero_shot

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


def test_parts_by_type(nequip_architecture, build, frames):
    model = build(with_energies(nequip_architecture(*TYPES, pair_potential=ZBL), SIGMA, SHIFTS))
    parts = network_parts(model, frames, SIGMA)
    assert_array_equal(parts.counts, [[2, 0], [5, 3]])
    assert parts.energies.shape == (2, 2) and parts.forces.shape == (2, 10, 3)
    # no germanium in the first structure
    assert parts.energies[1, 0] == 0.0
    assert_array_equal(parts.forces[1, :2], np.zeros((2, 3)))
    # ZBL repels, and no scale or shift enters it
    assert (parts.fixed_energies > 0).all() and np.abs(parts.fixed_forces).max() > 0.1
    again = network_parts(model, frames, 2 * SIGMA)
    assert_allclose(again.fixed_energies, parts.fixed_energies, rtol=1e-14)
    assert_allclose(again.energies, 2 * parts.energies, rtol=1e-11)
    # the model is left at the scales given and at zero shifts
    left = predict(model, frames)
    assert_allclose(left.energies, again.predicted(np.ones(2), np.zeros(2)).energies, rtol=1e-13)


def test_type_in_no_frame_has_no_part(nequip_architecture, build, frames):
    model = build(with_energies(nequip_architecture(*TYPES), SIGMA, np.zeros(2)))
    parts = network_parts(model, frames[:1], SIGMA)
    assert_array_equal(parts.energies[1], [0.0])
    assert_array_equal(parts.forces[1], np.zeros((2, 3)))
    assert_array_equal(parts.fixed_forces, np.zeros((2, 3)))
    assert_allclose(parts.energies[0], predict(model, frames[:1]).energies, rtol=1e-14)


def test_predicted_by_hand():
    parts = NetworkParts(
        energies=np.array([[1.0, 2.0], [10.0, 20.0]]),
        forces=np.array([[[1.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]]),
        fixed_energies=np.array([0.5, 0.25]),
        fixed_forces=np.array([[0.0, 0.0, 4.0]]),
        counts=np.array([[1, 2], [3, 0]]),
    )
    found = parts.predicted(np.array([2.0, 0.5]), np.array([-1.0, -2.0]))
    assert found.energies.tolist() == [2 + 5 + 0.5 - 1 - 4, 4 + 10 + 0.25 - 3]
    assert found.forces.tolist() == [[2.0, 1.0, 4.0]]


# ---- errors

COUNTS = np.array([[2, 0], [1, 3], [0, 1]])
LABELS = Labels(np.array([-8.0, -19.0, -5.0]), np.zeros((7, 3)))


def test_errors_by_hand():
    forces = np.zeros((7, 3))
    forces[2] = [0.3, -0.4, 0.0]
    predicted = Labels(LABELS.energies + [0.2, -0.4, 0.0], forces)
    errors = zero_shot("+ length scale", predicted, LABELS, COUNTS)
    assert errors.step == "+ length scale"
    assert errors.force_mae == pytest.approx(0.7 / 21, rel=1e-14)
    assert errors.force_rmse == pytest.approx(np.sqrt(0.25 / 21), rel=1e-14)
    assert errors.energy_mae == pytest.approx((0.1 + 0.1 + 0.0) / 3, rel=1e-12)


def test_wrong_shifts_count_in_the_energy_error_but_not_in_the_refitted_one():
    predicted = Labels(LABELS.energies + COUNTS @ [0.5, -0.25], LABELS.forces)
    errors = zero_shot("element map", predicted, LABELS, COUNTS)
    assert errors.energy_mae == pytest.approx((0.5 + 0.0625 + 0.25) / 3, rel=1e-12)
    assert errors.energy_mae_refitted == pytest.approx(0.0, abs=1e-14)


def test_errors_without_labels():
    predicted = Labels(np.ones(3), np.ones((7, 3)))
    no_energies = zero_shot("a", predicted, Labels(None, LABELS.forces), COUNTS)
    assert no_energies == ZeroShot("a", 1.0, 1.0, None, None)
    no_forces = zero_shot("a", predicted, Labels(np.ones(3), None), COUNTS)
    assert no_forces == ZeroShot("a", None, None, 0.0, pytest.approx(0.0, abs=1e-14))
