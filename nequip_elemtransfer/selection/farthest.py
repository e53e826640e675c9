"""Farthest-point selection: each choice is the structure that is farthest from all that was chosen before."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from nequip_elemtransfer.optional_packages import extra


@dataclass(frozen=True)
class FarthestPoints:
    """Rows in the order of their choice.

    Args:
        order: indices of the rows
        distances: of each from those chosen before, infinite for a first one
        left: distance of each row from the nearest that is chosen or was there before
    """

    order: list[int]
    distances: list[float]
    left: np.ndarray


def standardised(features: np.ndarray) -> np.ndarray:
    """Features centred and divided by one number, the root of their variance in all: how much each varies counts."""
    centred = features - features.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=1).mean())
    return centred / scale if scale > 0 else centred


def farthest_points(features: np.ndarray, number: int, already: Sequence[int] = ()) -> FarthestPoints:
    """Choose rows by scikit-matter's farthest-point sampling.

    Without ``already``, the first choice is the row nearest to the mean: the most usual.

    Args:
        features: :func:`standardised`, shape (n, n_features)
        number: of rows to choose
        already: rows that count as chosen

    Raises:
        ModuleNotFoundError: scikit-matter is not installed
    """
    with extra("select", "a selection"):
        from skmatter.sample_selection import FPS
    first = list(already) or [int(np.argmin((features**2).sum(axis=1)))]
    if len(features) == 1:  # one row or one column scikit-matter refuses
        return FarthestPoints(first, [np.inf], np.zeros(1))
    padded = np.column_stack([features, np.zeros(len(features))])
    chosen = FPS(n_to_select=len(already) + number, initialize=first).fit(padded).selected_idx_.tolist()
    distances = cdist(features, features[chosen])  # (n, n_chosen)
    places = range(len(already), len(chosen))
    before = [float(min(distances[chosen[place], :place], default=np.inf)) for place in places]
    return FarthestPoints(chosen[len(already) :], before, distances.min(axis=1))


def random_reaches(features: np.ndarray, number: int, already: Sequence[int], draws: int, seed: int = 0) -> np.ndarray:
    """Largest distance of a row from the nearest chosen one where as many are drawn at random; shape (draws,)."""
    rng, free = np.random.default_rng(seed), np.setdiff1d(np.arange(len(features)), already)
    drawn = [[*already, *rng.choice(free, number, replace=False)] for _ in range(draws)]
    return np.array([cdist(features, features[rows]).min(axis=1).max() for rows in drawn])
