"""Target models built from a source and an element map, at the source's lengths or at others."""

from functools import cached_property

import numpy as np
import torch
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture, configured_parameters
from nequip_elemtransfer.energies.contributions import Frames, NetworkParts, network_parts
from nequip_elemtransfer.lengths import scales as lengths
from nequip_elemtransfer.lengths import scaling
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.mapping.per_type import TensorReport, TypeAxes, remap_state, retype, type_axes
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import with_neighbors


class TargetBuilder:
    """Builds models of the target types with the source's weights.

    Args:
        source: the trained model
        element_map: target types over the source's
        compile_mode: of the target; the source's if None
        device: where predictions are made
    """

    def __init__(
        self,
        source: SourceModel,
        element_map: ElementMap,
        compile_mode: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.source, self.element_map, self.device = source, element_map, torch.device(device)
        self._compile_mode = compile_mode

    def retargeted(self, element_map: ElementMap) -> "TargetBuilder":
        """The same for another map from the same source; what is known of the source is not found again."""
        other = TargetBuilder(self.source, element_map, self._compile_mode, self.device)
        vars(other).update(_source_model=self._source_model, _type_axes=self._type_axes)
        return other

    @cached_property
    def base_architecture(self) -> Architecture:
        """The target's types at the source's lengths and energies, every energy scale and shift explicit."""
        architecture = retype(self.source.architecture, self.element_map)
        if self._compile_mode is not None:
            architecture["compile_mode"] = self._compile_mode
        return with_energies(architecture, *_energies(architecture))

    @property
    def start_scales(self) -> np.ndarray:
        """Energy scale σ of each target type as it comes from the source, shape (n_types,)."""
        return _energies(self.base_architecture)[0]

    @property
    def start_shifts(self) -> np.ndarray:
        """Energy shift μ of each target type as it comes from the source, eV, shape (n_types,)."""
        return _energies(self.base_architecture)[1]

    def scaled_architecture(self, scales: np.ndarray) -> Architecture:
        """The target's types at the target's lengths and the source's energies.

        Args:
            scales: λ of each target type, shape (n_types,)
        """
        return scaling.with_lengths(self.base_architecture, lengths.pair_scales(scales, self.element_map))

    def longest_cutoff(self, scales: np.ndarray) -> float:
        """The largest cutoff of any pair in Å at λ of each target type, shape (n_types,)."""
        return float(arch.pair_cutoffs(self.scaled_architecture(scales)).max())

    def build(self, architecture: Architecture) -> tuple[GraphModel, list[TensorReport]]:
        """A model with the source's weights, in evaluation mode, and what was done to each tensor."""
        model = arch.build(architecture)
        factors = scaling.radial_factors(self._source_model, model)
        state, report = remap_state(
            model, self.source.state, self._type_axes, self.element_map, factors, configured_parameters(model)
        )
        model.load_state_dict(state)
        return model.eval(), report

    def model_at(self, scales: np.ndarray) -> tuple[GraphModel, float]:
        """The target model, energies at the source's scales, with its lengths set, and its longest cutoff in Å.

        For trying many λ without building as many models: each call changes the same model.

        Args:
            scales: λ of each target type, shape (n_types,)
        """
        model, architecture = self._scalable_model
        pairs = lengths.pair_scales(scales, self.element_map)
        scaling.set_lengths(model, architecture, pairs)
        return model, float(arch.pair_cutoffs(scaling.with_lengths(architecture, pairs)).max())

    def parts(self, model: GraphModel, frames: Frames, r_max: float, task: str = "") -> NetworkParts:
        """What a model predicts on frames, by type, with neighbour lists of cutoff ``r_max`` in Å."""
        neighbors = [with_neighbors(frame, r_max) for frame in frames]
        return network_parts(model.to(self.device), neighbors, self.start_scales, task)

    def parts_at(self, scales: np.ndarray, frames: Frames) -> NetworkParts:
        """Predictions of :meth:`model_at` on frames.

        Args:
            scales: λ of each target type, shape (n_types,)
        """
        model, r_max = self.model_at(scales)
        return self.parts(model, frames, r_max)

    @cached_property
    def _scalable_model(self) -> tuple[GraphModel, Architecture]:
        architecture = self.base_architecture
        types = list(self.element_map.target_types)
        if len(types) > 1:  # one cutoff per pair to vary
            table = arch.pair_table(types, arch.pair_cutoffs(architecture))
            architecture = architecture | {"per_edge_type_cutoff": table}
        return self.build(architecture)[0], architecture

    @cached_property
    def _source_model(self) -> GraphModel:
        return self.source.build()

    @cached_property
    def _type_axes(self) -> dict[str, TypeAxes]:
        return type_axes(self._source_model, self.source.architecture)


def with_energies(architecture: Architecture, scales: np.ndarray, shifts: np.ndarray) -> Architecture:
    """The architecture with energy scales and shifts (eV) of each type, both of shape (n_types,)."""
    types = architecture["type_names"]
    return architecture | {
        "per_type_energy_scales": dict(zip(types, scales.tolist())),
        "per_type_energy_shifts": dict(zip(types, shifts.tolist())),
    }


def _energies(architecture: Architecture) -> tuple[np.ndarray, np.ndarray]:
    """Energy scales and shifts of each type, one and zero where the architecture has none."""
    scales = arch.per_type_option(architecture, "per_type_energy_scales")
    shifts = arch.per_type_option(architecture, "per_type_energy_shifts")
    n_types = len(architecture["type_names"])
    return np.ones(n_types) if scales is None else scales, np.zeros(n_types) if shifts is None else shifts
