"""From a source model and a few target structures to a model that is ready for training: what is done, in order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nequip.utils import get_current_code_versions
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture, set_energies
from nequip_elemtransfer.checkpoints.record import Cutoffs, TransferRecord
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.energies.contributions import Frames
from nequip_elemtransfer.energies.kept import another_method
from nequip_elemtransfer.energies.populations import energy_gap
from nequip_elemtransfer.energies.units import check_units, unit_of_scale
from nequip_elemtransfer.energies.zero_shot import zero_shot_ladder
from nequip_elemtransfer.energies.zeros import doubtful_zero_stresses
from nequip_elemtransfer.lengths import scaling
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import require_edges
from nequip_elemtransfer.transfer.provenance import (
    energy_scale_record,
    energy_shift_record,
    length_record,
    state_digest,
)
from nequip_elemtransfer.transfer.start import Start
from nequip_elemtransfer.transfer.target import with_energies

logger = RankedLogger(__name__, rank_zero_only=True)


@dataclass(frozen=True)
class TransferResult:
    """A target model's configuration, its initial state, and how both came about.

    Args:
        architecture: configuration of a NequIP model builder
        state: initial parameters and buffers by name
        record: of what was done, for the checkpoint
    """

    architecture: Architecture
    state: dict[str, torch.Tensor]
    record: TransferRecord

    @property
    def provenance(self) -> dict[str, Any]:
        """The record as plain data."""
        return self.record.to_dict()


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
        steps = zero_shot_ladder(before, parts, labels, scale_fit.scales, target.start_shifts, mu)
        config, source, types = start.config, target.source, start.config.type_names
        found = (scale_fit.scales, mu)
        warnings = another_method(parts, labels, found, start.frozen, types, config.fit_weights)
        fitted = ~start.frozen & (config.energy_scale == "fit")
        gap = energy_gap(parts, labels, *found) if config.energy_shifts == "fit" else []
        zeros = doubtful_zero_stresses(parts, labels, *found)
        for sentence in [*gap, *zeros, *unit_of_scale(types, scale_fit.scales, fitted), *warnings]:
            logger.warning(sentence)
        potential, count = source.architecture.get("pair_potential"), start.structures.label_count()
        record = TransferRecord(
            source=source.path,
            sha256=source.sha256,
            elements=target.element_map.describe(),
            length_scale=length_record(config.length_scale, start.lengths, types, Cutoffs(source.r_max, self.r_max)),
            energy_scale=energy_scale_record(config.energy_scale, scale_fit, types, sigma),
            energy_shifts=energy_shift_record(config.energy_shifts, shift_fit, types),
            n_frames=count.n_frames,
            tensors=report,
            zero_shot=steps,
            weights=state_digest(state),
            chemical_species=dict(config.chemical_species),
            pair_potential=None if potential is None else str(potential["_target_"]).rpartition(".")[2],
            fit_weights={str(kind): weight for kind, weight in config.fit_weights.items()},
            missing_labels=count.missing,
            isolated_atoms=list(count.isolated),
            versions=get_current_code_versions(verbose=False),
        )
        return TransferResult(with_energies(scaled, sigma, mu), state, record)
