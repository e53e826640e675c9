"""From a source model and a few target structures to a model that is ready for training: what is done, in order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture
from nequip_elemtransfer.architecture.trained_options import set_energies
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.energies.contributions import Frames
from nequip_elemtransfer.energies.units import check_units
from nequip_elemtransfer.energies.zero_shot import zero_shot_ladder
from nequip_elemtransfer.lengths import scaling
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import require_edges
from nequip_elemtransfer.transfer.provenance import provenance_of, state_digest
from nequip_elemtransfer.transfer.start import Start
from nequip_elemtransfer.transfer.target import with_energies


@dataclass(frozen=True)
class TransferResult:
    """A target model's configuration, its initial state, and how both came about.

    Args:
        architecture: configuration of a NequIP model builder
        state: initial parameters and buffers by name
        provenance: plain data for the checkpoint
    """

    architecture: Architecture
    state: dict[str, torch.Tensor]
    provenance: dict[str, Any]


class Transfer:
    """One transfer, each part computed when it is asked for.

    Args:
        config: the parsed key
        source: the trained model
        load_frames: gives the labelled target structures; its argument is the cutoff in Å that their neighbour lists
            have where the data leave it to the transfer
        device: where the fits run the model
    """

    def __init__(
        self,
        config: TransferConfig,
        source: SourceModel,
        load_frames: Callable[[float], Frames],
        device: torch.device | str = "cpu",
    ) -> None:
        self.start = Start.of(config, source, load_frames, device)

    @property
    def r_max(self) -> float:
        """Cutoff of the target model in Å."""
        return float(self.start.target.scaled_architecture(self.start.scales)["r_max"])

    def run(self) -> TransferResult:
        """Build the target model, fit what is to be fitted, and report.

        Raises:
            ValueError: if source, key and data do not go together
        """
        start, target = self.start, self.start.target
        base_architecture, scaled = target.base_architecture, target.scaled_architecture(start.scales)
        base, report = target.build(base_architecture)
        model = base
        if scaled is not base_architecture:
            model, report = target.build(scaled)
            scaling.prove_similarity(base, model, base_architecture, scaled)
        frames, labels = start.structures.frames, start.structures.labels
        require_edges(frames, arch.pair_cutoffs(scaled))
        before = target.parts(base, frames, target.source.r_max)
        parts = before if model is base else target.parts(model, frames, self.r_max)
        check_units(labels, parts.predicted(np.ones(len(start.frozen)), target.start_shifts), parts.counts)
        scale_fit = start.energy_scales(parts, labels)
        shift_fit = start.energy_shifts(parts, labels, scale_fit.scales)
        sigma, mu = target.start_scales * scale_fit.scales, shift_fit.shifts
        model = model.cpu()
        set_energies(model, sigma, mu)
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        provenance = provenance_of(
            start.config,
            target.source,
            target.element_map,
            start.lengths,
            self.r_max,
            scale_fit,
            shift_fit,
            sigma,
            start.structures.label_count(),
            report,
            zero_shot_ladder(before, parts, labels, scale_fit.scales, target.start_shifts, mu),
        )
        return TransferResult(with_energies(scaled, sigma, mu), state, provenance | {"weights": state_digest(state)})
