"""Energy scales α and energy shifts μ from a few labelled target structures, each kind of label in a unit-free measure.

The target's energy, forces and stress are linear in the per-type scales and shifts,

    E = E_0 + Σ_t α_t E_t + Σ_t n_t μ_t ,    F = F_0 + Σ_t α_t F_t ,    σ = σ_0 + Σ_t α_t σ_t ,

where ``E_t`` is the network energy of the atoms of type t at the source's scale and ``E_0`` what does not scale (a pair
potential, kept types). α minimises the objective of :mod:`.least_unexplained`; μ is a least squares of energies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from nequip_elemtransfer.energies.least_unexplained import Minimum, Term
from nequip_elemtransfer.structures.labels import LabelKind, Labels

# A scale whose standard error is above this part of it counts as undetermined.
_MAX_RELATIVE_ERROR = 0.1

# A kind with fewer independent values than this says nothing of λ and α.
_LEAST_VALUES = 2

# Squares below this part of the whole are rounding.
_ROUNDING = 1e-20

# An energy shift is fitted along directions of composition that the data fix to this standard error, eV.
_MAX_SHIFT_ERROR = 0.1
# What is known of a model's error per atom before a structure is seen, eV: it counts as one structure.
_TYPICAL_ERROR = 0.01

_RANK_TOLERANCE = 1e-8


class NoResemblance(ValueError):
    """The source's predictions do not resemble the reference: the best energy scale is not positive."""


@dataclass(frozen=True)
class EnergyScaleFit:
    """Energy scales fitted to labels.

    Args:
        scales: α of each type, shape (n_types,)
        common: types that share one α, all that were fitted or none
        errors: standard error of each α at its λ, zero for one that was not fitted, infinite where the structures do
            not tell, shape (n_types,)
        left_out: number of a structure -> the objective without it, α fitted again, NaN where the others do not
            determine α; empty where nothing was fitted
    """

    scales: np.ndarray
    common: tuple[int, ...]
    errors: np.ndarray
    left_out: dict[int, float]

    @classmethod
    def given(cls, scales: np.ndarray) -> "EnergyScaleFit":
        """Energy scales that were not fitted."""
        return cls(scales, (), np.zeros(len(scales)), {})


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
    labels: Labels,
    fixed: Labels,
    parts: Mapping[LabelKind, np.ndarray],
    counts: np.ndarray,
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
        label, constant = labels.of(kind), fixed.of(kind)
        by_type = parts[kind].reshape(len(parts[kind]), *label.shape)
        numbers = _structures(kind, counts).reshape(-1, *[1] * (label.ndim - 1))
        there = np.isfinite(label) & np.isfinite(constant) & np.isfinite(by_type).all(axis=0)
        n, scale = int(there.sum()), label[there]
        reference, rest, by_type = label[there], (label - constant)[there], by_type[:, there]
        if kind == "energy":
            n, scale = n - _rank(counts[there]), scale / counts[there].sum(axis=1)
            reference, rest, *of_types = (composition_residual(x, counts[there]) for x in (reference, rest, *by_type))
            by_type = np.array(of_types)
        if n >= _LEAST_VALUES and np.sum(reference**2) > _ROUNDING * np.sum(scale**2) and np.any(by_type):
            found[kind] = Term(reference, rest, by_type, np.broadcast_to(numbers, label.shape)[there])
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
    scales, errors = np.ones(len(fixed)), np.zeros(len(fixed))
    if len(free) == 0 or not terms:
        return EnergyScaleFit.given(scales)
    rows = [
        (weights[kind], replace(term, rest=term.rest - term.parts[fixed].sum(axis=0), parts=term.parts[free]))
        for kind, term in terms.items()
    ]
    if len(free) > 1:
        separate = Minimum.of(rows)
        if np.all(separate.errors < _MAX_RELATIVE_ERROR * separate.alpha):
            scales[free], errors[free] = separate.alpha, separate.errors
            return EnergyScaleFit(scales, (), errors, separate.left_out)
    common = Minimum.of([(w, replace(term, parts=term.parts.sum(axis=0, keepdims=True))) for w, term in rows])
    if not common.alpha[0] > 0:
        raise NoResemblance(
            f"`energy_scale: fit` found α = {common.alpha[0]:.3g}: the source's {_said(terms)} do not resemble "
            "those of the training structures at all, so this start is worth nothing. Choose another source type or "
            "length scale, or set `energy_scale: none` to go on regardless."
        )
    scales[free], errors[free] = common.alpha[0], common.errors[0]
    return EnergyScaleFit(scales, tuple(free.tolist()), errors, common.left_out)


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


def _structures(kind: LabelKind, counts: np.ndarray) -> np.ndarray:
    """Number of the structure of each atom for forces, else of each structure."""
    numbers = np.arange(len(counts))
    return np.repeat(numbers, counts.sum(axis=1)) if kind == "forces" else numbers


def _rank(counts: np.ndarray) -> int:
    """Number of independent compositions."""
    fractions = counts / counts.sum(axis=1, keepdims=True)
    singular = np.linalg.svd(fractions, compute_uv=False)
    return int(np.sum(singular > _RANK_TOLERANCE * singular[0])) if len(fractions) else 0


def _said(kinds: Iterable[str]) -> str:
    """Kinds of labels as a sentence names them."""
    names = {"energy": "energies", "stress": "stresses"}
    return " and ".join(names.get(kind, kind) for kind in kinds)
