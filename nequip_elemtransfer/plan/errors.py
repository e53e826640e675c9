"""Errors of predictions, with intervals from a bootstrap over structures."""

from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer import fit
from nequip_elemtransfer.frames import Labels

_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. Structures are resampled, not atoms: those of one structure are correlated."""

    value: float
    low: float
    high: float


def milli_text(estimate: Estimate | None) -> str:
    """``85.5 [40.6, 117.2]`` of an estimate in eV or eV/Å; a dash for none."""
    if estimate is None:
        return "–"
    return f"{1000 * estimate.value:.1f} [{1000 * estimate.low:.1f}, {1000 * estimate.high:.1f}]"


def force_error(
    predicted: np.ndarray, reference: np.ndarray, structure: np.ndarray, *, squared: bool = False
) -> Estimate:
    """MAE over force components, or RMSE.

    Args:
        predicted, reference: eV/Å, shape (n_atoms, 3)
        structure: index of the structure of each atom, shape (n_atoms,)
    """
    error = np.abs(predicted - reference)
    per_atom = (error**2 if squared else error).sum(axis=1)
    _, place = np.unique(structure, return_inverse=True)
    estimate = _ratio(np.bincount(place, per_atom), 3.0 * np.bincount(place))
    return Estimate(*np.sqrt([estimate.value, estimate.low, estimate.high]).tolist()) if squared else estimate


def energy_error(predicted: np.ndarray, reference: np.ndarray, counts: np.ndarray) -> Estimate:
    """MAE of energies per atom, eV/atom.

    Args:
        predicted, reference: total energies in eV, shape (n_frames,)
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """
    error = np.abs(predicted - reference) / counts.sum(axis=1)
    return _ratio(error, np.ones(len(error)))


def structure_of_atoms(counts: np.ndarray) -> np.ndarray:
    """Index of the frame of each atom, shape (n_atoms,)."""
    return np.repeat(np.arange(len(counts)), counts.sum(axis=1))


def unexplained_force_variance(predicted: Labels, reference: Labels) -> float:
    """``Σ (F − F_ref)² / Σ F_ref²``: 0 for a perfect model, 1 for one that predicts no forces."""
    return float(np.sum((predicted.forces - reference.forces) ** 2) / np.sum(reference.forces**2))


def composition_baseline(train: np.ndarray, energies: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Energies that composition alone predicts, fitted on the frames ``train``, eV, shape (n_frames,)."""
    zero = np.zeros(counts.shape[1])
    return counts @ fit.fit_energy_shifts(energies[train], counts[train], zero, zero > 0).shifts


def _ratio(sums: np.ndarray, weights: np.ndarray) -> Estimate:
    """``Σ sums / Σ weights`` over structures, with a percentile bootstrap."""
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(
        len(sums), np.full(len(sums), 1 / len(sums)), size=_RESAMPLES
    )  # (n_resamples, n_structures)
    low, high = np.percentile((drawn @ sums) / (drawn @ weights), [2.5, 97.5])
    return Estimate(float(sums.sum() / weights.sum()), float(low), float(high))
