"""The record of a transfer, from its parts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nequip_elemtransfer.checkpoints.record import (
    Cutoffs,
    EnergyScaleRecord,
    EnergyShiftRecord,
    LengthRecord,
    known_errors,
)
from nequip_elemtransfer.config import Setting
from nequip_elemtransfer.energies.fit import EnergyScaleFit, EnergyShiftFit
from nequip_elemtransfer.lengths.choice import LengthChoice


@dataclass(frozen=True)
class LabelCount:
    """The structures a start was fitted to.

    Args:
        n_frames: number of structures
        missing: number of those that lack each kind of label, isolated atoms not counted
        isolated: indices of those that are isolated atoms, which no fit used
    """

    n_frames: int
    missing: dict[str, int]
    isolated: Sequence[int]


def length_record(setting: Setting, lengths: LengthChoice, types: Sequence[str], cutoffs: Cutoffs) -> LengthRecord:
    """λ by type, and what decided it.

    Args:
        setting: the key's
        types: of the target
    """
    radii = lengths.covalent_radii
    return LengthRecord(
        setting,
        _by_type(types, lengths.scales),
        cutoffs,
        known_errors(types, lengths.errors.tolist()),
        lengths.decided_by,
        {kind: _by_type(types, scales) for kind, scales in lengths.by_kind.items()},
        None if radii is None else _by_type(types, radii),
    )


def energy_scale_record(
    setting: Setting, found: EnergyScaleFit, types: Sequence[str], sigma: np.ndarray
) -> EnergyScaleRecord:
    """α by type, and the resulting ``per_type_energy_scales``.

    Args:
        setting: the key's
        types: of the target
        sigma: energy scale of each target type, shape (n_types,)
    """
    return EnergyScaleRecord(
        setting,
        _by_type(types, found.scales),
        [types[i] for i in found.common],
        known_errors(types, found.errors.tolist()),
        _by_type(types, sigma),
    )


def energy_shift_record(setting: Setting, found: EnergyShiftFit, types: Sequence[str]) -> EnergyShiftRecord:
    """μ by type in eV.

    Args:
        setting: the key's
        types: of the target
    """
    return EnergyShiftRecord(
        setting,
        _by_type(types, found.shifts),
        found.rank,
        [types[i] for i in found.fitted],
        [types[i] for i in found.undetermined],
        known_errors(types, found.errors.tolist()),
    )


def _by_type(types: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return dict(zip(types, np.asarray(values, dtype=float).tolist()))


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 over names and values, in order."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
