"""The objective of the fits, its minimum over energy scales α, and how well structures determine a number.

Each kind of label k (energies per atom less what composition explains, forces, stresses) leaves a part
``u_k = Σ (x_ref − x)² / Σ x_ref²`` unexplained, and the fits minimise

    J = Σ_k w_k ln(u_k + δ) / Σ_k w_k ,

the weighted geometric mean of the unexplained parts, softened by δ. A kind of label that the source cannot explain at
all has little say in what the others determine, and none is fitted at any price.

Standard errors are those of a jackknife over structures: each is left out in turn, with all its labels, since errors
within one structure are correlated. Its expectation is not below the variance (Efron and Stein, Ann. Statist. 9, 586,
1981). For least squares it is the cluster-robust sandwich CV3, the one for few clusters (MacKinnon, Nielsen and Webb,
J. Econometrics 232, 272, 2023).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.structures.labels import LabelKind

# δ above: what is left unexplained weighs by its ratio above this part, by its difference below it.
_SMALL = 0.2

# What is added to the objective of a source that says nothing where it says the opposite.
_OPPOSITE = float(np.log(2.0 / (1.0 + _SMALL)))

# Rounds after which reweighting is given up; some ten are needed.
_MAX_ROUNDS = 100


@dataclass(frozen=True)
class Term:
    """One kind of label: what is to be explained and by what.

    Args:
        reference: labels, shape (n,)
        rest: reference less what does not scale, shape (n,)
        parts: predictions at the source's energy scale by type, shape (n_types, n)
        structures: number of the structure that each value belongs to, shape (n,)
    """

    reference: np.ndarray
    rest: np.ndarray
    parts: np.ndarray
    structures: np.ndarray

    def unexplained(self, alpha: np.ndarray) -> float:
        """``Σ (x_ref − x)² / Σ x_ref²`` at energy scales of shape (n_types,)."""
        return float(np.sum((self.rest - alpha @ self.parts) ** 2) / np.sum(self.reference**2))


def objective(terms: Mapping[LabelKind, Term], weights: Mapping[LabelKind, float], alpha: np.ndarray) -> float:
    """J of the module's head; 0 where nothing is explained, and ``ln δ`` where everything is."""
    parts = [weights[kind] * np.log(term.unexplained(alpha) + _SMALL) for kind, term in terms.items()]
    return float(np.sum(parts) / np.sum([weights[kind] for kind in terms]))


def nothing_explained(terms: Mapping[LabelKind, Term], weights: Mapping[LabelKind, float]) -> float:
    """J of a network that says nothing: ``ln(1 + δ)``, or what a pair potential alone comes to."""
    n_types = len(next(iter(terms.values())).parts)
    return objective(terms, weights, np.zeros(n_types))


def no_resemblance(terms: Mapping[LabelKind, Term], weights: Mapping[LabelKind, float], fixed: np.ndarray) -> float:
    """J where no positive α is best: more than that of any, which comes near the one of α = 0.

    Args:
        fixed: types whose α stays one, shape (n_types,)
    """
    return objective(terms, weights, fixed.astype(float)) + _OPPOSITE


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """Standard error ``√((n − 1)/n Σ_g (x_g − x̄)²)`` of a number from its values without each structure.

    Args:
        left_out: shape (n_structures, ...)

    Returns:
        shape (...); infinite where there are fewer than two values, or one is not finite
    """
    n = len(left_out)
    if n < 2:
        return np.full(left_out.shape[1:], np.inf)
    error = np.sqrt((n - 1) * left_out.var(axis=0))
    return np.where(np.isfinite(error), error, np.inf)


@dataclass(frozen=True)
class Minimum:
    """Minimum of ``Σ_k w_k ln(u_k(α) + δ)``.

    Args:
        alpha: shape (n_types,)
        errors: standard errors, infinite where the minimum is not unique or hangs on one structure, shape (n_types,)
        left_out: number of a structure -> the objective at its minimum without it, NaN where that is not unique
    """

    alpha: np.ndarray
    errors: np.ndarray
    left_out: dict[int, float]

    @classmethod
    def of(cls, rows: Sequence[tuple[float, Term]]) -> "Minimum":
        """The minimum for kinds of label of given weights."""
        sums = _Sums.of(rows)
        alpha = sums.least()
        if not np.isfinite(alpha[0]).all():
            normal, moments = sums.normal(sums.first_factors())
            alpha[0] = np.linalg.lstsq(normal[0], moments[0], rcond=None)[0]
            return cls(alpha[0], np.full(len(alpha[0]), np.inf), dict.fromkeys(sums.structures, np.nan))
        left_out = dict(zip(sums.structures, sums.objective(alpha)[1:].tolist()))
        return cls(alpha[0], jackknife_error(alpha[1:]), left_out)


@dataclass(frozen=True)
class _Sums:
    """All that the objective needs of the labels: sums over all structures, and over all but each of them.

    Args:
        structures: their numbers
        weights: of the kinds, shape (n_kinds,)
        totals: of squares of the reference, shape (n_kinds, 1 + n_structures)
        products: of the rest and of the parts of each type with one another, the rest first, shape
            (n_kinds, 1 + n_structures, 1 + n_types, 1 + n_types)
    """

    structures: list[int]
    weights: np.ndarray
    totals: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[tuple[float, Term]]) -> "_Sums":
        numbers = np.unique(np.concatenate([term.structures for _, term in rows]))
        n = len(numbers)
        counted = np.vstack([np.ones((1, n)), 1 - np.eye(n)])  # (1 + n_structures, n_structures)
        totals, products = [], []
        for _, term in rows:
            place, values = np.searchsorted(numbers, term.structures), np.vstack([term.rest, term.parts])
            of_each = [[np.bincount(place, a * b, n) for b in values] for a in values]
            totals.append(counted @ np.bincount(place, term.reference**2, n))
            products.append(np.moveaxis(np.array(of_each) @ counted.T, -1, 0))
        return cls(numbers.tolist(), np.array([w for w, _ in rows]), np.array(totals), np.array(products))

    def unexplained(self, alpha: np.ndarray) -> np.ndarray:
        """``Σ (x_ref − x)²`` at α of shape (1 + n_structures, n_types), shape (n_kinds, 1 + n_structures)."""
        signed = np.concatenate([np.ones((len(alpha), 1)), -alpha], axis=1)
        return np.einsum("gt,kgtu,gu->kg", signed, self.products, signed)

    def objective(self, alpha: np.ndarray) -> np.ndarray:
        """J at α of shape (1 + n_structures, n_types), shape (1 + n_structures,)."""
        there = self.totals > 0
        part = np.divide(self.unexplained(alpha), self.totals, where=there, out=np.zeros_like(self.totals))
        logarithms, weights = self.weights @ np.where(there, np.log(part + _SMALL), 0.0), self.weights @ there
        return np.divide(logarithms, weights, where=weights > 0, out=np.full(len(alpha), np.nan))

    def first_factors(self) -> np.ndarray:
        """``w_k / Σ x_ref²``, zero where there is nothing of a kind, shape (n_kinds, 1 + n_structures)."""
        return self._factors(self.totals)

    def normal(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The normal matrix and the moments of least squares, shapes (…, n_types, n_types) and (…, n_types)."""
        sums = np.einsum("kg,kgtu->gtu", factors, self.products)
        return sums[:, 1:, 1:], sums[:, 1:, 0]

    def least(self) -> np.ndarray:
        """α of least J, NaN where it is not unique, shape (1 + n_structures, n_types).

        Each round solves the least squares that has the same slope, which cannot raise the objective (the logarithm
        is concave).
        """
        factors = self.first_factors()
        normal, moments = self.normal(factors)
        unique = np.linalg.matrix_rank(normal, hermitian=True) == normal.shape[-1]  # (1 + n_structures,)
        alpha = np.full(moments.shape, np.nan)
        for _ in range(_MAX_ROUNDS):
            previous = alpha.copy()
            alpha[unique] = np.linalg.solve(normal[unique], moments[unique, :, None])[..., 0]
            if np.allclose(alpha, previous, rtol=1e-10, atol=0, equal_nan=True):
                break
            left = np.nan_to_num(self.unexplained(alpha), nan=0.0)
            normal, moments = self.normal(self._factors(left + _SMALL * self.totals))
        return alpha

    def _factors(self, scales: np.ndarray) -> np.ndarray:
        out = np.zeros_like(scales)
        return np.divide(np.broadcast_to(self.weights[:, None], scales.shape), scales, where=scales > 0, out=out)
