"""How sure α is: the errors within one structure are not independent of one another."""

import numpy as np
import pytest
from fit_inputs import FREE, ONE, fit_forces, term
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.least_unexplained import Minimum, Term, jackknife_error, objective


def without(term, structure):
    """The term of the other structures."""
    others = term.structures != structure
    return Term(term.reference[others], term.rest[others], term.parts[:, others], term.structures[others])


def test_jackknife_by_hand():
    """x̄ = 3, deviations −2, 0, 2: √(2/3 · 8)."""
    assert jackknife_error(np.array([1.0, 3.0, 5.0])) == pytest.approx(np.sqrt(16 / 3), rel=1e-15)
    assert_array_equal(jackknife_error(np.array([[1.0, 0.0], [1.0, np.nan]])), [0.0, np.inf])
    assert_array_equal(jackknife_error(np.array([[1.0, 0.0]])), [np.inf, np.inf])
    assert jackknife_error(np.zeros(0)) == np.inf


@pytest.mark.parametrize("n_structures", [4, 9])
def test_errors_of_one_kind_are_the_cluster_robust_sandwich(random, n_structures):
    """CV3 of MacKinnon, Nielsen and Webb: scores X_g'r_g between the inverses of the normal matrix less X_g'X_g."""
    found = term(random.normal(size=90), random.normal(size=(2, 90)), n_structures)
    rest, parts = found.rest, found.parts
    alpha = np.linalg.lstsq(parts.T, rest, rcond=None)[0]
    normal, left = parts @ parts.T, rest - alpha @ parts
    shifts = []
    for g in range(n_structures):
        own = found.structures == g
        x = parts[:, own]
        shifts.append(np.linalg.solve(normal - x @ x.T, x @ left[own]))
    deviations = np.array(shifts) - np.mean(shifts, axis=0)
    covariance = (n_structures - 1) / n_structures * deviations.T @ deviations
    minimum = Minimum.of([(3.0, found)])
    assert_allclose(minimum.alpha, alpha, rtol=1e-10)
    assert_allclose(minimum.errors, np.sqrt(np.diag(covariance)), rtol=1e-8)


def several_kinds(random):
    """Kinds that ask for different α, one of which two structures alone have labels of."""
    terms = {}
    for i, (kind, n, n_structures) in enumerate([("energy", 7, 7), ("forces", 84, 7), ("stress", 18, 2)]):
        parts = random.normal(size=(2, n))
        rest = (0.7 + 0.1 * i) * parts.sum(axis=0) + 0.1 * random.normal(size=n)
        reference = rest + 0.3 * random.normal(size=n)
        terms[kind] = Term(reference, rest, parts, term(rest, parts, n_structures).structures)
    return terms, {"energy": 2.0, "forces": 1.0, "stress": 0.5}


def test_each_structure_is_left_out_with_all_its_labels(random):
    """α and the objective are those of a fit to the other structures."""
    terms, weights = several_kinds(random)
    found = fit.fit_energy_scales(terms, weights, FREE)
    alphas, objectives = [], []
    for g in range(7):
        others = {kind: without(term, g) for kind, term in terms.items()}
        alone = fit.fit_energy_scales(others, weights, FREE)
        assert alone.common == ()
        alphas.append(alone.scales)
        objectives.append(objective(others, weights, alone.scales))
    assert_allclose(found.errors, np.sqrt(6) * np.std(alphas, axis=0), rtol=1e-8)
    assert list(found.left_out) == list(range(7))
    assert_allclose(list(found.left_out.values()), objectives, rtol=1e-10)


def test_a_kind_of_label_that_one_structure_has_is_left_out_with_it(random):
    part = random.normal(size=(1, 60))
    forces = term(0.8 * part[0] + 0.1 * random.normal(size=60), part, 6)
    stress = Term(np.ones(9), np.ones(9), np.ones((1, 9)), np.full(9, 2))
    found = fit.fit_energy_scales({"forces": forces, "stress": stress}, ONE, FREE[:1])
    others = {"forces": without(forces, 2)}
    alone = fit.fit_energy_scales(others, ONE, FREE[:1])
    assert found.left_out[2] == pytest.approx(objective(others, ONE, alone.scales), rel=1e-12)


def toy(random, n_structures, spread):
    """Forces of structures each of which has scales of its own: errors that are alike within a structure."""
    sizes = np.where(np.arange(n_structures) % 2, 3.0, 1.0)[:, None]  # crystals and liquids
    parts = sizes * random.normal(size=(2, n_structures, 90))
    own = np.array([0.8, 1.2])[:, None, None] + spread * random.normal(size=(2, n_structures, 1))
    forces = (own * parts).sum(axis=0) + 0.05 * random.normal(size=(n_structures, 90))
    return forces.reshape(-1), parts.reshape(2, -1)


def errors_of_independent_components(forces, parts):
    left = forces - np.linalg.lstsq(parts.T, forces, rcond=None)[0] @ parts
    return np.sqrt(np.diag(np.linalg.inv(parts @ parts.T)) * (left @ left) / (len(left) - 2))


@pytest.mark.parametrize(("n_structures", "spread"), [(5, 0.04), (10, 0.06)])
def test_errors_are_the_scatter_of_the_scales(n_structures, spread):
    """Over 300 toys; those of least squares that takes components as independent are a tenth of it."""
    random = np.random.default_rng(0)
    found, independent = [], []
    for _ in range(300):
        forces, parts = toy(random, n_structures, spread)
        made = Minimum.of([(1.0, term(forces, parts, n_structures))])
        found.append([made.alpha, made.errors])
        independent.append(errors_of_independent_components(forces, parts))
    scales, errors = np.moveaxis(found, 1, 0)
    scatter = scales.std(axis=0)
    assert_allclose(np.sqrt(np.mean(errors**2, axis=0)) / scatter, 1.05, atol=0.2)
    assert np.all(np.sqrt(np.mean(np.square(independent), axis=0)) < scatter / 7)


def test_scales_that_structures_do_not_agree_on_are_made_one(random):
    """Components taken as independent would have an error of 1 %, structures have one of more than a tenth."""
    forces, parts = toy(random, 10, 0.5)
    assert np.all(errors_of_independent_components(forces, parts) < 0.03)
    found = fit_forces(forces, parts, FREE)
    assert found.common == (0, 1)
    total = parts.sum(axis=0)
    assert_allclose(found.scales, forces @ total / (total @ total), rtol=1e-12)
    alone = Minimum.of([(1.0, term(forces, total[None]))])
    assert_allclose(found.errors, alone.errors[0], rtol=1e-12)
    assert found.left_out == pytest.approx(alone.left_out, rel=1e-12)


@pytest.mark.parametrize(("scatter", "common"), [(0.7, ()), (1.4, (0, 1))])
def test_a_tenth_of_a_scale_is_the_largest_error_that_tells_types_apart(scatter, common):
    """Two types with parts of their own, so that α is a mean over 16 structures: its standard error is s / √16."""
    deviations = scatter * np.tile([1.0, -1.0], 8) * 0.5
    parts = np.kron(np.eye(2), np.ones((1, 16)))  # each type alone in one value of each structure
    forces = 1 + np.concatenate([deviations, deviations])
    found = fit.fit_energy_scales({"forces": Term(forces, forces, parts, np.tile(np.arange(16), 2))}, ONE, FREE)
    assert found.common == common
    expected = np.std(deviations, ddof=1) / 4  # 0.09 and 0.18
    assert_allclose(found.errors, expected, rtol=1e-12)


def test_one_structure_does_not_tell_types_apart(random):
    parts = random.normal(size=(2, 60))
    found = fit_forces(0.7 * parts[0] + 1.4 * parts[1], parts, FREE, 1)
    assert found.common == (0, 1)
    assert_array_equal(found.errors, [np.inf, np.inf])
    assert found.left_out == pytest.approx({0: np.nan}, nan_ok=True)


def test_errors_of_parts_that_are_collinear_are_infinite(random):
    """The α themselves are the smallest that explain most."""
    part = random.normal(size=60)
    found = Minimum.of([(1.0, term(0.7 * part, np.stack([part, 2 * part])))])
    assert_allclose(found.alpha, [0.14, 0.28], rtol=1e-12)
    assert_array_equal(found.errors, [np.inf, np.inf])
    assert found.left_out == pytest.approx(dict.fromkeys(range(10), np.nan), nan_ok=True)


def test_a_scale_that_hangs_on_one_structure_is_shared(random):
    """The second type is in the last of ten structures alone."""
    parts = random.normal(size=(2, 60))
    parts[1, :54] = 0.0
    found = fit_forces(0.7 * parts[0] + 1.4 * parts[1], parts, FREE)
    assert found.common == (0, 1)
    assert np.all(np.isfinite(found.errors)) and np.all(found.errors > 0)


def test_what_is_not_fitted_has_no_error(random):
    parts = random.normal(size=(2, 60))
    forces = 0.7 * parts[0] + parts[1] + 0.1 * random.normal(size=60)
    found = fit_forces(forces, parts, np.array([False, True]))
    assert found.errors[1] == 0.0
    assert (
        found.errors[0]
        == Minimum.of([(1.0, Term(forces, forces - parts[1], parts[:1], term(forces, parts).structures))]).errors[0]
    )
    nothing = fit_forces(forces, parts, ~FREE)
    assert_array_equal(nothing.errors, [0.0, 0.0])
    assert nothing.left_out == {}
