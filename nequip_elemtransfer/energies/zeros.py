"""Stresses of exactly zero where the start clearly predicts otherwise: placeholders that a file alone does not show."""

from collections.abc import Sequence

import numpy as np

from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.structures.labels import Labels
from nequip_elemtransfer.structures.words import listed

# A zero is doubted where the start predicts this many times its own error on the others, and this much in eV/Å³.
_ERRORS, _LEAST_STRESS = 5.0, 0.002

_LEAST_STRUCTURES = 4


def doubtful_zero_stresses(
    parts: NetworkParts, labels: Labels, alpha: np.ndarray, mu: np.ndarray, places: Sequence[int] | None = None
) -> list[str]:
    """A sentence where stresses are exactly zero, and the start predicts far more than it is wrong by elsewhere.

    Args:
        parts: predictions at the target's lengths
        labels: of the same structures, stresses in eV/Å³
        alpha, mu: of the start, each of shape (n_types,), μ in eV
        places: of the structures in their file; as they come by default
    """
    predicted, stresses = parts.predicted(alpha, mu).stresses, labels.stresses
    known = np.isfinite(stresses).all(axis=(1, 2)) & np.isfinite(predicted).all(axis=(1, 2))
    zero = known & (stresses == 0).all(axis=(1, 2))
    others = known & ~zero
    if not zero.any() or others.sum() < _LEAST_STRUCTURES:
        return []
    error = float(np.sqrt(np.mean((predicted[others] - stresses[others]) ** 2)))
    sizes = np.sqrt(np.mean(predicted**2, axis=(1, 2)))
    doubtful = np.flatnonzero(zero & (sizes > max(_LEAST_STRESS, _ERRORS * error)))
    if not len(doubtful):
        return []
    numbers = [int(i if places is None else places[i]) for i in doubtful.tolist()]
    says = 1000 * float(np.median(sizes[doubtful]))
    return [
        f"{len(doubtful)} of {known.sum()} stresses ({listed(numbers)}) are exactly 0, where the start predicts "
        f"{says:.3g} meV/Å³ and is wrong by {1000 * error:.3g} on the others: if they stand for missing ones, write "
        "NaN in their place, or leave all stresses out with `--key stress=`. They took part in the fits."
    ]
