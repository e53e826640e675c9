"""The energy scales α of a fit."""

import numpy as np
import pytest
from fit_inputs import FREE, ONE, fit_forces, term
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.least_unexplained import Term, no_resemblance, nothing_explained, objective


@pytest.mark.parametrize("alpha", [0.75, 1.0, 13.0])
def test_energy_scale_of_one_type(random, alpha):
    parts = random.normal(size=(1, 60))
    found = fit_forces(alpha * parts[0], parts, FREE[:1])
    assert_allclose(found.scales, [alpha], rtol=1e-14)


def test_energy_scale_of_one_type_is_the_projection(random):
    """α = F·F_1 / F_1·F_1 where the forces are not a multiple of the model's."""
    parts, noise = random.normal(size=(2, 1, 60))
    forces = 0.8 * parts[0] + noise[0]
    found = fit_forces(forces, parts, FREE[:1])
    assert_allclose(found.scales, [forces @ parts[0] / (parts[0] @ parts[0])], rtol=1e-14)


def test_energy_scales_of_two_types(random):
    parts = random.normal(size=(2, 60))
    found = fit_forces(0.7 * parts[0] + 1.4 * parts[1], parts, FREE)
    assert_allclose(found.scales, [0.7, 1.4], rtol=1e-13)
    assert found.common == ()


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_collinear_parts_share_one_scale(random, ratio):
    """Only the sum over types is determined."""
    part = random.normal(size=60)
    parts = np.stack([part, ratio * part])
    found = fit_forces(0.7 * parts.sum(axis=0), parts, FREE)
    assert_allclose(found.scales, [0.7, 0.7], rtol=1e-14)
    assert found.common == (0, 1)


def test_a_type_the_frames_do_not_hold_shares_the_scale_of_the_others(random):
    parts = np.stack([random.normal(size=60), np.zeros(60)])
    found = fit_forces(0.7 * parts[0], parts, FREE)
    assert_allclose(found.scales, [0.7, 0.7], rtol=1e-14)
    assert found.common == (0, 1)


def test_scales_noisier_than_a_tenth_are_made_one(random):
    """Nearly collinear parts and noise: each α alone has a large standard error, their common one a small one."""
    part, difference, noise = random.normal(size=(3, 600))
    parts = np.stack([part, part + 0.01 * difference])
    forces = 0.7 * parts.sum(axis=0) + 0.1 * noise
    separate = np.linalg.lstsq(parts.T, forces, rcond=None)[0]
    assert np.abs(separate - 0.7).max() > 0.1
    found = fit_forces(forces, parts, FREE)
    assert found.common == (0, 1)
    assert_allclose(found.scales, 0.7, rtol=0.01)


def test_fixed_types_keep_a_scale_of_one(random):
    parts = random.normal(size=(3, 60))
    forces = 0.7 * parts[0] + parts[1] + 1.4 * parts[2]
    found = fit_forces(forces, parts, np.array([False, True, False]))
    assert_allclose(found.scales, [0.7, 1.0, 1.4], rtol=1e-13)
    assert found.scales[1] == 1.0


def test_common_scale_is_of_the_free_types_only(random):
    part, other = random.normal(size=(2, 60))
    parts = np.stack([part, other, part])
    found = fit_forces(1.2 * part + other, parts, np.array([False, True, False]))
    assert_allclose(found.scales, [0.6, 1.0, 0.6], rtol=1e-13)
    assert found.common == (0, 2)


def test_nothing_to_fit(random):
    found = fit_forces(random.normal(size=6), random.normal(size=(2, 6)), ~FREE)
    assert_array_equal(found.scales, [1.0, 1.0])
    assert found.common == ()


@pytest.mark.parametrize(("alpha", "shown"), [(-0.5, "α = -0.5:"), (0.0, "α = 0:")])
@pytest.mark.parametrize("n_types", [1, 2])
def test_scale_that_is_not_positive(random, alpha, shown, n_types):
    parts = random.normal(size=(n_types, 60))
    with pytest.raises(ValueError) as error:
        fit_forces(alpha * parts.sum(axis=0), parts, FREE[:n_types])
    message = str(error.value)
    assert message == (
        f"`energy_scale: fit` found {shown} the source's forces do not resemble those of the training structures at "
        "all, so this start is worth nothing. Choose another source type or length scale, or set `energy_scale: none` "
        "to go on regardless."
    )


def test_refusal_names_the_kinds_of_label(random):
    part = random.normal(size=(1, 60))
    opposite = term(-part[0], part)
    with pytest.raises(fit.NoResemblance, match="the source's energies and forces do not resemble"):
        fit.fit_energy_scales({"energy": opposite, "forces": opposite}, ONE, FREE[:1])


def test_one_negative_scale_among_several_is_not_used(random):
    """The common one is positive, so it stands in for both."""
    parts = random.normal(size=(2, 600))
    found = fit_forces(2.0 * parts[0] - 0.1 * parts[1], parts, FREE)
    assert found.common == (0, 1)
    total = parts.sum(axis=0)
    assert_allclose(found.scales, (2.0 * parts[0] - 0.1 * parts[1]) @ total / (total @ total), rtol=1e-13)


@pytest.mark.parametrize("n_types", [1, 2])
def test_energy_scales_minimise_the_objective(random, n_types):
    """Against a general minimiser, with kinds of label that ask for different scales and weights of their own."""
    weights, terms = {"energy": 2.0, "forces": 1.0, "stress": 0.5}, {}
    for i, (kind, n) in enumerate({"energy": 30, "forces": 300, "stress": 90}.items()):
        parts = random.normal(size=(n_types, n))
        rest = (0.7 + 0.1 * i) * parts.sum(axis=0) + 0.2 * (i + 1) * random.normal(size=n)
        terms[kind] = term(rest, parts)
    found = fit.fit_energy_scales(terms, weights, FREE[:n_types])
    assert found.common == (() if n_types == 2 else (0,))
    best = minimize(lambda alpha: objective(terms, weights, alpha), np.ones(n_types), tol=1e-12)
    assert_allclose(found.scales, best.x, rtol=1e-5)
    slopes = [
        weights[kind]
        * t.parts
        @ (t.rest - found.scales @ t.parts)
        / (t.rest @ t.rest)
        / (t.unexplained(found.scales) + 0.2)
        for kind, t in terms.items()
    ]
    assert_allclose(np.sum(slopes, axis=0), 0.0, atol=1e-10)


def test_objective_by_hand():
    terms = {
        "energy": term(np.array([1.0, -1.0]), np.array([[0.5, 0.5]])),  # α = 1: 0.25 + 2.25 of 2
        "forces": term(np.array([2.0, 0.0]), np.array([[2.0, 0.0]])),  # explained
    }
    found = objective(terms, {"energy": 3.0, "forces": 1.0}, np.ones(1))
    assert found == pytest.approx((3 * np.log(1.25 + 0.2) + np.log(0.2)) / 4, rel=1e-14)
    assert objective(terms, ONE, np.zeros(1)) == pytest.approx(np.log(1.2), rel=1e-14)


def test_objective_of_a_source_that_says_nothing_and_of_one_that_says_the_opposite():
    """ln 1.2 and ln 2; more beside a pair potential, less beside a kept type that explains half."""
    labels, parts = np.array([2.0, 2.0]), np.array([[2.0, 0.0], [1.0, 1.0]])
    plain = {"forces": term(labels, parts)}
    assert nothing_explained(plain, ONE) == pytest.approx(np.log(1.2), rel=1e-14)
    assert no_resemblance(plain, ONE, FREE) == pytest.approx(np.log(2.0), rel=1e-14)
    beside = {"forces": Term(labels, labels - [6.0, 2.0], parts, np.arange(2))}  # −4 and 0: 16 of 8
    assert nothing_explained(beside, ONE) == pytest.approx(np.log(2.2), rel=1e-14)
    assert no_resemblance(beside, ONE, FREE) == pytest.approx(np.log(2.2 * 2 / 1.2), rel=1e-14)
    kept = np.array([True, False])
    assert no_resemblance(plain, ONE, kept) == pytest.approx(np.log(0.7 * 2 / 1.2), rel=1e-14)


def test_a_kind_that_cannot_be_explained_hardly_moves_the_scale(random):
    """Stresses a hundred times what the model can say: least squares would give α near zero."""
    part = random.normal(size=(1, 300))
    offset = term(np.ones(90), 30 * random.normal(size=(1, 90)) + 50)
    terms = {"forces": term(0.8 * part[0], part), "stress": offset}
    plain = np.linalg.lstsq(
        np.concatenate([t.parts[0] / np.linalg.norm(t.rest) for t in terms.values()])[:, None],
        np.concatenate([t.rest / np.linalg.norm(t.rest) for t in terms.values()]),
        rcond=None,
    )[0]
    assert plain < 0.1
    assert fit.fit_energy_scales(terms, ONE | {"stress": 0.01}, FREE[:1]).scales[0] == pytest.approx(0.8, rel=0.02)
