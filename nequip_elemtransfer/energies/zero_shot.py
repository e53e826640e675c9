"""How good a start is before any training, after each step of the initialisation."""

from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.structures.labels import Labels


@dataclass(frozen=True)
class ZeroShot:
    """Errors on the training frames after one step of the initialisation, before any training.

    Args:
        step: what was done last
        force_mae: over force components, eV/Å, None without force labels
        force_rmse: likewise
        energy_mae: over energies per atom, eV/atom, None without energy labels
        energy_mae_refitted: the same with the energy shifts refitted, which makes the steps comparable
        stress_mae: over stress components, eV/Å³, None without stress labels
    """

    step: str
    force_mae: float | None
    force_rmse: float | None
    energy_mae: float | None
    energy_mae_refitted: float | None
    stress_mae: float | None = None


def zero_shot_ladder(
    before: NetworkParts,
    parts: NetworkParts,
    labels: Labels,
    alpha: np.ndarray,
    start_shifts: np.ndarray,
    shifts: np.ndarray,
) -> list[ZeroShot]:
    """Errors after each step of the initialisation.

    Args:
        before: predictions at the source's lengths
        parts: predictions at the target's lengths
        labels: of the same structures
        alpha: energy scales, shape (n_types,)
        start_shifts: energy shifts as they come from the source, eV, shape (n_types,)
        shifts: of the start, eV, shape (n_types,)
    """
    one = np.ones(len(alpha))
    steps = {
        "element map": before.predicted(one, start_shifts),
        "+ length scale": parts.predicted(one, start_shifts),
        "+ energy scale": parts.predicted(alpha, start_shifts),
        "+ energy shifts": parts.predicted(alpha, shifts),
    }
    return [zero_shot(step, predicted, labels, parts.counts) for step, predicted in steps.items()]


def zero_shot(step: str, predicted: Labels, labels: Labels, counts: np.ndarray) -> ZeroShot:
    """Errors of predictions against the labels there are.

    Args:
        step: what was done last
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """
    per_atom = (predicted.energies - labels.energies) / counts.sum(axis=1)
    force_error = predicted.forces - labels.forces
    return ZeroShot(
        step,
        force_mae=_mean(np.abs(force_error)),
        force_rmse=None if (square := _mean(force_error**2)) is None else float(np.sqrt(square)),
        energy_mae=_mean(np.abs(per_atom)),
        energy_mae_refitted=_mean(np.abs(fit.composition_residual(predicted.energies - labels.energies, counts))),
        stress_mae=_mean(np.abs(predicted.stresses - labels.stresses)),
    )


def _mean(values: np.ndarray) -> float | None:
    """Over what is not missing; None if nothing is there."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else None
