"""What a checkpoint keeps of the transfer that made its model, as plain data."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from nequip.utils import get_current_code_versions

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.element_map import ElementMap
from nequip_elemtransfer.fit import EnergyScaleFit, EnergyShiftFit
from nequip_elemtransfer.length_choice import LengthChoice
from nequip_elemtransfer.remap import TensorReport
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.zero_shot import ZeroShot


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

    def by_type(values: np.ndarray) -> dict[str, float]:
        return dict(zip(types, np.asarray(values, dtype=float).tolist()))

    return {
        "source": source.path,
        "sha256": source.sha256,
        "elements": element_map.describe(),
        "chemical_species": dict(config.chemical_species),
        "length_scale": {
            "setting": config.length_scale,
            "per_type": by_type(lengths.scales),
            "decided_by": lengths.decided_by,
            "by_kind": {kind: by_type(scales) for kind, scales in lengths.by_kind.items()},
            "covalent_radii": None if lengths.covalent_radii is None else by_type(lengths.covalent_radii),
            "r_max": {"source": source.r_max, "target": r_max},
        },
        "energy_scale": {
            "setting": config.energy_scale,
            "per_type": by_type(scale_fit.scales),
            "common_to": [types[i] for i in scale_fit.common],
            "per_type_energy_scales": by_type(sigma),
        },
        "energy_shifts": {
            "setting": config.energy_shifts,
            "per_type": by_type(shift_fit.shifts),
            "errors": by_type(shift_fit.errors),
            "rank": shift_fit.rank,
            "fitted_types": [types[i] for i in shift_fit.fitted],
            "undetermined_types": [types[i] for i in shift_fit.undetermined],
        },
        "fit_weights": dict(config.fit_weights),
        "n_frames": labels.n_frames,
        "missing_labels": labels.missing,
        "isolated_atoms": list(labels.isolated),
        "tensors": [asdict(r) | {"shape": list(r.shape)} for r in tensors],
        "zero_shot": [asdict(row) for row in ladder],
        "versions": get_current_code_versions(verbose=False),
    }


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 over names and values, in order."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
