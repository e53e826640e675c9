"""Errors of predictions where there are labels, with intervals from a bootstrap over independent structures.

Percentiles of a bootstrap are too near to each other where structures are few: a resample of n spreads less than a
sample by √((n − 1)/n), and the spread itself is a guess (Hesterberg, arXiv:1411.5279, section 3.3). Their distances
from the estimate are therefore widened by √(n/(n − 1)) and by Student's t over the normal distribution's 1.96. Of four
structures, the interval then holds the mean in 9 of 10 cases instead of 3 of 4, for errors with a moderate tail.
Distances are those of logarithms: an error is positive, and so are the ends of its interval.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.structures.labels import Labels

_RESAMPLES = 1000
_CONFIDENCE = 0.95

# what mean absolute errors are called in the rows of a plan
MAE: dict[LabelKind, str] = {"forces": "force_mae", "energy": "energy_mae", "stress": "stress_mae"}


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Structures are resampled, not atoms: those of one structure are correlated. Copies of a structure count as one.
    """

    value: float
    low: float
    high: float


def milli_text(estimate: Estimate | None) -> str:
    """``85.5 [40.6, 117.2]`` of an estimate in eV and Å, in meV and Å; a dash for none."""
    if estimate is None:
        return "–"
    return f"{1000 * estimate.value:.1f} [{1000 * estimate.low:.1f}, {1000 * estimate.high:.1f}]"


def milli_lines(estimate: Estimate | None) -> tuple[str, ...]:
    """The same as two lines of a cell, the interval below the number and in whole numbers from a hundred on."""
    if estimate is None:
        return ("–",)
    places = 0 if 1000 * estimate.high >= 100 else 1
    interval = f"[{1000 * estimate.low:.{places}f}, {1000 * estimate.high:.{places}f}]"
    return f"{1000 * estimate.value:.1f}", interval


def label_error(
    kind: LabelKind,
    predicted: Labels,
    reference: Labels,
    counts: np.ndarray,
    *,
    families: np.ndarray | None = None,
    squared: bool = False,
) -> Estimate | None:
    """MAE of one kind of label, or RMSE: over energies per atom in eV, components of forces in eV/Å or of stresses in
    eV/Å³.

    Args:
        counts: atoms of each type in each frame, shape (n_frames, n_types)
        families: number of each frame's family, shape (n_frames,), of which copies share one; None if there are none

    Returns:
        None where nothing has both a label and a prediction
    """
    difference = predicted.of(kind) - reference.of(kind)
    if kind == "energy":
        difference = difference / counts.sum(axis=1)
    structure = structure_of_label(kind, counts)
    return mean_error(difference, structure if families is None else families[structure], squared=squared)


def mean_errors(
    predicted: Labels, reference: Labels, counts: np.ndarray, families: np.ndarray | None = None
) -> dict[str, Estimate | None]:
    """MAE of each kind of label, see :func:`label_error`, by its name in :data:`MAE`."""
    return {name: label_error(kind, predicted, reference, counts, families=families) for kind, name in MAE.items()}


def mean_error(difference: np.ndarray, structure: np.ndarray, *, squared: bool = False) -> Estimate | None:
    """Mean absolute value, or root mean square, of what is finite.

    Args:
        difference: first axis (n,)
        structure: that each belongs to, or its family, shape (n,)

    Returns:
        None where nothing is finite
    """
    rows = difference.reshape(len(difference), -1)
    there = np.isfinite(rows)
    values = np.where(there, np.abs(rows), 0.0) ** (2 if squared else 1)
    _, place = np.unique(structure, return_inverse=True)
    sums, weights = np.bincount(place, values.sum(axis=1)), np.bincount(place, there.sum(axis=1))
    if not weights.any():
        return None
    estimate = _ratio(sums[weights > 0], weights[weights > 0])
    return Estimate(*np.sqrt([estimate.value, estimate.low, estimate.high]).tolist()) if squared else estimate


def structure_of_label(kind: LabelKind, counts: np.ndarray) -> np.ndarray:
    """Index of the frame of each label of a kind: of each atom for forces, else of each frame."""
    return np.repeat(np.arange(len(counts)), counts.sum(axis=1) if kind == "forces" else 1)


def unexplained(predicted: Labels, reference: Labels, counts: np.ndarray) -> dict[LabelKind, float]:
    """``Σ (x − x_ref)² / Σ x_ref²`` of each kind of label: 0 for a perfect model, 1 for one that predicts nothing.

    Energies are those per atom that composition does not explain. A kind without labels, or whose labels are all zero,
    is left out.

    Args:
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """
    found: dict[LabelKind, float] = {}
    for kind in LABEL_KINDS:
        difference, label = predicted.of(kind) - reference.of(kind), reference.of(kind)
        if kind == "energy":
            difference, label = (fit.composition_residual(x, counts) for x in (difference, label))
        there = np.isfinite(difference) & np.isfinite(label)
        if (total := float(np.sum(label[there] ** 2))) > 0:
            found[kind] = float(np.sum(difference[there] ** 2) / total)
    return found


def _ratio(sums: np.ndarray, weights: np.ndarray) -> Estimate:
    """``Σ sums / Σ weights`` over structures, none negative, with a widened percentile bootstrap."""
    n, outside = len(sums), (1 - _CONFIDENCE) / 2
    value = float(sums.sum() / weights.sum())
    if n == 1:
        return Estimate(value, value, value)  # nothing is known of others
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)  # (n_resamples, n_structures)
    percentiles = np.quantile((drawn @ sums) / (drawn @ weights), [outside, 1 - outside])
    wider = np.sqrt(n / (n - 1)) * t.ppf(outside, n - 1) / norm.ppf(outside)
    if not percentiles[0]:  # most structures have no error at all
        return Estimate(value, 0.0, float(value + wider * (percentiles[1] - value)))
    low, high = value * (percentiles / value) ** wider
    return Estimate(value, float(low), float(high))
