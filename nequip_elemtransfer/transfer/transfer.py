"""From a source model and a few target structures to a model that is ready for training: what is done, in order."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from nequip.nn import GraphModel
from nequip.utils import get_current_code_versions

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture, set_energies
from nequip_elemtransfer.checkpoints.record import Cutoffs, TransferRecord
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.energies import choice as energies
from nequip_elemtransfer.energies.contributions import Frames, NetworkParts
from nequip_elemtransfer.energies.fit import EnergyShiftFit
from nequip_elemtransfer.energies.units import check_units
from nequip_elemtransfer.energies.zero_shot import zero_shot_ladder
from nequip_elemtransfer.lengths import scaling
from nequip_elemtransfer.lengths.choice import LengthChoice, fitted_lengths, given_lengths, longest_lengths
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import require_edges
from nequip_elemtransfer.structures.labels import labels_of
from nequip_elemtransfer.transfer.provenance import (
    energy_scale_record,
    energy_shift_record,
    length_record,
    state_digest,
)
from nequip_elemtransfer.transfer.structures import TargetStructures
from nequip_elemtransfer.transfer.target import TargetBuilder, with_energies


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
            shall have where the data leave it to the transfer
        device: where the fits run the model
    """

    def __init__(
        self,
        config: TransferConfig,
        source: SourceModel,
        load_frames: Callable[[float], Frames],
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.element_map = ElementMap.from_elements(config.elements, source.type_names, config.species)
        self.target = TargetBuilder(source, self.element_map, config.compile_mode, device)
        self.structures = TargetStructures(
            load_frames,
            partial(_longest_cutoff, config, self.target, self.frozen),
            len(self.element_map.target_types),
            source.embedded_fields,
        )

    @property
    def r_max(self) -> float:
        """Cutoff of the target model in Å."""
        return float(self.target.scaled_architecture(self.lengths.scales)["r_max"])

    @property
    def frozen(self) -> np.ndarray:
        """Types whose lengths and energies stay as they are in the source, shape (n_types,)."""
        return self.element_map.kept & (self.config.kept_types == "frozen")

    @cached_property
    def lengths(self) -> LengthChoice:
        """λ of each target type, and what decided it."""
        if self.config.length_scale != "fit":
            return given_lengths(self.config, self.element_map, self.frozen)
        frames, labels = self.structures.searched()
        return fitted_lengths(
            self.config, self.element_map, self.frozen, labels, lambda scales: self.target.parts_at(scales, frames)
        )

    def run(self) -> TransferResult:
        """Build the target model, fit what is to be fitted, and report.

        Raises:
            ValueError: if source, key and data do not go together
        """
        base_architecture = self.target.base_architecture
        scaled = self.target.scaled_architecture(self.lengths.scales)
        base, report = self.target.build(base_architecture)
        model = base
        if scaled is not base_architecture:
            model, report = self.target.build(scaled)
            scaling.prove_similarity(base, model, base_architecture, scaled)
        frames, labels = self.structures.frames, self.structures.labels
        require_edges(frames, arch.pair_cutoffs(scaled))
        before = self.target.parts(base, frames, self.target.source.r_max)
        parts = before if model is base else self.target.parts(model, frames, self.r_max)
        check_units(labels, parts.predicted(np.ones(len(self.frozen)), self.target.start_shifts), parts.counts)
        scale_fit = energies.energy_scales(self.config, parts, labels, self.frozen)
        shift_fit = self._shifts(parts, scale_fit.scales, model)
        sigma, mu = self.target.start_scales * scale_fit.scales, shift_fit.shifts
        model = model.cpu()
        set_energies(model, sigma, mu)
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        steps = zero_shot_ladder(before, parts, labels, scale_fit.scales, self.target.start_shifts, mu)
        config, source, types = self.config, self.target.source, self.config.type_names
        potential, count = source.architecture.get("pair_potential"), self.structures.label_count()
        record = TransferRecord(
            source=source.path,
            sha256=source.sha256,
            elements=self.element_map.describe(),
            length_scale=length_record(config.length_scale, self.lengths, types, Cutoffs(source.r_max, self.r_max)),
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

    def _shifts(self, parts: NetworkParts, alpha: np.ndarray, model: GraphModel) -> EnergyShiftFit:
        config, start = self.config, self.target.start_shifts
        references = config.isolated_atom_energies
        if references is None:
            return energies.energy_shifts(config, parts, self.structures.labels, alpha, start, self.frozen)
        if not references:
            found = labels_of(self.structures.frames).energies
            references = energies.references_in(found, parts.counts, self.structures.isolated, config.type_names)
        alone = self.target.parts(model, energies.isolated_frames(len(alpha)), self.r_max)
        predicted = alone.predicted(alpha, np.zeros(len(alpha)))
        return energies.shifts_of_isolated_atoms(config, references, predicted, start, self.frozen)


def _longest_cutoff(config: TransferConfig, target: TargetBuilder, frozen: np.ndarray) -> float:
    """In Å; where λ is to be fitted, the longest that the search may ask for."""
    return target.longest_cutoff(longest_lengths(config, target.element_map, frozen))
