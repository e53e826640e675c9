import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer import fit
from nequip_elemtransfer.frames import Labels

FREE = np.array([False, False])


@pytest.fixture
def random():
    return np.random.default_rng(0)


# ---- α


@pytest.mark.parametrize("alpha", [0.75, 1.0, 13.0])
def test_energy_scale_of_one_type(random, alpha):
    parts = random.normal(size=(1, 60))
    found = fit.fit_energy_scales(alpha * parts[0], parts, FREE[:1])
    assert_allclose(found.scales, [alpha], rtol=1e-14)


def test_energy_scale_of_one_type_is_the_projection(random):
    """α = F·F_1 / F_1·F_1 where the forces are not a multiple of the model's."""
    parts, noise = random.normal(size=(2, 1, 60))
    forces = 0.8 * parts[0] + noise[0]
    found = fit.fit_energy_scales(forces, parts, FREE[:1])
    assert_allclose(found.scales, [forces @ parts[0] / (parts[0] @ parts[0])], rtol=1e-14)


def test_energy_scales_of_two_types(random):
    parts = random.normal(size=(2, 60))
    found = fit.fit_energy_scales(0.7 * parts[0] + 1.4 * parts[1], parts, FREE)
    assert_allclose(found.scales, [0.7, 1.4], rtol=1e-13)
    assert found.common == ()


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_collinear_parts_share_one_scale(random, ratio):
    """Only the sum over types is determined."""
    part = random.normal(size=60)
    parts = np.stack([part, ratio * part])
    found = fit.fit_energy_scales(0.7 * parts.sum(axis=0), parts, FREE)
    assert_allclose(found.scales, [0.7, 0.7], rtol=1e-14)
    assert found.common == (0, 1)


def test_a_type_the_frames_do_not_hold_shares_the_scale_of_the_others(random):
    parts = np.stack([random.normal(size=60), np.zeros(60)])
    found = fit.fit_energy_scales(0.7 * parts[0], parts, FREE)
    assert_allclose(found.scales, [0.7, 0.7], rtol=1e-14)
    assert found.common == (0, 1)


def test_scales_noisier_than_a_tenth_are_made_one(random):
    """Nearly collinear parts and noise: each α alone has a large standard error, their common one a small one."""
    part, difference, noise = random.normal(size=(3, 600))
    parts = np.stack([part, part + 0.01 * difference])
    forces = 0.7 * parts.sum(axis=0) + 0.1 * noise
    separate = np.linalg.lstsq(parts.T, forces, rcond=None)[0]
    assert np.abs(separate - 0.7).max() > 0.1
    found = fit.fit_energy_scales(forces, parts, FREE)
    assert found.common == (0, 1)
    assert_allclose(found.scales, 0.7, rtol=0.01)


def test_fixed_types_keep_a_scale_of_one(random):
    parts = random.normal(size=(3, 60))
    forces = 0.7 * parts[0] + parts[1] + 1.4 * parts[2]
    found = fit.fit_energy_scales(forces, parts, np.array([False, True, False]))
    assert_allclose(found.scales, [0.7, 1.0, 1.4], rtol=1e-13)
    assert found.scales[1] == 1.0


def test_common_scale_is_of_the_free_types_only(random):
    part, other = random.normal(size=(2, 60))
    parts = np.stack([part, other, part])
    found = fit.fit_energy_scales(1.2 * part + other, parts, np.array([False, True, False]))
    assert_allclose(found.scales, [0.6, 1.0, 0.6], rtol=1e-13)
    assert found.common == (0, 2)


def test_nothing_to_fit(random):
    found = fit.fit_energy_scales(random.normal(size=6), random.normal(size=(2, 6)), ~FREE)
    assert_array_equal(found.scales, [1.0, 1.0])
    assert found.common == ()


@pytest.mark.parametrize(("alpha", "shown"), [(-0.5, "α = -0.5:"), (0.0, "α = 0:")])
@pytest.mark.parametrize("n_types", [1, 2])
def test_scale_that_is_not_positive(random, alpha, shown, n_types):
    parts = random.normal(size=(n_types, 60))
    with pytest.raises(ValueError) as error:
        fit.fit_energy_scales(alpha * parts.sum(axis=0), parts, FREE[:n_types])
    message = str(error.value)
    assert f"`energy_scale: fit` found {shown}" in message and "`energy_scale: none`" in message


def test_model_without_forces_has_no_scale():
    with pytest.raises(ValueError, match="α = 0"):
        fit.fit_energy_scales(np.ones(6), np.zeros((1, 6)), FREE[:1])


def test_one_negative_scale_among_several_is_not_used(random):
    """The common one is positive, so it stands in for both."""
    parts = random.normal(size=(2, 600))
    found = fit.fit_energy_scales(2.0 * parts[0] - 0.1 * parts[1], parts, FREE)
    assert found.common == (0, 1)
    total = parts.sum(axis=0)
    assert_allclose(found.scales, (2.0 * parts[0] - 0.1 * parts[1]) @ total / (total @ total), rtol=1e-13)


# ---- μ

COUNTS = np.array([[8, 0], [4, 4], [2, 6], [1, 3], [7, 9]])


def test_energy_shifts_of_two_types():
    shifts = np.array([-3.9, -5.2])
    found = fit.fit_energy_shifts(COUNTS @ shifts, COUNTS, np.zeros(2), FREE)
    assert_allclose(found.shifts, shifts, rtol=1e-13)
    assert (found.rank, found.fitted, found.undetermined) == (2, (0, 1), ())


def test_energy_shift_of_one_type_is_the_mean_per_atom(random):
    """Per-atom energies weigh all structures alike, whatever their size."""
    n_atoms, per_atom = np.array([[2], [64], [8]]), np.array([-4.0, -4.3, -4.9])
    found = fit.fit_energy_shifts(per_atom * n_atoms[:, 0], n_atoms, np.array([7.0]), FREE[:1])
    assert_allclose(found.shifts, [per_atom.mean()], rtol=1e-14)


def test_one_composition_changes_the_shifts_as_little_as_possible():
    """x·Δμ = r has the minimum-norm solution Δμ = r x / |x|²."""
    counts, start = np.array([[2, 6], [1, 3]]), np.array([-4.0, -5.0])
    fractions, missing = np.array([0.25, 0.75]), 0.3
    energies = counts.sum(axis=1) * (fractions @ start + missing)
    found = fit.fit_energy_shifts(energies, counts, start, FREE)
    assert_allclose(found.shifts, start + missing * fractions / (fractions @ fractions), rtol=1e-13)
    assert (found.rank, found.fitted, found.undetermined) == (1, (0, 1), (0, 1))


def test_only_types_the_compositions_do_not_tell_apart_are_undetermined():
    """The first type occurs alone, the other two always one to one."""
    counts = np.array([[4, 0, 0], [2, 3, 3], [1, 2, 2], [6, 1, 1]])
    shifts, start = np.array([-3.0, -4.0, -5.0]), np.array([-1.0, -2.0, -3.5])
    found = fit.fit_energy_shifts(counts @ shifts, counts, start, np.zeros(3, dtype=bool))
    assert found.shifts[0] == pytest.approx(-3.0, rel=1e-13)
    # -4 - 5 as a sum, changed by equal parts
    assert_allclose(found.shifts[1:], start[1:] + (-9.0 + 5.5) / 2, rtol=1e-13)
    assert (found.rank, found.fitted, found.undetermined) == (2, (0, 1, 2), (1, 2))


def test_a_type_the_frames_do_not_hold_keeps_its_shift():
    counts = np.array([[8, 0], [4, 0]])
    found = fit.fit_energy_shifts(counts @ [-3.9, 0.0], counts, np.array([-4.0, -5.0]), FREE)
    assert_allclose(found.shifts, [-3.9, -5.0], rtol=1e-13)
    assert found.shifts[1] == -5.0
    assert (found.rank, found.fitted, found.undetermined) == (1, (0, 1), (1,))


def test_fixed_types_keep_their_shift():
    shifts, start = np.array([-3.9, -5.2]), np.array([-3.9, 100.0])
    found = fit.fit_energy_shifts(COUNTS @ shifts, COUNTS, start, np.array([True, False]))
    assert_allclose(found.shifts, shifts, rtol=1e-13)
    assert found.shifts[0] == -3.9
    assert (found.rank, found.fitted, found.undetermined) == (1, (1,), ())
    assert start.tolist() == [-3.9, 100.0]


def test_undetermined_types_are_counted_among_all():
    counts = np.array([[4, 0, 0], [2, 3, 3], [1, 2, 2]])
    found = fit.fit_energy_shifts(counts @ [1.0, 2.0, 3.0], counts, np.ones(3), np.array([True, False, False]))
    assert (found.rank, found.fitted, found.undetermined) == (1, (1, 2), (1, 2))


def test_no_shift_to_fit():
    found = fit.fit_energy_shifts(COUNTS @ [1.0, 2.0], COUNTS, np.array([-4.0, -5.0]), ~FREE)
    assert found.shifts.tolist() == [-4.0, -5.0]
    assert (found.rank, found.fitted, found.undetermined) == (0, (), ())


def test_composition_residual_is_what_shifts_cannot_explain(random):
    explained = COUNTS @ [-3.9, -5.2]
    assert_allclose(fit.composition_residual(explained, COUNTS), 0.0, atol=1e-13)
    per_atom = random.normal(size=5)
    residual = fit.composition_residual(explained + per_atom * COUNTS.sum(axis=1), COUNTS)
    fractions = COUNTS / COUNTS.sum(axis=1, keepdims=True)
    assert_allclose(residual, per_atom - fractions @ np.linalg.lstsq(fractions, per_atom, rcond=None)[0], atol=1e-13)
    assert_allclose(fractions.T @ residual, 0.0, atol=1e-13)


# ---- λ


@pytest.fixture
def labels(random):
    return Labels(energies=COUNTS @ [-3.9, -5.2] + random.normal(size=5), forces=random.normal(size=(84, 3)))


def test_length_objective_of_a_perfect_model_is_zero(labels):
    """Up to shifts, which are refitted."""
    shifted = Labels(labels.energies + COUNTS @ [3.0, -1.0], labels.forces)
    assert fit.length_objective(labels, labels, COUNTS) == pytest.approx(0.0, abs=1e-13)
    assert fit.length_objective(labels, shifted, COUNTS) == pytest.approx(0.0, abs=1e-13)


def test_length_objective_counts_one_for_each_kind_of_label_that_is_not_explained(labels):
    nothing = Labels(np.zeros(5), np.zeros((84, 3)))
    assert fit.length_objective(labels, nothing, COUNTS) == pytest.approx(2.0, rel=1e-13)
    assert fit.length_objective(labels, Labels(np.zeros(5), labels.forces), COUNTS) == pytest.approx(1.0, rel=1e-13)
    only_energies = Labels(labels.energies, np.zeros((84, 3)))
    assert fit.length_objective(labels, only_energies, COUNTS) == pytest.approx(1.0, rel=1e-13)
    half = Labels(labels.energies, 0.5 * labels.forces)
    assert fit.length_objective(labels, half, COUNTS) == pytest.approx(0.25, rel=1e-13)


def test_length_objective_is_of_forces_alone_where_energies_say_nothing(labels):
    nothing = Labels(np.zeros(5), np.zeros((84, 3)))
    no_energies = Labels(None, labels.forces)
    assert fit.length_objective(no_energies, nothing, COUNTS) == pytest.approx(1.0, rel=1e-13)
    # as many structures as types: shifts explain any energies but for rounding
    counts = np.array([[7, 1, 3], [2, 5, 11], [13, 4, 6]])
    three = Labels(labels.energies[:3], labels.forces)
    predicted = Labels(np.array([0.1, -7.3, 5.9]), nothing.forces)
    assert np.abs(fit.composition_residual(three.energies, counts)).max() > 0
    assert fit.length_objective(three, predicted, counts) == pytest.approx(1.0, rel=1e-13)


def test_energies_that_composition_explains_say_nothing_of_lengths(random, labels):
    """What remains of them is rounding, and nothing may be measured against that."""
    explained = Labels(COUNTS @ [-3.9, -5.2], labels.forces)
    assert 0 < np.abs(fit.composition_residual(explained.energies, COUNTS)).max() < 1e-13
    predicted = Labels(random.normal(size=5), np.zeros((84, 3)))
    assert fit.length_objective(explained, predicted, COUNTS) == pytest.approx(1.0, rel=1e-13)


def test_no_resemblance_is_worse_than_explaining_nothing():
    """Where no positive α exists the objective must not look better than a model without forces and energies."""
    assert fit.NO_RESEMBLANCE >= 2.0


@pytest.mark.parametrize("best", [0.87, 1.0, 1.08108, 1.2])
def test_length_scale_is_the_minimum(best):
    found, inside = fit.fit_length_scale(lambda factor: 0.3 + (np.log(factor / best)) ** 2, fit.LENGTH_RANGE)
    assert found == pytest.approx(best, abs=2e-3)
    assert inside


@pytest.mark.parametrize(("best", "edge"), [(0.5, 0.8), (0.8, 0.8), (1.25, 1.25), (2.0, 1.25)])
def test_length_scale_at_an_edge_is_flagged(best, edge):
    found, inside = fit.fit_length_scale(lambda factor: (factor - best) ** 2, fit.LENGTH_RANGE)
    assert found == pytest.approx(edge, abs=6e-3)
    assert fit.LENGTH_RANGE[0] <= found <= fit.LENGTH_RANGE[1]
    assert not inside
