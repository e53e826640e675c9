"""Structures as NequIP gives them to a model: the training frames of a config, and their neighbour lists."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase.data import chemical_symbols
from hydra.utils import instantiate
from nequip.data import AtomicDataDict, compute_neighborlist_, get_field_type
from nequip.data.datamodule import NequIPDataModule
from nequip.data.dataset import AtomicDataset
from nequip.nn import with_edge_vectors_
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.nequip_names import untransformed
from nequip_elemtransfer.structures.checks import check_atoms, check_distances, check_frame, check_whole_file

# More frames than this say nothing new about one number per type, and would be paid for at every start.
MAX_FRAMES = 200

logger = RankedLogger(__name__, rank_zero_only=True)


def training_frames(data: dict, type_names: Sequence[str]) -> list[AtomicDataDict.Type]:
    """The training frames of a NequIP ``data:`` section, evenly spaced if there are more than ``MAX_FRAMES``.

    Args:
        data: the section with all interpolations resolved
        type_names: of the target model

    Raises:
        FileNotFoundError: if a file is not there
        UnusableStructure: if one is damaged
        ValueError: if there are none, or a species is not mapped
    """
    with _set_up(data) as datamodule:
        dataset = datamodule.train_dataset[0]
        frames = _frames(dataset, type_names, "training", MAX_FRAMES)
    if not frames:
        raise ValueError("the training set of `data` is empty: the start of a transfer is fitted to its structures.")
    if len(dataset) > MAX_FRAMES:
        logger.info(f"The start is fitted on {MAX_FRAMES} of {len(dataset)} training frames, evenly spaced.")
    return frames


def trained_and_validated(
    data: dict, type_names: Sequence[str], limit: int
) -> tuple[list[AtomicDataDict.Type], list[AtomicDataDict.Type]]:
    """The training frames of a NequIP ``data:`` section, and the frames of all its validation sets.

    Args:
        data, type_names: as for :func:`training_frames`
        limit: at most so many of each set, evenly spaced

    Raises:
        FileNotFoundError, UnusableStructure, ValueError: as of :func:`training_frames`
    """
    with _set_up(data) as datamodule:
        trained = _frames(datamodule.train_dataset[0], type_names, "training", limit)
        sets = [_frames(dataset, type_names, "validation", limit) for dataset in datamodule.val_dataset]
    return trained, [frame for frames in sets for frame in frames]


@contextmanager
def _set_up(data: dict) -> Iterator[NequIPDataModule]:
    """The datamodule of a section, with its files read."""
    for file in _training_files(data):
        if str(data.get("_target_")).endswith(".ASEDataModule") and not os.path.isfile(file):
            raise FileNotFoundError(
                f"`data.train_file_path` names {file!r}, which is not a file (relative paths start from {Path.cwd()})."
            )
        check_whole_file(file)
    datamodule = instantiate(data, _recursive_=False)
    if not isinstance(datamodule, NequIPDataModule):
        raise ValueError(f"`data._target_` is {data.get('_target_')!r}, which is no NequIP datamodule.")
    try:
        datamodule.prepare_data()
        datamodule.setup(stage="fit")
    except (AssertionError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        _name_damaged_structure(data)  # NequIP says what is wrong, and not where
        raise
    try:
        yield datamodule
    finally:
        datamodule.teardown(stage="fit")


def evenly_spaced(n: int, limit: int) -> np.ndarray:
    """Indices of at most ``limit`` of n items, evenly spaced, the first and the last among them."""
    return np.linspace(0, n - 1, min(n, limit)).round().astype(int)


def compositions(frames: Sequence[AtomicDataDict.Type], n_types: int) -> np.ndarray:
    """Number of atoms of each type in each frame, shape (n_frames, n_types)."""
    return np.array([np.bincount(_types(f), minlength=n_types) for f in frames])


def atom_types(frames: Sequence[AtomicDataDict.Type]) -> np.ndarray:
    """Type index of each atom of all frames, shape (n_atoms,)."""
    return np.concatenate([_types(f) for f in frames])


def require_edges(frames: Sequence[AtomicDataDict.Type], cutoffs: np.ndarray) -> None:
    """Check that the neighbour lists in the data reach as far as the model.

    Args:
        frames: as the datamodule makes them
        cutoffs: of each pair of types in Å, shape (n_types, n_types)

    Raises:
        ValueError: with both radii
    """
    for frame in frames:
        needed = _edge_lengths_inside(with_neighbors(frame, cutoffs.max()), cutoffs)
        found = _edge_lengths_inside(frame, cutoffs)
        if len(found) < len(needed):
            reach = f"none beyond {found.max():.3f} Å" if len(found) else "none at all"
            if cutoffs.max() > (half := _smallest_height(frame) / 2):
                reach += f"; half the smallest cell height is {half:.3f} Å, so a neighbour counts in several images"
            raise ValueError(
                f"the data's neighbour lists lack {len(needed) - len(found)} edges that a model with "
                f"r_max = {cutoffs.max():.3f} Å needs ({reach}): "
                "set `r_max: ${element_transfer:r_max}` in the NeighborListTransform of `data`."
            )


def with_neighbors(frame: AtomicDataDict.Type, r_max: float) -> AtomicDataDict.Type:
    """The frame with a neighbour list of cutoff ``r_max`` in Å in place of its own."""
    return compute_neighborlist_(without_edges(frame), float(r_max))


def without_edges(frame: AtomicDataDict.Type) -> AtomicDataDict.Type:
    """The frame without its neighbour list, and all that is of its edges."""
    return {
        name: value
        for name, value in frame.items()
        if name not in (AtomicDataDict.EDGE_INDEX_KEY, AtomicDataDict.EDGE_TRANSPOSE_PERM_KEY)
        and get_field_type(name, error_on_unregistered=False) != "edge"
    }


def _types(frame: AtomicDataDict.Type) -> np.ndarray:
    return frame[AtomicDataDict.ATOM_TYPE_KEY].reshape(-1).numpy()


def _frames(dataset: Any, type_names: Sequence[str], kind: str, limit: int) -> list[AtomicDataDict.Type]:
    return [_frame(dataset, int(i), type_names, kind) for i in evenly_spaced(len(dataset), limit)]


def _frame(dataset: torch.utils.data.Dataset, index: int, type_names: Sequence[str], kind: str) -> AtomicDataDict.Type:
    try:
        frame = dataset[index]
    except KeyError as error:
        # NequIP's species mapper says neither which structure nor which element
        raise ValueError(
            f"{kind} structure {index} holds {_species(dataset, index)}, not all of them in `elements` "
            f"({', '.join(type_names)}) and known to the data's ChemicalSpeciesToAtomTypeMapper: add the missing to "
            f"`elements` or leave the structure out. ({error.args[0]})"
        ) from error
    if AtomicDataDict.ATOM_TYPE_KEY not in frame or _types(frame).max() >= len(type_names):
        raise ValueError(
            f"{kind} structure {index} has atom types outside the {len(type_names)} of `elements`: add a "
            "ChemicalSpeciesToAtomTypeMapper with `model_type_names: ${element_transfer:type_names}` to `data`."
        )
    check_frame(frame, f"{kind} structure {index}")
    if AtomicDataDict.EDGE_INDEX_KEY in frame:
        check_distances(edge_lengths(frame), frame[AtomicDataDict.EDGE_INDEX_KEY].numpy(), f"{kind} structure {index}")
    return frame


def _name_damaged_structure(data: dict) -> None:
    """Look for a structure that cannot be used in the files that a ``data:`` section trains on.

    Raises:
        UnusableStructure: naming it
    """
    for file in filter(os.path.isfile, _training_files(data)):
        for index, atoms in enumerate(ase.io.iread(file, ":")):
            check_atoms(atoms, f"structure {index} of {file}")


def _training_files(data: dict) -> list[str]:
    """The files that a ``data:`` section names for training."""
    files = data.get("train_file_path") or []
    files = files if isinstance(files, list) else [files]
    return [file for file in files if isinstance(file, str)]


def _species(dataset: torch.utils.data.Dataset, index: int) -> str:
    """Chemical symbols in a structure as it is before the data's transforms."""
    while isinstance(dataset, torch.utils.data.Subset):
        dataset, index = dataset.dataset, int(dataset.indices[index])
    if not isinstance(dataset, AtomicDataset):
        return "several elements"
    raw = untransformed(dataset, index)
    return ", ".join(chemical_symbols[z] for z in sorted(set(raw[AtomicDataDict.ATOMIC_NUMBERS_KEY].tolist())))


def _smallest_height(frame: AtomicDataDict.Type) -> float:
    """Smallest distance in Å between opposite faces of the cell along its periodic directions, infinite without any."""
    if AtomicDataDict.CELL_KEY not in frame or AtomicDataDict.PBC_KEY not in frame:
        return float("inf")
    cell, periodic = frame[AtomicDataDict.CELL_KEY].reshape(3, 3), frame[AtomicDataDict.PBC_KEY].reshape(3)
    if not periodic.any():
        return float("inf")
    # rows of the inverse's transpose are normal to the faces, of length one over the height
    heights = 1 / torch.linalg.norm(torch.linalg.inv(cell).T, dim=1)
    return float(heights[periodic].min())


def edge_lengths(frame: AtomicDataDict.Type) -> np.ndarray:
    """Lengths in Å of a frame's edges, shape (n_edges,); none without a neighbour list."""
    if AtomicDataDict.EDGE_INDEX_KEY not in frame:
        return np.array([])
    edges = with_edge_vectors_(frame.copy(), with_lengths=True)
    return edges[AtomicDataDict.EDGE_LENGTH_KEY].reshape(-1).numpy()


def isolated_atoms(frames: Sequence[AtomicDataDict.Type], r_max: float) -> list[int]:
    """Indices of the frames that hold one atom and no neighbour within ``r_max`` in Å, periodic images included."""
    return [
        i
        for i, frame in enumerate(frames)
        if len(frame[AtomicDataDict.POSITIONS_KEY]) == 1
        and with_neighbors(frame, r_max)[AtomicDataDict.EDGE_INDEX_KEY].shape[1] == 0
    ]


def _edge_lengths_inside(frame: AtomicDataDict.Type, cutoffs: np.ndarray) -> np.ndarray:
    """Lengths in Å of the edges inside their pair's cutoff."""
    lengths = edge_lengths(frame)
    if not len(lengths):
        return lengths
    center, neighbor = _types(frame)[frame[AtomicDataDict.EDGE_INDEX_KEY].numpy()]
    # an edge at the cutoff counts for nothing, so rounding there must not count either
    return lengths[lengths < cutoffs[center, neighbor] * (1 - 1e-6)]
