r"""Whether each structure resembles the others.

The environments of all structures (:mod:`.environments`, the descriptor) are standardised and projected
on the principal components that hold 99 % of the variance. In that space, with equal environments of one structure
counted once,

- an environment's *spacing* is its distance to the nearest other one, of its own structure or not,
- an environment's *gap* is its distance to the nearest one of another structure that is no copy of its own,
- it is *uncovered* if its gap is above 99 % of the spacings of the other structures.

So of evenly sampled data about one environment in a hundred is uncovered. A structure most of whose environments are
uncovered is alone: leave it out, and the rest says nothing about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from nequip_elemtransfer.structures.environments import Environments

_VARIANCE = 0.99
_COVERED = 0.99
_EQUAL = 4  # decimals in units of the standard deviation
_MIN_STRUCTURES = 3  # for coverage: one, and others with distances among them


@dataclass(frozen=True)
class StructureCoverage:
    """Coverage of one structure by the others.

    Args:
        structure: index in the list
        uncovered: part of its environments that is
        gap: median gap of its environments, in units of the median spacing of all
    """

    structure: int
    uncovered: float
    gap: float


@dataclass(frozen=True)
class Coverage:
    """How far environments are from those of other structures, see the module's text.

    Args:
        n_environments: different ones compared
        n_components: principal components
        uncovered: part of the environments that is
        structures: the least covered first
    """

    n_environments: int
    n_components: int
    uncovered: float
    structures: tuple[StructureCoverage, ...]


def coverage(environments: Environments, families: Sequence[int]) -> Coverage | None:
    """How well each structure's environments are covered by the others; see the module's text.

    Args:
        environments: of all structures
        families: number of each structure's group of copies

    Returns:
        None if fewer than three independent structures have environments
    """
    points = _principal_components(environments.features)
    keyed = np.column_stack([environments.structure, np.round(points, _EQUAL)])
    kept = np.sort(np.unique(keyed, axis=0, return_index=True)[1])
    points, structure = points[kept], environments.structure[kept]
    family = np.asarray(families)[structure]
    if len(np.unique(family)) < _MIN_STRUCTURES:
        return None
    spacing = cKDTree(points).query(points, k=2)[0][:, 1]
    gap, uncovered = np.zeros(len(points)), np.zeros(len(points), dtype=bool)
    for one in np.unique(family):
        own = family == one
        gap[own] = cKDTree(points[~own]).query(points[own])[0]
        uncovered[own] = gap[own] > np.quantile(spacing[~own], _COVERED)
    unit = float(np.median(spacing)) or 1.0
    rows = [
        StructureCoverage(int(i), float(uncovered[structure == i].mean()), float(np.median(gap[structure == i]) / unit))
        for i in np.unique(structure)
    ]
    rows.sort(key=lambda row: (-row.uncovered, -row.gap))
    return Coverage(len(points), points.shape[1], float(uncovered.mean()), tuple(rows))


def _principal_components(features: np.ndarray) -> np.ndarray:
    """Standardised features on the components that hold most of the variance, shape (n_environments, n_components)."""
    spread = features.std(axis=0)
    varying = spread > 1e-12 * np.abs(features).max(axis=0, initial=0)
    if not varying.any():
        return np.zeros((len(features), 1))
    standard = (features[:, varying] - features[:, varying].mean(axis=0)) / spread[varying]
    left, values, _ = np.linalg.svd(standard, full_matrices=False)
    held = np.cumsum(values**2) / np.sum(values**2)
    n = int(np.searchsorted(held, _VARIANCE)) + 1
    return left[:, :n] * values[:n]
