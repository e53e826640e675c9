"""From a source model and labelled structures of the target to everything the report says, one part at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from nequip_elemtransfer.checkpoints.record import known_errors
from nequip_elemtransfer.config import Start, TransferConfig
from nequip_elemtransfer.energies.units import check_units
from nequip_elemtransfer.mapping.element_map import AUTO, ElementMap
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.plan.compared import (
    Comparison,
    NamedCalculator,
    calculate_labels,
    compare_calculators,
    comparison_notes,
)
from nequip_elemtransfer.plan.cross_validation import CrossValidation, FittedEnergies
from nequip_elemtransfer.plan.data.sufficiency import Sufficiency, assess
from nequip_elemtransfer.plan.label_notes import label_notes
from nequip_elemtransfer.plan.labelled import Labelled, labelled
from nequip_elemtransfer.plan.ladder import Step, ladder
from nequip_elemtransfer.plan.length_scan import LengthScan, length_scan
from nequip_elemtransfer.plan.loss import loss_of
from nequip_elemtransfer.plan.outcome import Plan
from nequip_elemtransfer.plan.ranking import Candidate, Contest, rank
from nequip_elemtransfer.plan.source_check.check import SourceCheck, check_source, inherited
from nequip_elemtransfer.plan.source_comparison import (
    MAX_SOURCE_STRUCTURES,
    AdversarialStep,
    Side,
    compare_structures,
    source_side,
)
from nequip_elemtransfer.plan.source_data import source_structures
from nequip_elemtransfer.plan.training_files import reading_of
from nequip_elemtransfer.plan.verdict import PlanVerdict, judge
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.files import elements_in, folds
from nequip_elemtransfer.structures.frames import MAX_FRAMES, evenly_spaced
from nequip_elemtransfer.transfer.start import UnlabelledStart
from nequip_elemtransfer.transfer.structures import MAX_SEARCH_FRAMES
from nequip_elemtransfer.transfer.target import TargetBuilder

N_FOLDS = 5
# as many as the key searches λ on, and the same ones
MAX_STRUCTURES = MAX_SEARCH_FRAMES
MAX_RANKING_STRUCTURES = 12


@dataclass
class Planner:
    """The parts of a plan, each computed when it is asked for; arguments as those of
    :func:`~nequip_elemtransfer.plan.planning.plan`."""

    model: SourceModel
    structures: list[Atoms]
    elements: dict[str, Start]
    chemical_species: dict[str, str]
    source_data: str | Path | None
    crystal: Crystal | None
    references: dict[str, float]
    lattice_ratio: float | None
    calculators: list[NamedCalculator]
    max_structures: int
    seed: int
    progress: bool

    def plan(self, data: str) -> Plan:
        self.calculated = calculate_labels(self.calculators, self.chosen, self.progress)
        start, types = self.start, self.config.type_names
        self._check_units()
        energies = self.energies
        return Plan(
            source=self.model.path,
            sha256=self.model.sha256,
            data=data,
            source_types=self.model.type_names,
            elements=start.target.element_map.describe(),
            chemical_species=self.chemical_species,
            proposed=self.proposed,
            n_structures=len(self.structures),
            n_evaluated=len(self.chosen),
            labels=list(start.labels.kinds),
            length_scale=_by_type(types, self.scales),
            energy_scale=_by_type(types, energies.scales),
            energy_shifts=_by_type(types, energies.shifts),
            length_scale_errors=known_errors(types, start.lengths.errors),
            energy_scale_errors=known_errors(types, energies.errors),
            r_max=start.target.longest_cutoff(self.scales),
            ladder=self.ladder,
            scan=self.scan,
            ranking=self.ranking,
            adversarial=self.adversarial[0],
            sufficiency=self.sufficiency,
            source_check=self.source_check,
            verdict=self.verdict,
            loss=loss_of(start.labels, start.counts, start.labels.kinds),
            reading=reading_of(
                self.structures, start.labels.kinds, [field["field"] for field in self.model.embedded_fields]
            ),
            warnings=self.warnings,
            notes=[*self._label_notes(), *self.inherited[1], *self.adversarial[1]],
            comparison=self.comparison,
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
        """Places of the chosen structures in the file: those the key would search λ on."""
        seen = evenly_spaced(len(self.structures), MAX_FRAMES)
        return seen[evenly_spaced(len(seen), self.max_structures)]

    @cached_property
    def families(self) -> list[int]:
        """Label of each chosen structure, the same for copies of one."""
        return duplicate_families(self.chosen, self.model.r_max)

    @cached_property
    def ranking(self) -> list[Candidate]:
        """Starts of each type that is not in the source, if there is a choice and there are labels to judge by."""
        targets = [t for t in self.given.type_names if t not in self.model.type_names]
        if len(self.model.type_names) == 1 or not targets:
            return []
        few = evenly_spaced(len(self.chosen), MAX_RANKING_STRUCTURES)
        target = self._target(self.given)
        found = labelled([self.chosen[i] for i in few], self.indices[few].tolist(), self.given, target)
        groups = folds([self.families[i] for i in few], N_FOLDS, self.seed)
        contest = Contest(target, self.given, found.frames, found.labels, groups)
        return rank(contest, targets, "ranking" if self.progress else "")

    @cached_property
    def config(self) -> TransferConfig:
        """The element map of the plan."""
        best: dict[str, Start] = {}
        for candidate in self.ranking:
            best.setdefault(candidate.target, candidate.start)
        proposals = {t: best[t] for t in self.proposed if t in best}
        return replace(self.given, elements=self.given.elements | proposals)

    @cached_property
    def labelled(self) -> Labelled:
        """The chosen structures as the plan's start sees them."""
        return labelled(self.chosen, self.indices.tolist(), self.config, self._target(self.config))

    @cached_property
    def start(self) -> CrossValidation:
        """The start of the plan on the chosen structures, tried at many λ."""
        found, groups = self.labelled, folds(self.families, N_FOLDS, self.seed)
        start = CrossValidation(self._target(self.config), found.frames, found.labels, groups, self.families)
        start.scan(task="length scale" if self.progress else "")
        return start

    @cached_property
    def ladder(self) -> list[Step]:
        """Held-out errors of each step of the start."""
        return ladder(self.start, self.tried_scales)

    @cached_property
    def comparison(self) -> Comparison | None:
        """Other calculators beside the start; it changes the energies of the model that it times."""
        start = UnlabelledStart(self.config, self.start.target, self.scales)
        found = self.calculated
        return compare_calculators(found, self.chosen, self.start, self.ladder, start) if found else None

    @cached_property
    def scan(self) -> LengthScan | None:
        """λ and the errors around it, if λ is to be found."""
        return length_scan(self.start, self.lattice_ratio) if self.start.searchable else None

    @property
    def scales(self) -> np.ndarray:
        """λ of each target type, shape (n_types,)."""
        return self.start.lengths.scales

    @property
    def tried_scales(self) -> np.ndarray | None:
        """λ for held-out errors: None, that is fitted to the other folds, where λ is fitted."""
        return None if self.start.lengths.decided_by == "labels" else self.scales

    @cached_property
    def energies(self) -> FittedEnergies:
        """α and μ fitted to the chosen structures."""
        return self.start.energies(self.scales, np.arange(len(self.chosen)))

    @cached_property
    def sufficiency(self) -> Sufficiency:
        """Of all structures, at the target's cutoff."""
        model, r_max = self.start.target.model_at(self.scales)
        return assess(
            self.structures,
            r_max,
            species=self.config.species(self.config.type_names),
            n_parameters=sum(p.numel() for p in model.parameters()),
        )

    @property
    def verdict(self) -> PlanVerdict:
        """From held-out forces and from how alike the structures are."""
        several, some_kept = len(self.start.folds) > 1, self.start.frozen.any()
        on_all = self.start.unexplained(self.tried_scales, all_types=True) if several and some_kept else {}
        alike = [step.result.auc for step in self.adversarial[0] if step.features != "model"]
        return judge(
            unexplained=self.start.unexplained(self.tried_scales).get("forces") if several else None,
            map_alone=self.start.unexplained_map_alone().get("forces") if several else None,
            auc=min(alike, default=None),
            warnings=[*(self.scan.warnings if self.scan else ()), *self.inherited[0]],
            new_types=self.start.judged_types if some_kept else (),
            on_all=on_all.get("forces"),
        )

    @property
    def warnings(self) -> list[str]:
        """What may go wrong, the gravest first."""
        scan = [*self.scan.warnings, self.scan.disagreement] if self.scan else []
        return [warning for warning in (*scan, *self.inherited[0]) if warning]

    @cached_property
    def source_side(self) -> tuple[list[Atoms], str]:
        """Structures of the source, and where they are from, or why there are none."""
        return source_structures(self.model.path, self.source_data)

    @cached_property
    def source_check(self) -> SourceCheck | None:
        """What the source gets wrong of its own elements."""
        species = self.config.species(self.model.type_names)
        task = "source" if self.progress else ""
        return check_source(self.model, species, self.source_side[0], self.crystal, self.references, task)

    @cached_property
    def inherited(self) -> tuple[list[str], list[str]]:
        """Warnings of what the target's labels cannot mend, and notes of what they can."""
        labels = self.start.labels
        n_stresses = int(np.isfinite(labels.stresses).all(axis=(1, 2)).sum())
        return inherited(self.source_check.faults if self.source_check else [], labels.kinds, n_stresses)

    @cached_property
    def adversarial(self) -> tuple[list[AdversarialStep], list[str]]:
        """Adversarial validations before and after the length scaling, and what was left out."""
        structures, origin = self.source_side
        if not structures:
            return [], [f"Adversarial validation was left out: {origin}."]
        chosen = [structures[i] for i in evenly_spaced(len(structures), MAX_SOURCE_STRUCTURES)]
        target = Side(self.chosen, self.families, self.indices.tolist())
        species = self.config.species(self.model.type_names)
        source = source_side(chosen, self.model.r_max)
        found, notes = compare_structures(self.model, species, source, target, self.start, self.seed)
        return found, [f"Source structures: {origin}.", *notes]

    def _target(self, config: TransferConfig) -> TargetBuilder:
        return TargetBuilder(
            self.model, ElementMap.from_elements(config.elements, self.model.type_names, config.species)
        )

    def _check_units(self) -> None:
        start = self.start
        parts = start.search.parts(self.scales)
        check_units(start.labels, parts.predicted(np.ones(len(start.frozen)), start.target.start_shifts), parts.counts)

    def _label_notes(self) -> list[str]:
        found, places = self.labelled, self.indices.tolist()
        notes = label_notes(found.labels, self.start.counts, found.isolated, places, self.model.predicts_forces)
        if len(self.start.folds) == 1:
            notes.append("One structure, or copies of one, leaves nothing to hold out: the errors are without fits.")
        return notes + comparison_notes(self.comparison, places)


def _by_type(types: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return dict(zip(types, values.tolist()))
