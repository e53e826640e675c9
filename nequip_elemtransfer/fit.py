"""Energy scales α, energy shifts μ and length scale λ from a few labelled target structures.

The target's energy is linear in the per-type scales and shifts,

    E = E_0 + Σ_t α_t E_t + Σ_t n_t μ_t ,    F = F_0 + Σ_t α_t F_t ,

where ``E_t`` is the network energy of the atoms of type t at the source's scale and ``E_0`` what does not scale (a pair
potential, kept types). So α and μ are least squares, and λ a bounded one-dimensional search with both eliminated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from nequip_elemtransfer.frames import Labels

# A scale whose standard error is above this part of it counts as undetermined.
_MAX_RELATIVE_ERROR = 0.1

# How far λ is searched on either side of its first guess, and to what precision.
LENGTH_RANGE = (0.8, 1.25)
_LENGTH_TOLERANCE = 2e-3

_RANK_TOLERANCE = 1e-8

# Energies whose squares are below this part of the whole are rounding.
_ROUNDING = 1e-20

# Value of the length objective where not even the sign of the forces agrees: nothing is explained.
NO_RESEMBLANCE = 2.0


@dataclass(frozen=True)
class EnergyScaleFit:
    """Energy scales fitted to forces.

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
        rank: of the composition matrix of the fitted types
        fitted: types that were to be fitted
        undetermined: those of them that some direction the data do not determine touches
    """

    shifts: np.ndarray
    rank: int
    fitted: tuple[int, ...]
    undetermined: tuple[int, ...]


def fit_energy_scales(forces: np.ndarray, parts: np.ndarray, fixed: np.ndarray) -> EnergyScaleFit:
    """``α = argmin ‖F − Σ_t α_t F_t‖²``, one α per type where the forces determine it, else one for all those.

    Args:
        forces: reference forces less what does not scale, any shape (n,)
        parts: forces F_t at the source's scale, shape (n_types, n)
        fixed: types whose α stays one, shape (n_types,)

    Raises:
        ValueError: if the best α is not positive: the source's forces do not resemble the reference
    """
    scales = np.ones(len(parts))
    free = np.flatnonzero(~fixed)
    if len(free) == 0:
        return EnergyScaleFit(scales, ())
    rest = forces - parts[fixed].sum(axis=0)
    separate, errors = _least_squares(parts[free].T, rest)
    if len(free) > 1 and np.all(errors < _MAX_RELATIVE_ERROR * separate):
        scales[free] = separate
        return EnergyScaleFit(scales, ())
    scales[free] = _common_scale(rest, parts[free].sum(axis=0))
    return EnergyScaleFit(scales, tuple(free.tolist()))


def fit_energy_shifts(
    energies: np.ndarray, counts: np.ndarray, start: np.ndarray, fixed: np.ndarray
) -> EnergyShiftFit:
    """Least squares of per-atom energies on composition, as the smallest change from the starting shifts.

    Args:
        energies: reference energies less the model's with all shifts zero, eV, shape (n_frames,)
        counts: atoms of each type in each frame, shape (n_frames, n_types)
        start: shifts to change as little as possible, eV, shape (n_types,)
        fixed: types whose shift stays, shape (n_types,)
    """
    n_atoms = counts.sum(axis=1, keepdims=True)
    fractions = counts / n_atoms
    residual = energies / n_atoms[:, 0] - fractions @ start
    free = np.flatnonzero(~fixed)
    shifts = start.astype(float).copy()
    if len(free) == 0:
        return EnergyShiftFit(shifts, 0, (), ())
    change, _, rank, _ = np.linalg.lstsq(fractions[:, free], residual, rcond=_RANK_TOLERANCE)
    shifts[free] += change
    # directions no energy depends on are the right singular vectors beyond the rank
    unseen = np.linalg.svd(fractions[:, free], full_matrices=True)[2][rank:]
    undetermined = free[(np.abs(unseen) > _RANK_TOLERANCE).any(axis=0)]
    return EnergyShiftFit(shifts, int(rank), tuple(free.tolist()), tuple(undetermined.tolist()))


def length_objective(labels: Labels, predicted: Labels, counts: np.ndarray) -> float:
    """What the fitted λ minimises: the unexplained parts of the forces and of the energies per atom, added.

    Forces alone fix λ poorly: near the best one their error is flat, while energies still change.

    Args:
        labels: reference; energies may be missing
        predicted: by the model at the best α
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """
    unexplained = np.sum((labels.forces - predicted.forces) ** 2) / np.sum(labels.forces**2)
    if labels.energies is None or len(counts) <= counts.shape[1]:
        return float(unexplained)
    spread = composition_residual(labels.energies, counts)
    error = composition_residual(labels.energies - predicted.energies, counts)
    variance = np.sum(spread**2)
    if variance <= _ROUNDING * np.sum((labels.energies / counts.sum(axis=1)) ** 2):
        return float(unexplained)  # composition explains the energies
    return float(unexplained + np.sum(error**2) / variance)


def fit_length_scale(objective: Callable[[float], float], bounds: Sequence[float]) -> tuple[float, bool]:
    """The λ of least objective, and whether it lies inside the bounds rather than at an edge."""
    found = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": _LENGTH_TOLERANCE})
    margin = 3 * _LENGTH_TOLERANCE
    return float(found.x), bounds[0] + margin < found.x < bounds[1] - margin


def composition_residual(energies: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Energies per atom less what composition explains, eV/atom, shape (n_frames,)."""
    zero = np.zeros(counts.shape[1])
    shifts = fit_energy_shifts(energies, counts, zero, zero > 0).shifts
    return (energies - counts @ shifts) / counts.sum(axis=1)


def _common_scale(forces: np.ndarray, model: np.ndarray) -> float:
    norm = float(model @ model)
    scale = float(forces @ model) / norm if norm > 0 else 0.0
    if not scale > 0:
        raise ValueError(
            f"`energy_scale: fit` found α = {scale:.3g}: the source's forces do not resemble those of the training "
            "structures at all, so this start is worth nothing. Choose another source type or length scale, or set "
            "`energy_scale: none` to go on regardless."
        )
    return scale


def _least_squares(matrix: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solution of ``matrix @ x = values`` and its standard errors, infinite where it is not unique."""
    solution, _, rank, _ = np.linalg.lstsq(matrix, values, rcond=None)
    if rank < matrix.shape[1]:
        return solution, np.full(len(solution), np.inf)
    residual = values - matrix @ solution
    variance = float(residual @ residual) / max(len(values) - len(solution), 1)
    return solution, np.sqrt(variance * np.diag(np.linalg.inv(matrix.T @ matrix)))
