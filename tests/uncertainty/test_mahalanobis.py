"""The distance, the scale and the grade against closed forms."""

import numpy as np
import pytest

from nequip_elemtransfer.uncertainty.mahalanobis import GAUSSIAN_COVERAGE, RIDGE, Calibration, Known, Uncertainty


@pytest.fixture
def features(random):
    """Of 400 atoms, 5 features each, correlated and of unlike sizes."""
    mixed = random.normal(size=(400, 5)) @ (np.eye(5) + 0.3 * np.ones((5, 5)))
    return mixed * [1, 10, 0.1, 3, 1] + [0, 5, -2, 100, 0.3]


def uncertainty(features, scale=1.0):
    return Uncertainty(Known.of(features), Calibration(scale, 1, 3, (0.0, 0.0)))


def test_distance_is_that_of_the_inverse(features, random):
    """M² by the Cholesky factor is zᵀ(C + ε)⁻¹z, computed from the definition with a matrix inverse."""
    z = np.column_stack([(features - features.mean(axis=0)) / features.std(axis=0), np.ones(400)])
    covariance = np.mean([np.outer(row, row) for row in z], axis=0)
    inverse = np.linalg.inv(covariance + RIDGE * np.mean(np.diag(covariance)) * np.eye(6))
    others = random.normal(size=(50, 5)) * 7
    t = np.column_stack([(others - features.mean(axis=0)) / features.std(axis=0), np.ones(50)])
    expected = [row @ inverse @ row for row in t]
    np.testing.assert_allclose(Known.of(features).squared_distances(others), expected, rtol=1e-9)


def test_mean_distance_is_the_number_of_features(features):
    """⟨M²⟩ over the training atoms is tr(C⁻¹C), five features and the constant; at the mean it is 1."""
    known = Known.of(features)
    assert known.squared_distances(features).mean() == pytest.approx(6, rel=1e-4)
    assert known.squared_distances(features.mean(axis=0)[None])[0] == pytest.approx(1, rel=1e-5)


def test_units_and_mixtures_of_features_do_not_matter(features, random):
    """Standardised features have no units, and but for the ridge no linear map changes the distance."""
    known, units, mixed = Known.of(features), np.array([10, 2, 0.1, 5, 1]), np.eye(5) + np.tri(5, k=-1)
    others = random.normal(size=(50, 5)) * 7
    expected = known.squared_distances(others)
    np.testing.assert_allclose(
        Known.of(features * units + 3).squared_distances(others * units + 3), expected, rtol=1e-9
    )
    expected = known.squared_distances(features)
    np.testing.assert_allclose(Known.of(features @ mixed).squared_distances(features @ mixed), expected, rtol=1e-2)


def test_a_feature_that_others_determine(features, random):
    """The covariance has no inverse then, and the distance along what is there stays what it was."""
    doubled = np.column_stack([features, features[:, 0] + features[:, 1]])
    others = random.normal(size=(20, 5))
    found = Known.of(doubled).squared_distances(np.column_stack([others, others[:, 0] + others[:, 1]]))
    np.testing.assert_allclose(found, Known.of(features).squared_distances(others), rtol=1e-4)


def test_a_constant_feature(features):
    """It changes nothing as long as it is constant, and an atom where it is not is far away."""
    constant = np.column_stack([features, np.full(400, 4.0)])
    found = Known.of(constant)
    np.testing.assert_allclose(
        found.squared_distances(constant), Known.of(features).squared_distances(features), rtol=1e-4
    )
    away = constant[:1] + [0, 0, 0, 0, 0, np.sqrt(np.mean(features.std(axis=0) ** 2))]
    assert found.squared_distances(away)[0] > 0.1 / RIDGE


def test_features_that_are_all_constant():
    assert np.isfinite(Known.of(np.ones((10, 2))).squared_distances(np.array([[1.0, 1.0], [2.0, 1.0]]))).all()


def test_scale_is_that_of_gaussian_errors(random):
    """Errors drawn from Gaussians of width 0.3 √(1 + M²) give α = 0.3 and cover what a Gaussian does."""
    squared = random.uniform(0, 50, 20_000)
    residuals = 0.3 * np.sqrt(1 + squared)[:, None] * random.normal(size=(20_000, 3))
    found = Calibration.on(residuals, squared, 10)
    assert found.scale == pytest.approx(0.3, rel=0.01) and found.n_components == 60_000
    assert found.coverage == pytest.approx(GAUSSIAN_COVERAGE, abs=0.005)


def test_scale_follows_the_errors(random):
    """Twice the errors, twice α; the coverage stays, and unlabelled atoms do not count."""
    squared, residuals = random.uniform(0, 50, 200), random.normal(size=(200, 3))
    once, twice = Calibration.on(residuals, squared, 4), Calibration.on(2 * residuals, squared, 4)
    assert twice.scale == pytest.approx(2 * once.scale) and twice.coverage == once.coverage
    missing = np.concatenate([residuals, np.full((30, 3), np.nan)])
    assert Calibration.on(missing, np.concatenate([squared, np.full(30, 1e9)]), 4) == once


def test_closed_form_of_the_scale():
    """One residual of 1 eV/Å at M² = 3: α √4 √(2/π) = 1."""
    found = Calibration.on(np.ones((1, 3)), np.array([3.0]), 1)
    assert found.scale == pytest.approx(np.sqrt(np.pi / 2) / 2)
    assert found.coverage == (1.0, 1.0)


def test_grade_is_one_at_the_farthest_training_atom(features):
    """Whatever α; σ is α times what it is at α = 1."""
    for scale in (1.0, 0.07):
        found = uncertainty(features, scale)
        grades = found.grades(features)
        assert grades.max() == pytest.approx(1.0, abs=1e-12) and (grades < 1).sum() == 399
        np.testing.assert_allclose(
            found.forces_uncertainty(features), scale * uncertainty(features).forces_uncertainty(features), rtol=1e-12
        )
        farthest = features[grades.argmax()]
        beyond = features.mean(axis=0) + 1.1 * (farthest - features.mean(axis=0))
        assert found.grades(beyond[None])[0] > 1


def test_too_few_atoms():
    with pytest.raises(ValueError, match=r"has 9 atoms, .* twice as many as the readout has inputs \(5\)"):
        Known.of(np.zeros((9, 5)))


@pytest.mark.parametrize(
    ("residual", "said"), [(np.nan, "none of the structures to calibrate on has forces"), (0.0, "no error")]
)
def test_nothing_to_calibrate_on(residual, said):
    with pytest.raises(ValueError, match=said):
        Calibration.on(np.full((4, 3), residual), np.ones(4), 1)
