r"""The error of a force by how unlike the training atoms its atom is: a distance, one calibrated scale, a grade.

The input ``x`` of a model's readout is standardised over the training atoms, of all types together, and a constant is
put beside it, the feature of an energy shift: ``z = ((x - mean) / spread, 1)``. With ``C`` the mean of ``z zᵀ`` over
the training atoms,

.. math:: M^2 = z^T (C + \varepsilon)^{-1} z, \qquad \sigma = \alpha \sqrt{1 + M^2}, \qquad
          \gamma = \sigma / \max_{\text{training}} \sigma .

This is the variance of a linear readout by its own features (Bigi et al., "A prediction rigidity formalism for low-cost
uncertainties in trained neural networks", Mach. Learn.: Sci. Technol. 5, 045018, 2024), with the noise that no feature
explains as the 1. α is found on structures that the training did not see, as there for a Gaussian whose mean deviation
is :math:`\sigma\sqrt{2/\pi}`.

Here σ is of a force component, which that formalism does not give: that the error of a force grows with the distance of
its atom is what is found (see the evidence), not what is derived.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

# part of the mean variance that is added to each, so that features that others determine do no harm
RIDGE = 1e-6

# a spread below these parts of a feature's size and of that of all is of rounding (float32), and the feature constant
_OWN_ROUNDING, _ROUNDING = 1e-5, 1e-7

# part of a Gaussian within one and two σ
GAUSSIAN_COVERAGE = (0.6827, 0.9545)


@dataclass(frozen=True)
class Known:
    """The training atoms, as far as distances from them need.

    Args:
        mean: of each feature, shape (n_features,)
        spread: by which each is divided, shape (n_features,)
        whiten: ``z @ whiten`` has the squared length M², shape (n_features + 1, n_features + 1)
        largest: M² of the training atom that is farthest
        n_atoms: how many there are
    """

    mean: np.ndarray
    spread: np.ndarray
    whiten: np.ndarray
    largest: float
    n_atoms: int

    @classmethod
    def of(cls, features: np.ndarray) -> "Known":
        """The training atoms of these features, shape (n_atoms, n_features).

        Raises:
            ValueError: there are fewer than twice as many atoms as features
        """
        n_atoms, n_features = features.shape
        if n_atoms < 2 * n_features:
            raise ValueError(
                f"the training has {n_atoms} atoms, and how unlike them another is needs at least twice as many as the "
                f"readout has inputs ({n_features})."
            )
        mean, spread = features.mean(axis=0), features.std(axis=0)
        sizes = np.sqrt(np.mean(features**2, axis=0))
        rounding = np.maximum(_OWN_ROUNDING * sizes, _ROUNDING * np.sqrt(np.mean(sizes**2)))
        # a constant feature is measured by what the others are, and by one where there are none
        usual = np.sqrt(np.mean(spread**2)) or 1.0
        spread = np.where(spread > rounding, spread, usual)
        z = _standardised(features, mean, spread)
        covariance = z.T @ z / n_atoms
        ridge = RIDGE * np.trace(covariance) / len(covariance)
        lower = cholesky(covariance + ridge * np.eye(len(covariance)), lower=True)
        whiten = solve_triangular(lower, np.eye(len(covariance)), lower=True).T
        return cls(mean, spread, whiten, float(np.max(np.sum((z @ whiten) ** 2, axis=1))), n_atoms)

    def squared_distances(self, features: np.ndarray) -> np.ndarray:
        """M² of atoms, shape (n_atoms,), of their features, shape (n_atoms, n_features)."""
        return np.sum((_standardised(features, self.mean, self.spread) @ self.whiten) ** 2, axis=1)


@dataclass(frozen=True)
class Calibration:
    """What σ was calibrated on, and how much of that it covers.

    Args:
        scale: α in eV/Å
        n_structures: how many
        n_components: of forces
        coverage: part of the force errors within one and two σ; 0.68 and 0.95 of a Gaussian
    """

    scale: float
    n_structures: int
    n_components: int
    coverage: tuple[float, float]

    @classmethod
    def on(cls, residuals: np.ndarray, squared: np.ndarray, n_structures: int) -> "Calibration":
        r"""The scale by which errors of forces are what σ says: :math:`\sqrt{\pi/2}` times the mean of |r| / √(1 + M²).

        Args:
            residuals: label less prediction in eV/Å, shape (n_atoms, 3); atoms with a NaN have no label
            squared: M² of the atoms, shape (n_atoms,)
            n_structures: that they are of

        Raises:
            ValueError: no atom has a label, or the model is exact
        """
        labelled = np.isfinite(residuals).all(axis=1)
        if not labelled.any():
            raise ValueError("none of the structures to calibrate on has forces: label them.")
        relative = np.abs(residuals[labelled]) / np.sqrt(1 + squared[labelled, None])
        scale = float(np.sqrt(np.pi / 2) * relative.mean())
        if not scale > 0:
            raise ValueError("the model has no error on the structures to calibrate on, which say nothing of others.")
        within = (float(np.mean(relative <= scale)), float(np.mean(relative <= 2 * scale)))
        return cls(scale, n_structures, int(relative.size), within)


@dataclass(frozen=True)
class Uncertainty:
    """What turns a readout's inputs into uncertainties and grades.

    Args:
        known: the training atoms
        calibration: of the scale
    """

    known: Known
    calibration: Calibration

    @property
    def largest(self) -> float:
        """σ in eV/Å of the training atom that is farthest, whose grade is 1."""
        return self.calibration.scale * float(np.sqrt(1 + self.known.largest))

    def forces_uncertainty(self, features: np.ndarray) -> np.ndarray:
        """σ of a force component in eV/Å for each atom, shape (n_atoms,)."""
        return self.calibration.scale * np.sqrt(1 + self.known.squared_distances(features))

    def grades(self, features: np.ndarray) -> np.ndarray:
        """γ of each atom, shape (n_atoms,): above 1, it is farther than every training atom."""
        return self.forces_uncertainty(features) / self.largest


def _standardised(features: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """``z``, shape (n_atoms, n_features + 1)."""
    return np.concatenate([(features - mean) / spread, np.ones((len(features), 1))], axis=1)
