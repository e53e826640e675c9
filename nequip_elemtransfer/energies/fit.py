"""Energy scales α and energy shifts μ from a few labelled target structures, each kind of label in a unit-free measure.

The target's energy, forces and stress are linear in the per-type scales and shifts,

    E = E_0 + Σ_t α_t E_t + Σ_t n_t μ_t ,    F = F_0 + Σ_t α_t F_t ,    σ = σ_0 + Σ_t α_t σ_t ,

where ``E_t`` is the network energy of the atoms of type t at the source's scale and ``E_0`` what does not scale (a pair
potential, kept types). Each kind of label k (energies per atom less what composition explains, forces, stresses) leaves
a part ``u_k = Σ (x_ref − x)² / Σ x_ref²`` unexplained, and the fits minimise

    J = Σ_k w_k ln(u_k + δ) / Σ_k w_k ,

the weighted geometric mean of the unexplained parts, softened by δ. A kind of label that
the source cannot explain at all has little say in what the others determine, and none is fitted at any price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.structures.labels import LabelKind, Labels

# A scale whose standard error is above this part of it counts as undetermined.
_MAX_RELATIVE_ERROR = 0.1

# δ above: what is left unexplained weighs by its ratio above this part, by its difference below it.
_SMALL = 0.2

# Value of the objective where nothing is explained.
NOTHING_EXPLAINED = float(np.log(1.0 + _SMALL))

# Value of the objective where not even the sign of the labels agrees: worse than explaining nothing.
NO_RESEMBLANCE = float(np.log(2.0))

# A kind with fewer independent values than this says nothing of λ and α.
_LEAST_VALUES = 2

# Squares below this part of the whole are rounding.
_ROUNDING = 1e-20

# An energy shift is fitted along directions of composition that the data fix to this standard error, eV.
_MAX_SHIFT_ERROR = 0.1
# What is known of a model's error per atom before a structure is seen, eV: it counts as one structure.
_TYPICAL_ERROR = 0.01

_RANK_TOLERANCE = 1e-8

# Rounds after which reweighting is given up; some ten are needed.
_MAX_ROUNDS = 100


class NoResemblance(ValueError):
    """The source's predictions do not resemble the reference: the best energy scale is not positive."""


@dataclass(frozen=True)
class Term:
    """One kind of label: what is to be explained and by what.

    Args:
        rest: reference less what does not scale, shape (n,)
        parts: predictions at the source's energy scale by type, shape (n_types, n)
        total: sum of squares of the reference
    """

    rest: np.ndarray
    parts: np.ndarray
    total: float

    def unexplained(self, alpha: np.ndarray) -> float:
        """``Σ (x_ref − x)² / Σ x_ref²`` at energy scales of shape (n_types,)."""
        return float(np.sum((self.rest - alpha @ self.parts) ** 2) / self.total)


@dataclass(frozen=True)
class EnergyScaleFit:
    """Energy scales fitted to labels.

    Args:
        scales: α of each type, shape (n_types,)
        common: types that share one α, all that were fitted or none
    """

    scales: np.ndarray
    common: tuple[int, ...]


@dataclass(frozen=True)
class EnergyShiftFit:
    """Energy shifts fitted to energies.

    Args:
        shifts: μ of each type in eV, shape (n_types,)
        errors: standard error of each in eV, zero for a shift that was not fitted, shape (n_types,)
        rank: number of independent directions of composition that were fitted
        fitted: types that were to be fitted
        undetermined: those of them that some direction the data do not determine touches
    """

    shifts: np.ndarray
    errors: np.ndarray
    rank: int
    fitted: tuple[int, ...]
    undetermined: tuple[int, ...]


def make_terms(
    labels: Labels, fixed: Labels, parts: Mapping[LabelKind, np.ndarray], counts: np.ndarray
) -> dict[LabelKind, Term]:
    """What the fits explain, one term for each kind of label that says something.

    Args:
        labels: reference
        fixed: predictions that do not scale
        parts: of each kind, the predictions by type, the type axis first
        counts: atoms of each type in each structure, shape (n_frames, n_types)
    """
    found: dict[LabelKind, Term] = {}
    for kind in labels.kinds:
        reference, constant = labels.of(kind), fixed.of(kind)
        by_type = parts[kind].reshape(len(parts[kind]), *reference.shape)
        there = np.isfinite(reference) & np.isfinite(constant) & np.isfinite(by_type).all(axis=0)
        reference, rest, by_type = reference[there], (reference - constant)[there], by_type[:, there]
        if kind == "energy":
            reference, rest, by_type = (_beyond_composition(x, counts[there]) for x in (reference, rest, by_type))
        total = float(np.sum(reference**2))
        scale = np.sum((labels.of(kind)[there] / (counts[there].sum(axis=1) if kind == "energy" else 1)) ** 2)
        if len(rest) >= _LEAST_VALUES and total > _ROUNDING * scale and np.any(by_type):
            found[kind] = Term(rest, by_type, total)
    return found


def fit_energy_scales(
    terms: Mapping[LabelKind, Term], weights: Mapping[LabelKind, float], fixed: np.ndarray
) -> EnergyScaleFit:
    """α that minimises the objective: one per type where the labels determine it, else one for all those.

    Args:
        terms: of the kinds of labels there are
        weights: of the kinds, at least those of ``terms``
        fixed: types whose α stays one, shape (n_types,)

    Raises:
        NoResemblance: if the best α is not positive
    """
    free = np.flatnonzero(~fixed)
    scales = np.ones(len(fixed))
    if len(free) == 0 or not terms:
        return EnergyScaleFit(scales, ())
    rows = [
        (weights[kind], Term(term.rest - term.parts[fixed].sum(axis=0), term.parts[free], term.total))
        for kind, term in terms.items()
    ]
    if len(free) > 1:
        separate, errors = _reweighted_least_squares(rows)
        if np.all(errors < _MAX_RELATIVE_ERROR * separate):
            scales[free] = separate
            return EnergyScaleFit(scales, ())
    together = [(w, Term(t.rest, t.parts.sum(axis=0, keepdims=True), t.total)) for w, t in rows]
    common = float(_reweighted_least_squares(together)[0][0])
    if not common > 0:
        raise NoResemblance(
            f"`energy_scale: fit` found α = {common:.3g}: the source's {' and '.join(terms)} do not resemble those of "
            "the training structures at all, so this start is worth nothing. Choose another source type or length "
            "scale, or set `energy_scale: none` to go on regardless."
        )
    scales[free] = common
    return EnergyScaleFit(scales, tuple(free.tolist()))


def objective(terms: Mapping[LabelKind, Term], weights: Mapping[LabelKind, float], alpha: np.ndarray) -> float:
    """J of the module's head; 0 where nothing is explained, and ``ln δ`` where everything is."""
    parts = [weights[kind] * np.log(term.unexplained(alpha) + _SMALL) for kind, term in terms.items()]
    return float(np.sum(parts) / np.sum([weights[kind] for kind in terms]))


def fit_energy_shifts(energies: np.ndarray, counts: np.ndarray, start: np.ndarray, fixed: np.ndarray) -> EnergyShiftFit:
    """Least squares of per-atom energies on composition, as the smallest change from the starting shifts.

    A direction of composition along which the structures hardly differ would turn the model's errors into large
    shifts; it is left where it is unless the structures fix it to a tenth of an eV.

    Args:
        energies: reference energies less the model's with all shifts zero, eV, NaN where missing, shape (n_frames,)
        counts: atoms of each type in each frame, shape (n_frames, n_types)
        start: shifts to change as little as possible, eV, shape (n_types,)
        fixed: types whose shift stays, shape (n_types,)
    """
    there, free = np.isfinite(energies), np.flatnonzero(~fixed)
    shifts, errors = start.astype(float).copy(), np.zeros(len(start))
    if len(free) == 0 or not there.any():
        return EnergyShiftFit(shifts, errors, 0, tuple(free.tolist()), tuple(free.tolist()))
    fractions = counts[there] / counts[there].sum(axis=1, keepdims=True)
    residual = energies[there] / counts[there].sum(axis=1) - fractions @ start
    u, s, vt = np.linalg.svd(fractions[:, free], full_matrices=True)
    seen = int(np.sum(s > _RANK_TOLERANCE * s[0])) if s[0] > 0 else 0
    left = residual - u[:, :seen] @ (u[:, :seen].T @ residual)
    noise = np.sqrt((left @ left + _TYPICAL_ERROR**2) / (len(residual) - seen + 1))
    rank = int(np.sum(noise / s[:seen] <= _MAX_SHIFT_ERROR))  # singular values come in descending order
    rank = max(rank, min(seen, 1))  # the mean of what is left is always taken
    shifts[free] += vt[:rank].T @ ((u[:, :rank].T @ residual) / s[:rank])
    errors[free] = noise * np.sqrt(np.sum((vt[:rank] / s[:rank, None]) ** 2, axis=0))
    undetermined = free[(np.abs(vt[rank:]) > _RANK_TOLERANCE).any(axis=0)]
    return EnergyShiftFit(shifts, errors, rank, tuple(free.tolist()), tuple(undetermined.tolist()))


def composition_residual(energies: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Energies per atom less what composition explains, eV/atom, shape (n_frames,); NaN where energies are missing."""
    residual, there = np.full(len(energies), np.nan), np.isfinite(energies)
    if there.any():
        n_atoms = counts[there].sum(axis=1)
        per_atom, fractions = energies[there] / n_atoms, counts[there] / n_atoms[:, None]
        residual[there] = per_atom - fractions @ np.linalg.lstsq(fractions, per_atom, rcond=_RANK_TOLERANCE)[0]
    return residual


def _beyond_composition(energies: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Energies per atom less what composition explains, in the coordinates that are left, last axis (n_frames − rank,).

    Args:
        energies: total, eV, last axis (n_frames,)
    """
    per_atom = energies / counts.sum(axis=1)
    fractions = counts / counts.sum(axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(fractions, full_matrices=True)
    rank = int(np.sum(s > _RANK_TOLERANCE * s[0])) if len(s) and s[0] > 0 else 0
    return per_atom @ u[:, rank:]


def _reweighted_least_squares(rows: Sequence[tuple[float, Term]]) -> tuple[np.ndarray, np.ndarray]:
    """Minimum of ``Σ_k w_k ln(u_k(α) + δ)`` and standard errors, infinite where it is not unique.

    Each round solves the least squares that has the same slope, which cannot raise the objective (the logarithm is
    concave). Errors allow each kind of label a variance of its own.
    """
    factors = np.array([w / term.total for w, term in rows])
    grams = np.array([term.parts @ term.parts.T for _, term in rows])  # (n_kinds, n_types, n_types)
    moments = np.array([term.parts @ term.rest for _, term in rows])  # (n_kinds, n_types)
    normal = np.tensordot(factors, grams, axes=1)
    if np.linalg.matrix_rank(normal, hermitian=True, tol=None) < len(normal):
        solution = np.linalg.lstsq(normal, factors @ moments, rcond=None)[0]
        return solution, np.full(len(solution), np.inf)
    scaled = factors
    alpha = np.linalg.solve(normal, scaled @ moments)
    for _ in range(_MAX_ROUNDS):
        scaled = factors / (np.array([term.unexplained(alpha) for _, term in rows]) + _SMALL)
        normal = np.tensordot(scaled, grams, axes=1)
        previous, alpha = alpha, np.linalg.solve(normal, scaled @ moments)
        if np.allclose(alpha, previous, rtol=1e-10, atol=0):
            break
    inverse = np.linalg.inv(normal)
    variances = [term.unexplained(alpha) * term.total / max(len(term.rest) - len(alpha), 1) for _, term in rows]
    spread = np.tensordot(scaled**2 * np.array(variances), grams, axes=1)
    return alpha, np.sqrt(np.diag(inverse @ spread @ inverse))
