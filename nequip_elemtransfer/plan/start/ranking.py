"""Which source type, or blend of source types, each target type should start from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nequip_elemtransfer.config import LabelKind, TransferConfig, TypeStart
from nequip_elemtransfer.lengths.search import COARSE_FACTORS
from nequip_elemtransfer.mapping.element_map import AUTO, ElementMap, NoNeighbours
from nequip_elemtransfer.output.progress import progress_bar
from nequip_elemtransfer.plan.errors import MAE, Estimate, mean_errors, unexplained
from nequip_elemtransfer.plan.options import PlanOptions
from nequip_elemtransfer.plan.start.cross_validation import CrossValidation, labelled_start
from nequip_elemtransfer.plan.structures import ChosenStructures
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import elements_in
from nequip_elemtransfer.transfer.start import Start

_MAX_STRUCTURES = 12

# Where there are many candidates, all are tried at these λ, factors on the first guess, and the best over the range.
_SCREENING_FACTORS = np.array([0.9, 1.0, 1.1])
_MAX_RANKED = 8

# Starts are ranked by the first of these that has labels: forces are the most numerous.
_JUDGES: tuple[LabelKind, ...] = ("forces", "energy", "stress")


@dataclass(frozen=True)
class Candidate:
    """One start of one target type, the other types starting as proposed. Errors are held-out, after the fits of λ, α
    and μ; None where there are no labels of a kind.

    Args:
        target: type
        start: source type, or weights over source types
        length_scale: fitted λ of the target type
        force_mae: eV/Å
        energy_mae: eV/atom
        stress_mae: eV/Å³
        unexplained: part of the variance that the start leaves of the labels it is ranked by: forces, or without them
            energies, else stresses; None if these are all zero
    """

    target: str
    start: TypeStart
    length_scale: float
    force_mae: Estimate | None
    energy_mae: Estimate | None
    stress_mae: Estimate | None
    unexplained: float | None


@dataclass(frozen=True)
class Proposal:
    """The element map of a plan.

    Args:
        config: the key with it
        proposed: target types whose start nobody asked for and no name settles
        ranking: starts of each type that is not in the source, if there is a choice
    """

    config: TransferConfig
    proposed: list[str]
    ranking: list[Candidate]


def propose(model: SourceModel, chosen: ChosenStructures, options: PlanOptions) -> Proposal:
    """The element map that was asked for, and the best start of each type that was left out.

    Raises:
        ValueError: if the elements asked for do not go with source and structures
        NoLabels: if starts are to be ranked, and there are no labels to judge by
    """
    given = _given(model.type_names, model.path, chosen, options)
    new = [t for t in given.type_names if t not in model.type_names]
    proposed = [t for t in new if t not in options.elements]
    if len(model.type_names) == 1 or not new:
        return Proposal(given, proposed, [])
    few = chosen.fewer(_MAX_STRUCTURES)
    task = "ranking" if options.progress else ""
    ranking = rank(labelled_start(given, model, few), few.folds(options.seed), new, task)
    best = {candidate.target: candidate.start for candidate in reversed(ranking)}
    elements = given.elements | {t: best[t] for t in proposed if t in best}
    return Proposal(replace(given, elements=elements), proposed, ranking)


def rank(start: Start, folds: Sequence[np.ndarray], free: Sequence[str], task: str = "") -> list[Candidate]:
    """Candidates for each free target type by held-out error, best first, one target type after the other.

    Every source type is a candidate, and the blend of the target's neighbours in the periodic table. Where there are
    more than a few, all are tried at three λ and the best of them over the whole range.

    Args:
        start: of all types, on labelled structures
        folds: of the structures, see :func:`.structures.folds`
        free: target types to rank starts for
        task: name for a progress bar
    """
    elements, ranking = dict(start.config.elements), list[Candidate]()
    judge = next((kind for kind in _JUDGES if start.structures.labels.has(kind)), None)
    if judge is None:
        return []
    for target in free:
        contest = _Contest(start, folds, target, judge)
        candidates = contest.candidates()
        if len(candidates) > _MAX_RANKED:
            screened = contest.tried(elements, candidates, _SCREENING_FACTORS, f"{task}, screening")
            candidates = [candidate.start for candidate in screened[:_MAX_RANKED]]
        ranked = contest.tried(elements, candidates, COARSE_FACTORS, task)
        elements[target] = ranked[0].start
        ranking += ranked
    return ranking


@dataclass(frozen=True)
class _Contest:
    """Starts of one target type, judged by one kind of label."""

    start: Start
    folds: Sequence[np.ndarray]
    target: str
    judge: LabelKind

    def candidates(self) -> list[TypeStart]:
        types = self.start.target.source.type_names
        sources: list[TypeStart] = list(types)
        try:
            auto = ElementMap.from_elements({self.target: AUTO}, types, self.start.config.species)
        except NoNeighbours:
            return sources  # no elements
        return sources if (blend := auto.describe()[self.target]) in sources else [*sources, blend]

    def tried(
        self, elements: dict[str, TypeStart], candidates: Sequence[TypeStart], factors: np.ndarray, task: str
    ) -> list[Candidate]:
        """The best first, other types starting from ``elements``."""
        found = []
        for origin in progress_bar(candidates, desc=task, unit="start", disable=not task, leave=False):
            start = self.start.remapped(elements | {self.target: origin})
            start.scan(factors)
            trial = CrossValidation(start, self.folds)
            predicted = trial.held_out(None)
            errors = mean_errors(predicted, trial.labels, trial.counts)
            left = unexplained(predicted, trial.labels, trial.counts).get(self.judge)
            scale = float(start.scales[start.config.type_names.index(self.target)])
            found.append(Candidate(self.target, origin, scale, unexplained=left, **errors))
        return sorted(found, key=lambda candidate: getattr(candidate, MAE[self.judge]).value)


def _given(source_types: list[str], source: str, chosen: ChosenStructures, options: PlanOptions) -> TransferConfig:
    """What was asked for; types left out keep their name, or start from the periodic table for now."""
    elements, species = dict(options.elements), options.chemical_species
    symbols = [species.get(name, name) for name in elements]
    first = source_types[0] if len(source_types) == 1 else AUTO
    for symbol in elements_in(chosen.every):
        if symbol not in symbols:
            elements[symbol] = symbol if symbol in source_types else first
    key = {"source": source, "elements": elements, "chemical_species": species, "kept_types": options.kept_types}
    return TransferConfig.from_mapping(key)
