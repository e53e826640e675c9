"""The starts that race: their configs on all structures, and the numbers that each fold has from its own."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from nequip.data import AtomicDataDict

from nequip_elemtransfer.architecture.builders import Architecture
from nequip_elemtransfer.config import TypeStart
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.plan.result import Plan
from nequip_elemtransfer.plan.start.cross_validation import CrossValidation
from nequip_elemtransfer.plan.training.train_config import Copies, train_config
from nequip_elemtransfer.structures.frames import with_neighbors

TRANSFER, SCRATCH, MAP = "transfer", "scratch", "map"
KNOWN = (TRANSFER, SCRATCH, MAP)

# Keys of a config, and what stands there
Numbers = Mapping[tuple[str, ...], Any]


class Entrant(ABC):
    """A start.

    Args:
        name: of the start
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def config(self, steps: int, copies: Copies | None) -> str:
        """A config of ``nequip-train`` that trains the start on all structures, as YAML.

        Args:
            steps: of the training
            copies: see :func:`.train_config.train_config`
        """

    @abstractmethod
    def numbers(self, places: np.ndarray) -> Numbers:
        """What the config has to say where the start may learn from some structures only.

        Args:
            places: of the structures in their file
        """


@dataclass(frozen=True)
class Planned:
    """A plan, the start it is about, and where the structures that it looked at are in their file."""

    plan: Plan
    trial: CrossValidation
    places: Sequence[int]

    def inside(self, places: np.ndarray) -> np.ndarray:
        """Indices, among the structures looked at, of those at some places; all if none is among them."""
        found = np.flatnonzero(np.isin(self.places, places))
        return found if len(found) else np.arange(len(self.places))


class Transferred(Entrant):
    """The fitted start of a plan: λ, α and μ from the structures that it is trained on."""

    def __init__(self, name: str, planned: Planned) -> None:
        super().__init__(name)
        self._planned = planned

    def config(self, steps: int, copies: Copies | None) -> str:
        return train_config(self._planned.plan, copies=copies, steps=steps)

    def numbers(self, places: np.ndarray) -> Numbers:
        trial, inside = self._planned.trial, self._planned.inside(places)
        outside = np.setdiff1d(np.arange(len(trial.frames)), inside)
        scales = trial.lengths_without(outside) if trial.tried_scales is None else trial.tried_scales
        fitted = trial.energies(scales, inside)
        return {
            ("element_transfer", "length_scale"): _by_type(trial, scales),
            ("element_transfer", "energy_scale"): _by_type(trial, fitted.scales),
            ("element_transfer", "energy_shifts"): _by_type(trial, fitted.shifts),
        }


class MapAlone(Entrant):
    """The element map of a plan without scales, as in the literature; energy shifts are fitted."""

    def __init__(self, name: str, planned: Planned) -> None:
        super().__init__(name)
        self._planned = planned

    def _shifts(self, frames: np.ndarray) -> dict[str, float]:
        trial = self._planned.trial
        return _by_type(trial, trial.energies(np.ones(len(trial.type_names)), frames, scale=False).shifts)

    def config(self, steps: int, copies: Copies | None) -> str:
        plan, trial = self._planned.plan, self._planned.trial
        ones = dict.fromkeys(trial.type_names, 1.0)
        shifts = self._shifts(np.arange(len(trial.frames)))
        alone = replace(plan, length_scale=ones, energy_scale=ones, energy_shifts=shifts)
        return train_config(alone, copies=copies, steps=steps)

    def numbers(self, places: np.ndarray) -> Numbers:
        return {("element_transfer", "energy_shifts"): self._shifts(self._planned.inside(places))}


class FromScratch(Entrant):
    """Random weights in the architecture of a plan's target, with statistics of the structures it is trained on."""

    def __init__(self, name: str, planned: Planned) -> None:
        super().__init__(name)
        self._planned = planned

    def config(self, steps: int, copies: Copies | None) -> str:
        plan, every = self._planned.plan, np.arange(len(self._planned.trial.frames))
        return train_config(plan, copies=copies, steps=steps, scratch=self._architecture(every))

    def numbers(self, places: np.ndarray) -> Numbers:
        architecture = self._architecture(self._planned.inside(places))
        return {("training_module", "model", name): architecture[name] for name in _statistics(architecture)}

    def _architecture(self, frames: np.ndarray) -> Architecture:
        trial = self._planned.trial
        target, types = trial.start.target, trial.type_names
        architecture = dict(target.scaled_architecture(trial.start.scales)) | {"seed": "${seed}"}
        labels, counts = trial.labels.of_frames(frames, trial.counts), trial.counts[frames]
        forces = labels.forces[np.isfinite(labels.forces)]
        scale = float(np.sqrt(np.mean(forces**2))) if forces.size and np.any(forces) else 1.0
        free = np.zeros(len(types))
        shifts = fit.fit_energy_shifts(labels.energies, counts, free, free > 0).shifts
        near = [with_neighbors(trial.frames[i], self._planned.plan.r_max) for i in frames]
        edges = sum(frame[AtomicDataDict.EDGE_INDEX_KEY].shape[1] for frame in near)
        architecture["per_type_energy_scales"] = dict.fromkeys(types, scale)
        architecture["per_type_energy_shifts"] = _by_type(trial, shifts)
        if "avg_num_neighbors" in architecture:
            architecture["avg_num_neighbors"] = edges / int(counts.sum())
        return architecture


def _statistics(architecture: Architecture) -> list[str]:
    names = ("avg_num_neighbors", "per_type_energy_scales", "per_type_energy_shifts")
    return [name for name in names if name in architecture]


def _by_type(trial: CrossValidation, values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in zip(trial.type_names, values)}


def other_source(plan: Plan, trial: CrossValidation) -> Plan:
    """The plan with another source in it, for its config."""
    start, target = trial.start, trial.start.target
    elements: dict[str, TypeStart] = target.element_map.describe()
    energies = trial.energies(start.scales, np.arange(len(trial.frames)))
    return replace(
        plan,
        source=target.source.path,
        sha256=target.source.sha256,
        elements=elements,
        length_scale=_by_type(trial, start.scales),
        energy_scale=_by_type(trial, energies.scales),
        energy_shifts=_by_type(trial, energies.shifts),
        r_max=float(target.scaled_architecture(start.scales)["r_max"]),
    )
