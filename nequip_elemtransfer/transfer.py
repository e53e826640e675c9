"""From a source model and a few target structures to a target model that is ready for training."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel
from nequip.utils import get_current_code_versions
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer import architecture as arch
from nequip_elemtransfer import fit, scaling
from nequip_elemtransfer.architecture import Architecture
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.element_map import ElementMap
from nequip_elemtransfer.frames import Labels, labels_of, require_edges, with_neighbors
from nequip_elemtransfer.per_type import type_axes
from nequip_elemtransfer.remap import TensorReport, remap_state
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.trained_options import configured_parameters, set_energies
from nequip_elemtransfer.zero_shot import NetworkParts, ZeroShot, network_parts, zero_shot

Frames = list[AtomicDataDict.Type]

logger = RankedLogger(__name__, rank_zero_only=True)


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
            shall have where the data leave it to the transfer
    """

    def __init__(self, config: TransferConfig, source: SourceModel, load_frames: Callable[[float], Frames]) -> None:
        self.config = config
        self.source = source
        self.element_map = ElementMap.from_elements(config.elements, source.type_names, config.species)
        self._load_frames = load_frames

    @property
    def r_max(self) -> float:
        """Cutoff of the target model in Å."""
        return float(self.scaled_architecture["r_max"])

    @cached_property
    def base_architecture(self) -> Architecture:
        """The target's types at the source's lengths and energies, every energy scale and shift explicit."""
        architecture = arch.retype(self.source.architecture, self.element_map)
        if self.config.compile_mode is not None:
            architecture["compile_mode"] = self.config.compile_mode
        return _with_energies(architecture, *_energies(architecture))

    @cached_property
    def scaled_architecture(self) -> Architecture:
        """The target's types at the target's lengths and the source's energies."""
        return scaling.with_lengths(self.base_architecture, self._pair_scales(self.length_scales))

    @cached_property
    def length_scales(self) -> np.ndarray:
        """λ of each target type, shape (n_types,)."""
        if self.config.length_scale == "fit":
            return self._fit_length_scales()
        return scaling.per_type_scales(self.config.length_scale, self.element_map)

    @cached_property
    def frames(self) -> Frames:
        """The labelled target structures."""
        fitting = self.config.length_scale == "fit"
        return self._load_frames(self._longest_cutoff() if fitting else self.r_max)

    @cached_property
    def labels(self) -> Labels:
        """Reference energies and forces of the frames."""
        labels, free = labels_of(self.frames), not self.element_map.kept.all()
        if self.source.architecture.get("do_derivatives") is False:
            labels = replace(labels, forces=None)  # the model predicts none to compare with
        needs = [("length_scale", labels.forces, "forces"), ("energy_scale", labels.forces, "forces")]
        for name, found, what in [*needs, ("energy_shifts", labels.energies, "energies")]:
            if free and getattr(self.config, name) == "fit" and found is None:
                raise ValueError(
                    f"`element_transfer.{name}: fit` needs {what}, which the training structures or the model do not "
                    f"have: add them, or give `{name}` in another way."
                )
        return labels

    def run(self) -> TransferResult:
        """Build the target model, fit what is to be fitted, and report.

        Raises:
            ValueError: if source, key and data do not go together
        """
        base, report = self._build(self.base_architecture)
        model = base
        if self.scaled_architecture is not self.base_architecture:
            model, report = self._build(self.scaled_architecture)
            scaling.prove_similarity(base, model, self.base_architecture, self.scaled_architecture)
        require_edges(self.frames, arch.pair_cutoffs(self.scaled_architecture))
        before = self._parts(base, self.source.r_max)
        parts = before if model is base else self._parts(model, self.r_max)
        energy_scales = self._energy_scales(parts)
        energy_shifts = self._energy_shifts(parts, energy_scales.scales)
        scales, shifts = self._sigma * energy_scales.scales, energy_shifts.shifts
        set_energies(model, scales, shifts)
        architecture = _with_energies(self.scaled_architecture, scales, shifts)
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        provenance = self._provenance(energy_scales, energy_shifts, report)
        provenance["zero_shot"] = [asdict(row) for row in self._ladder(before, parts, energy_scales.scales, shifts)]
        provenance["weights"] = state_digest(state)
        return TransferResult(architecture, state, provenance)

    @property
    def has_radii(self) -> bool:
        """Whether every type in use is an element with a covalent radius."""
        try:
            scaling.covalent_scales(self.element_map)
        except ValueError:
            return False
        return True

    def first_guess(self) -> np.ndarray:
        """λ of each target type before any fit: covalent radii where they are known, else one."""
        return scaling.covalent_scales(self.element_map) if self.has_radii else np.ones(len(self.element_map.kept))

    @property
    def start_shifts(self) -> np.ndarray:
        """Energy shift μ of each target type as it comes from the source, eV, shape (n_types,)."""
        return _energies(self.base_architecture)[1]

    def model_at(self, scales: np.ndarray) -> tuple[GraphModel, float]:
        """The target model, energies at the source's scales, with its lengths set, and its cutoff in Å.

        For trying many λ without building as many models: each call changes the same model.

        Args:
            scales: λ of each target type, shape (n_types,)
        """
        model, architecture = self._scalable_model
        lengths = self._pair_scales(scales)
        scaling.set_lengths(model, architecture, lengths)
        return model, float(arch.pair_cutoffs(scaling.with_lengths(architecture, lengths)).max())

    def parts_at(self, scales: np.ndarray, task: str = "") -> NetworkParts:
        """Predictions of :meth:`model_at` on the frames.

        Args:
            scales: λ of each target type, shape (n_types,)
            task: name for a progress bar
        """
        return self._parts(*self.model_at(scales), task)

    def retargeted(self, config: TransferConfig) -> "Transfer":
        """Another transfer from the same source to the same frames; what is known of the source is not found again."""
        other = Transfer(config, self.source, self._load_frames)
        vars(other).update(_source_model=self._source_model, _type_axes=self._type_axes)
        return other

    def _build(self, architecture: Architecture) -> tuple[GraphModel, list[TensorReport]]:
        model = arch.build(architecture)
        factors = scaling.radial_factors(self._source_model, model)
        state, report = remap_state(
            model, self.source.state, self._type_axes, self.element_map, factors, configured_parameters(model)
        )
        model.load_state_dict(state)
        return model.eval(), report

    @cached_property
    def _source_model(self) -> GraphModel:
        return self.source.build()

    @cached_property
    def _type_axes(self) -> dict:
        return type_axes(self._source_model, self.source.architecture)

    @property
    def _sigma(self) -> np.ndarray:
        """Energy scale σ of each target type as it comes from the source, shape (n_types,)."""
        return _energies(self.base_architecture)[0]

    def _pair_scales(self, scales: np.ndarray) -> np.ndarray:
        return scaling.pair_scales(scales, self.element_map)

    def _parts(self, model: GraphModel, r_max: float, task: str = "") -> NetworkParts:
        return network_parts(model, [with_neighbors(f, r_max) for f in self.frames], self._sigma, task)

    def _energy_scales(self, parts: NetworkParts) -> fit.EnergyScaleFit:
        setting, kept = self.config.energy_scale, self.element_map.kept
        if setting == "fit":
            return parts.fit_scales(self.labels, kept)
        if isinstance(setting, Mapping):
            return fit.EnergyScaleFit(np.array([setting[t] for t in self.element_map.target_types]), ())
        return fit.EnergyScaleFit(np.where(kept, 1.0, 1.0 if setting == "none" else setting), ())

    def _energy_shifts(self, parts: NetworkParts, alpha: np.ndarray) -> fit.EnergyShiftFit:
        setting, start = self.config.energy_shifts, self.start_shifts
        if setting == "fit":
            return parts.fit_shifts(self.labels, alpha, start, self.element_map.kept)
        if isinstance(setting, Mapping):
            start = np.array([setting[t] for t in self.element_map.target_types])
        return fit.EnergyShiftFit(start, 0, (), ())

    def _ladder(
        self, before: NetworkParts, parts: NetworkParts, alpha: np.ndarray, shifts: np.ndarray
    ) -> list[ZeroShot]:
        one, start = np.ones(len(alpha)), self.start_shifts
        steps = {
            "element map": before.predicted(one, start),
            "+ length scale": parts.predicted(one, start),
            "+ energy scale": parts.predicted(alpha, start),
            "+ energy shifts": parts.predicted(alpha, shifts),
        }
        return [zero_shot(step, predicted, self.labels, parts.counts) for step, predicted in steps.items()]

    @cached_property
    def _scalable_model(self) -> tuple[GraphModel, Architecture]:
        architecture = self.base_architecture
        types = self.config.type_names
        if len(types) > 1:  # one cutoff per pair to vary
            table = arch.pair_table(types, arch.pair_cutoffs(architecture))
            architecture = architecture | {"per_edge_type_cutoff": table}
        return self._build(architecture)[0], architecture

    def _longest_cutoff(self) -> float:
        longest = self._pair_scales(np.where(self.element_map.kept, 1.0, fit.LENGTH_RANGE[1] * self.first_guess()))
        return float((arch.pair_cutoffs(self.base_architecture) * longest).max())

    def _fit_length_scales(self) -> np.ndarray:
        """One common factor on the first guess of all types that do not keep their name."""
        kept, guess = self.element_map.kept, self.first_guess()
        if kept.all():
            return np.ones(len(kept))

        def objective(factor: float) -> float:
            return self._mismatch(self.parts_at(np.where(kept, 1.0, factor * guess)))

        factor, inside = fit.fit_length_scale(objective, fit.LENGTH_RANGE)
        scales = np.where(kept, 1.0, factor * guess)
        if not inside:
            logger.warning(
                f"`length_scale: fit` ended at the edge of its range, λ = {scales.max():.3f}: the source describes "
                "these structures at no length. Prefer `covalent_radii` or a number, and look at the zero-shot errors."
            )
        return scales

    def _mismatch(self, parts: NetworkParts) -> float:
        try:
            alpha = self._energy_scales(parts).scales
        except ValueError:
            return fit.NO_RESEMBLANCE  # this length explains nothing, another may
        predicted = parts.predicted(alpha, np.zeros(len(alpha)))
        return fit.length_objective(self.labels, predicted, parts.counts)

    def _provenance(
        self, energy_scales: fit.EnergyScaleFit, energy_shifts: fit.EnergyShiftFit, report: list[TensorReport]
    ) -> dict[str, Any]:
        types = self.element_map.target_types
        sigma = self._sigma * energy_scales.scales

        def by_type(values: np.ndarray) -> dict[str, float]:
            return dict(zip(types, values.tolist()))

        return {
            "source": self.source.path,
            "sha256": self.source.sha256,
            "elements": self.element_map.describe(),
            "length_scale": {
                "setting": self.config.length_scale,
                "per_type": by_type(self.length_scales),
                "r_max": {"source": self.source.r_max, "target": self.r_max},
            },
            "energy_scale": {
                "setting": self.config.energy_scale,
                "per_type": by_type(energy_scales.scales),
                "common_to": [types[i] for i in energy_scales.common],
                "per_type_energy_scales": by_type(sigma),
            },
            "energy_shifts": {
                "setting": self.config.energy_shifts,
                "per_type": by_type(energy_shifts.shifts),
                "rank": energy_shifts.rank,
                "fitted_types": [types[i] for i in energy_shifts.fitted],
                "undetermined_types": [types[i] for i in energy_shifts.undetermined],
            },
            "n_frames": len(self.frames),
            "tensors": [asdict(r) | {"shape": list(r.shape)} for r in report],
            "versions": get_current_code_versions(verbose=False),
        }


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 over names and values, in order."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _energies(architecture: Architecture) -> tuple[np.ndarray, np.ndarray]:
    """Energy scales and shifts of each type, one and zero where the architecture has none."""
    scales = arch.per_type_option(architecture, "per_type_energy_scales")
    shifts = arch.per_type_option(architecture, "per_type_energy_shifts")
    n_types = len(architecture["type_names"])
    return np.ones(n_types) if scales is None else scales, np.zeros(n_types) if shifts is None else shifts


def _with_energies(architecture: Architecture, scales: np.ndarray, shifts: np.ndarray) -> Architecture:
    types = architecture["type_names"]
    return architecture | {
        "per_type_energy_scales": dict(zip(types, scales.tolist())),
        "per_type_energy_shifts": dict(zip(types, shifts.tolist())),
    }
