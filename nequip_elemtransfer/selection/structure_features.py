"""Whole structures as rows of numbers: the source's invariant features at λ-corrected lengths, pooled over atoms."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from nequip.data import AtomicDataDict

from nequip_elemtransfer.structures.environments import descriptor_features, model_features
from nequip_elemtransfer.structures.frames import atom_types
from nequip_elemtransfer.transfer.start import Start

MEAN, MEAN_AND_SPREAD = "mean", "mean+spread"
POOLINGS = (MEAN, MEAN_AND_SPREAD)


def structure_features(
    start: Start, structures: Sequence[Atoms], pooling: str = MEAN_AND_SPREAD, task: str = ""
) -> tuple[np.ndarray, str]:
    """A row for each structure, and what the rows are made of: ``model``, or ``ACSF`` where the model has no such.

    The target model at λ sees a target structure as the source sees the same at 1/λ of its lengths.

    Args:
        pooling: ``mean`` over the atoms, or ``mean+spread``, which has their standard deviations too and so shows a
            few unusual atoms among many usual ones
        task: what a progress bar calls it; no bar if empty

    Returns:
        shape (n_structures, n_features)

    Raises:
        ValueError: see :meth:`.Start.frames`; or an unknown pooling
    """
    if pooling not in POOLINGS:
        raise ValueError(f"no pooling is called {pooling!r}: choose {' or '.join(POOLINGS)}.")
    model, cutoff = start.target.model_at(start.scales)
    frames = start.frames(structures, cutoff)
    rows, kind = model_features(model, frames, task), "model"
    if rows is None:
        scales = [float(start.scales[atom_types([frame])].mean()) for frame in frames]
        source_cutoff = start.target.source.r_max
        each = [descriptor_features([atoms], source_cutoff, scale) for atoms, scale in zip(structures, scales)]
        rows, kind = np.concatenate(each), "ACSF"
    ends = np.cumsum([AtomicDataDict.num_nodes(frame) for frame in frames])
    return np.array([_pooled(of_atoms, pooling) for of_atoms in np.split(rows, ends[:-1])]), kind


def _pooled(rows: np.ndarray, pooling: str) -> np.ndarray:
    mean = rows.mean(axis=0)
    return mean if pooling == MEAN else np.concatenate([mean, rows.std(axis=0)])
