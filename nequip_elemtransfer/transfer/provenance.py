"""What a checkpoint keeps of the transfer that made its model, as plain data."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from nequip.utils import get_current_code_versions

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.energies.fit import EnergyScaleFit, EnergyShiftFit
from nequip_elemtransfer.energies.zero_shot import ZeroShot
from nequip_elemtransfer.lengths.choice import LengthChoice
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.mapping.per_type import TensorReport
from nequip_elemtransfer.source import SourceModel


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


def provenance_of(
    config: TransferConfig,
    source: SourceModel,
    element_map: ElementMap,
    lengths: LengthChoice,
    r_max: float,
    scale_fit: EnergyScaleFit,
    shift_fit: EnergyShiftFit,
    sigma: np.ndarray,
    labels: LabelCount,
    tensors: Sequence[TensorReport],
    ladder: Sequence[ZeroShot],
) -> dict[str, Any]:
    """Plain data for the checkpoint, all but the digest of the weights.

    Args:
        r_max: of the target, Å
        sigma: energy scale of each target type, shape (n_types,)
    """
    types = element_map.target_types
    potential = source.architecture.get("pair_potential")
    return {
        "source": source.path,
        "sha256": source.sha256,
        "elements": element_map.describe(),
        "chemical_species": dict(config.chemical_species),
        "length_scale": {
            "setting": config.length_scale,
            **_length_record(lengths, types),
            "r_max": {"source": source.r_max, "target": r_max},
        },
        "energy_scale": {
            "setting": config.energy_scale,
            "per_type": _by_type(types, scale_fit.scales),
            "errors": known_errors(types, scale_fit.errors),
            "common_to": [types[i] for i in scale_fit.common],
            "per_type_energy_scales": _by_type(types, sigma),
        },
        "energy_shifts": {
            "setting": config.energy_shifts,
            "per_type": _by_type(types, shift_fit.shifts),
            "errors": _by_type(types, shift_fit.errors),
            "rank": shift_fit.rank,
            "fitted_types": [types[i] for i in shift_fit.fitted],
            "undetermined_types": [types[i] for i in shift_fit.undetermined],
        },
        "pair_potential": None if potential is None else str(potential["_target_"]).rpartition(".")[2],
        "fit_weights": dict(config.fit_weights),
        "n_frames": labels.n_frames,
        "missing_labels": labels.missing,
        "isolated_atoms": list(labels.isolated),
        "tensors": [asdict(r) | {"shape": list(r.shape)} for r in tensors],
        "zero_shot": [asdict(row) for row in ladder],
        "versions": get_current_code_versions(verbose=False),
    }


def _length_record(lengths: LengthChoice, types: Sequence[str]) -> dict[str, Any]:
    radii = lengths.covalent_radii
    return {
        "per_type": _by_type(types, lengths.scales),
        "errors": known_errors(types, lengths.errors),
        "decided_by": lengths.decided_by,
        "by_kind": {kind: _by_type(types, scales) for kind, scales in lengths.by_kind.items()},
        "covalent_radii": None if radii is None else _by_type(types, radii),
    }


def _by_type(types: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return dict(zip(types, np.asarray(values, dtype=float).tolist()))


def known_errors(types: Sequence[str], errors: np.ndarray) -> dict[str, float | None]:
    """Standard errors by type, None where the structures do not tell one, as in a record.

    Args:
        errors: infinite where they do not, shape (n_types,)
    """
    return {t: error if math.isfinite(error) else None for t, error in zip(types, errors.tolist())}


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 over names and values, in order."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
