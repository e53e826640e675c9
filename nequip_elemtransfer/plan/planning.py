"""The plan itself: from a source model and labelled structures of the target to everything the report says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from nequip_elemtransfer.config import Start as Origin
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.element_map import AUTO
from nequip_elemtransfer.frames import Labels, evenly_spaced, labels_of, with_neighbors
from nequip_elemtransfer.plan.adversarial import MIN_FAMILIES, AdversarialResult, adversarial_validation
from nequip_elemtransfer.plan.data.copies import duplicate_families
from nequip_elemtransfer.plan.data.sufficiency import Sufficiency, assess
from nequip_elemtransfer.plan.environments import Environments, descriptor_environments, model_environments
from nequip_elemtransfer.plan.ladder import Step, ladder
from nequip_elemtransfer.plan.length_scan import LengthScan, length_scan
from nequip_elemtransfer.plan.ranking import Candidate, rank
from nequip_elemtransfer.plan.source_data import source_structures
from nequip_elemtransfer.plan.start import Energies, Start
from nequip_elemtransfer.plan.structures import (
    elements_in,
    folds,
    read_structures,
    to_frames,
    typical_volume,
)
from nequip_elemtransfer.plan.verdict import Verdict, judge
from nequip_elemtransfer.source import SourceModel, load_source
from nequip_elemtransfer.transfer import Transfer

N_FOLDS = 5
MAX_STRUCTURES = 60
MAX_RANKING_STRUCTURES = 12
MAX_ADVERSARIAL_STRUCTURES = 200


@dataclass(frozen=True)
class AdversarialStep:
    """One adversarial validation.

    Args:
        features: ``model`` (the source model's own) or the descriptor's name
        lengths: what the target's lengths were divided by: ``as they are``, ``λ`` of the plan, or ``equal volume``,
            which makes the volume per atom that of the source
        length_scale: that number, for several types its mean over atoms
        result: of the classifier
    """

    features: str
    lengths: str
    length_scale: float
    result: AdversarialResult


@dataclass(frozen=True)
class Plan:
    """What is known of a transfer before any training.

    Args:
        source: path or id of the source
        sha256: of the source
        data: path of the target's structures
        source_types: of the source
        elements, chemical_species: the map, as in the key
        proposed: target types whose start was proposed rather than asked for
        n_structures: in ``data``
        n_evaluated: of them, evenly spaced, that were run through the model
        has_forces: whether there are forces to compare with
        length_scale: λ by target type
        energy_scale, energy_shifts: α and μ (eV) by target type, fitted to all evaluated structures
        r_max: of the target model, Å
        ladder, scan, ranking, adversarial, sufficiency, verdict: the parts; ``scan`` is None without force labels
        notes: what was left out, and why
    """

    source: str
    sha256: str
    data: str
    source_types: list[str]
    elements: dict[str, Origin]
    chemical_species: dict[str, str]
    proposed: list[str]
    n_structures: int
    n_evaluated: int
    has_forces: bool
    length_scale: dict[str, float]
    energy_scale: dict[str, float]
    energy_shifts: dict[str, float]
    r_max: float
    ladder: list[Step]
    scan: LengthScan | None
    ranking: list[Candidate]
    adversarial: list[AdversarialStep]
    sufficiency: Sufficiency
    verdict: Verdict
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return _plain(asdict(self))


def plan(
    source: str,
    data: str | Path,
    *,
    elements: Mapping[str, Origin] | None = None,
    chemical_species: Mapping[str, str] | None = None,
    source_data: str | Path | None = None,
    lattice_ratio: float | None = None,
    max_structures: int = MAX_STRUCTURES,
    seed: int = 0,
    progress: bool = False,
) -> Plan:
    """Find out what a transfer will do, before any training.

    Args:
        source: ``.ckpt`` or ``.nequip.zip`` file, or ``nequip.net:group/model:version``
        data: labelled structures of the target, any format of ASE
        elements: target type -> start, as in the key; types that are left out get a proposal
        chemical_species: chemical symbol of types that are not named after their element
        source_data: structures the source was trained on; a checkpoint's own training file if left out
        lattice_ratio: of the target's to the source's lattice constant, to mark it among the λ
        max_structures: evenly spaced, that are run through the model
        seed: of the folds
        progress: show progress bars

    Raises:
        FileNotFoundError: if a file is missing
        ValueError: if source, data and elements do not go together
        ModuleNotFoundError: naming the extra, if scikit-learn or the descriptor library is not installed
    """
    if max_structures < 1:
        raise ValueError(f"max_structures must be at least 1, found {max_structures}.")
    if lattice_ratio is not None and not lattice_ratio > 0:
        raise ValueError(f"lattice_ratio must be positive, found {lattice_ratio}.")
    planner = _Planner(
        model=load_source(source),
        structures=read_structures(data),
        elements=dict(elements or {}),
        chemical_species=dict(chemical_species or {}),
        source_data=source_data,
        lattice_ratio=lattice_ratio,
        max_structures=max_structures,
        seed=seed,
        progress=progress,
    )
    return planner.plan(str(data))


@dataclass
class _Planner:
    """The parts of a plan, each computed when it is asked for; arguments as those of :func:`plan`."""

    model: SourceModel
    structures: list[Atoms]
    elements: dict[str, Origin]
    chemical_species: dict[str, str]
    source_data: str | Path | None
    lattice_ratio: float | None
    max_structures: int
    seed: int
    progress: bool

    def plan(self, data: str) -> Plan:
        adversarial, notes = self.adversarial
        steps = ladder(self.start, self.tried_scales)
        energies, types = self.energies, self.config.type_names
        return Plan(
            source=self.model.path,
            sha256=self.model.sha256,
            data=data,
            source_types=self.model.type_names,
            elements=self.start.transfer.element_map.describe(),
            chemical_species=self.chemical_species,
            proposed=self.proposed,
            n_structures=len(self.structures),
            n_evaluated=len(self.chosen),
            has_forces=self.start.labels.forces is not None,
            length_scale=_by_type(types, self.scales),
            energy_scale=_by_type(types, energies.scales),
            energy_shifts=_by_type(types, energies.shifts),
            r_max=self.start.transfer.model_at(self.scales)[1],
            ladder=steps,
            scan=self.scan,
            ranking=self.ranking,
            adversarial=adversarial,
            sufficiency=self.sufficiency,
            verdict=self.verdict,
            notes=[*self._label_notes(), *notes],
        )

    @cached_property
    def given(self) -> TransferConfig:
        """What was asked for; types left out keep their name, or start from the periodic table for now."""
        elements = dict(self.elements)
        symbols = [self.chemical_species.get(name, name) for name in elements]
        for symbol in elements_in(self.structures):
            if symbol not in symbols:
                one = len(self.model.type_names) == 1
                kept = symbol in self.model.type_names
                elements[symbol] = symbol if kept else self.model.type_names[0] if one else AUTO
        key = {"source": self.model.path, "elements": elements, "chemical_species": self.chemical_species}
        return TransferConfig.from_mapping(key)

    @property
    def proposed(self) -> list[str]:
        """Target types whose start nobody asked for and no name settles."""
        return [t for t in self.given.type_names if t not in self.elements and t not in self.model.type_names]

    @cached_property
    def chosen(self) -> list[Atoms]:
        """The structures that are run through the model."""
        return [self.structures[i] for i in self.indices]

    @property
    def indices(self) -> np.ndarray:
        """Places of the chosen structures in the file."""
        return evenly_spaced(len(self.structures), self.max_structures)

    @cached_property
    def families(self) -> list[int]:
        """Label of each chosen structure, the same for copies of one."""
        return duplicate_families(self.chosen, self.model.r_max)

    @cached_property
    def ranking(self) -> list[Candidate]:
        """Starts of each type that is not in the source, if there is a choice and there are forces to judge by."""
        few = evenly_spaced(len(self.chosen), MAX_RANKING_STRUCTURES)
        transfer = self._transfer(self.given, few)
        labels = self._labels(transfer)
        if len(self.model.type_names) == 1 or labels.forces is None:
            return []
        groups = folds([self.families[i] for i in few], N_FOLDS, self.seed)
        targets = [t for t in self.given.type_names if t not in self.model.type_names]
        return rank(transfer, groups, labels, targets, "ranking" if self.progress else "")

    @cached_property
    def config(self) -> TransferConfig:
        """The element map of the plan."""
        best: dict[str, Origin] = {}
        for candidate in self.ranking:
            best.setdefault(candidate.target, candidate.start)
        proposals = {t: best[t] for t in self.proposed if t in best}
        return replace(self.given, elements=self.given.elements | proposals)

    @cached_property
    def start(self) -> Start:
        """The start of the plan on the chosen structures."""
        transfer = self._transfer(self.config, np.arange(len(self.chosen)))
        return Start(transfer, folds(self.families, N_FOLDS, self.seed), self._labels(transfer))

    @cached_property
    def scan(self) -> LengthScan | None:
        """λ and the errors around it, if there are forces and a type that is not kept."""
        if self.start.labels.forces is None or self.start.kept.all():
            return None
        self.start.scan(task="length scale" if self.progress else "")
        return length_scan(self.start, self.lattice_ratio)

    @property
    def scales(self) -> np.ndarray:
        """λ of each target type, shape (n_types,)."""
        return self.start.guess if self.scan is None else np.array(self.scan.proposed)

    @cached_property
    def energies(self) -> Energies:
        """α and μ fitted to the chosen structures."""
        return self.start.energies(self.scales, np.arange(len(self.chosen)))

    @cached_property
    def sufficiency(self) -> Sufficiency:
        """Of all structures, at the target's cutoff."""
        transfer = self.start.transfer
        return assess(
            self.structures,
            transfer.model_at(self.scales)[1],
            species=self.config.species(self.config.type_names),
            n_parameters=sum(p.numel() for p in transfer.model_at(self.scales)[0].parameters()),
        )

    @property
    def verdict(self) -> Verdict:
        """From held-out forces and from how alike the structures are."""
        start = self.start
        forecast = start.labels.forces is not None and len(start.folds) > 1
        alike = [step.result.auc for step in self.adversarial[0] if step.features != "model"]
        return judge(
            unexplained=start.unexplained(self.tried_scales) if forecast else None,
            map_alone=start.unexplained_map_alone() if forecast else None,
            auc=min(alike, default=None),
            warnings=self.scan.warnings if self.scan else (),
        )

    @property
    def tried_scales(self) -> np.ndarray | None:
        """λ for held-out errors: None, that is fitted to the other folds, where λ is fitted."""
        return None if self.scan is not None and self.scan.chosen == "fit" else self.scales

    @cached_property
    def adversarial(self) -> tuple[list[AdversarialStep], list[str]]:
        """Adversarial validations before and after the length scaling, and what was left out."""
        structures, origin = source_structures(self.model.path, self.source_data)
        structures = [structures[i] for i in evenly_spaced(len(structures), MAX_ADVERSARIAL_STRUCTURES)]
        families = duplicate_families(structures, self.model.r_max), self.families
        if min(len(set(side)) for side in families) < MIN_FAMILIES:
            reason = f"{MIN_FAMILIES} different structures on each side are needed" if structures else origin
            return [], [f"Adversarial validation was left out: {reason}."]
        notes, found = [f"Source structures: {origin}."], []
        own = self._model_environments(structures)
        if own is None:
            notes.append("The source's features could not be read, so only the descriptor was used.")
        descriptor = descriptor_environments(structures, self.model.r_max)
        for lengths, scale, scales in self._lengths(structures):
            if own is not None and scales is not None:
                target = self._target_environments(scales)
                result = adversarial_validation(own, target, self.seed, *families)
                found.append(AdversarialStep("model", lengths, scale, self._numbered(result)))
            target = descriptor_environments(self.chosen, self.model.r_max, scale)
            result = adversarial_validation(descriptor, target, self.seed, *families)
            found.append(AdversarialStep(descriptor.kind, lengths, scale, self._numbered(result)))
        return found, notes

    def _numbered(self, result: AdversarialResult) -> AdversarialResult:
        """The result with the structures of the target numbered as in the file."""
        scores = (replace(score, structure=int(self.indices[score.structure])) for score in result.target_scores)
        return replace(result, target_scores=tuple(scores))

    def _lengths(self, structures: list[Atoms]) -> list[tuple[str, float, np.ndarray | None]]:
        """Lengths to compare at: their name, one number for the descriptor, which knows no types, and λ by type."""
        weights = self.start.counts.sum(axis=0)
        one = np.ones(len(self.scales))
        found = [("as they are", 1.0, one)]
        if not np.allclose(self.scales, 1.0):
            found.append(("λ", float(np.average(self.scales, weights=weights)), self.scales))
        own, target = typical_volume(structures), typical_volume(self.chosen)
        if own is not None and target is not None and not np.isclose(target, own, rtol=3e-3):
            found.append(("equal volume", (target / own) ** (1 / 3), None))
        return found

    def _model_environments(self, structures: list[Atoms]) -> Environments | None:
        types = self.model.type_names
        frames = to_frames(structures, types, [self.chemical_species.get(t, t) for t in types])
        return model_environments(
            self.model.build().eval(), [with_neighbors(frame, self.model.r_max) for frame in frames]
        )

    def _target_environments(self, scales: np.ndarray) -> Environments:
        model, r_max = self.start.transfer.model_at(scales)
        return model_environments(model, [with_neighbors(frame, r_max) for frame in self.start.transfer.frames])

    def _transfer(self, config: TransferConfig, indices: np.ndarray) -> Transfer:
        frames = to_frames([self.chosen[i] for i in indices], config.type_names, config.species(config.type_names))
        return Transfer(config, self.model, lambda r_max: frames)

    def _labels(self, transfer: Transfer) -> Labels:
        labels = labels_of(transfer.frames)
        if self.model.architecture.get("do_derivatives") is False:
            return replace(labels, forces=None)  # the model predicts none to compare with
        return labels

    def _label_notes(self) -> list[str]:
        notes, labels = [], self.start.labels
        if labels.forces is None:
            notes.append(
                "Not every structure has forces (or the source predicts none): λ, α and the ranking of starts need "
                "them and were left out; λ is that of the covalent radii, α the source's, only μ was fitted."
            )
        if labels.energies is None:
            notes.append("Not every structure has an energy: μ could not be fitted and is the source's.")
        if len(self.start.folds) == 1:
            notes.append(
                "One structure (or copies of one) leaves nothing to hold out: the errors are those without fits."
            )
        return notes


def _by_type(types: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return dict(zip(types, values.tolist()))


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's, NaN as None."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
