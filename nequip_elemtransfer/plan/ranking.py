"""Which source type, or blend of source types, each target type had best start from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nequip.data import AtomicDataDict
from tqdm.auto import tqdm

from nequip_elemtransfer.config import LabelKind, Start, TransferConfig
from nequip_elemtransfer.lengths.search import COARSE_FACTORS
from nequip_elemtransfer.mapping.element_map import AUTO, ElementMap, NoNeighbours
from nequip_elemtransfer.plan.cross_validation import CrossValidation
from nequip_elemtransfer.plan.errors import Estimate, label_error, unexplained
from nequip_elemtransfer.structures.labels import Labels
from nequip_elemtransfer.transfer.target import TargetBuilder

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
    start: Start
    length_scale: float
    force_mae: Estimate | None
    energy_mae: Estimate | None
    stress_mae: Estimate | None
    unexplained: float | None

    def error_of(self, kind: LabelKind) -> float:
        """Held-out MAE of one kind of label, infinite where there are none."""
        error = {"forces": self.force_mae, "energy": self.energy_mae, "stress": self.stress_mae}[kind]
        return np.inf if error is None else error.value


@dataclass(frozen=True)
class Contest:
    """What the starts of a ranking have in common.

    Args:
        target: builds models of any map from the source
        config: names the target types, where they start unless ranked otherwise, and their species
        frames: of the target types, without neighbour lists
        labels: of the frames
        folds: see :func:`.structures.folds`
    """

    target: TargetBuilder
    config: TransferConfig
    frames: Sequence[AtomicDataDict.Type]
    labels: Labels
    folds: Sequence[np.ndarray]

    @property
    def judge(self) -> LabelKind | None:
        """The kind of label that starts are ranked by; None without labels."""
        return next((kind for kind in _JUDGES if self.labels.has(kind)), None)

    def map_of(self, elements: dict[str, Start]) -> ElementMap:
        """The element map of target types and starts."""
        return ElementMap.from_elements(elements, self.target.source.type_names, self.config.species)


def rank(contest: Contest, free: Sequence[str], task: str = "") -> list[Candidate]:
    """Candidates for each free target type by held-out error, best first, one target type after the other.

    Every source type is a candidate, and the blend of the target's neighbours in the periodic table. Where there are
    more than a few, all are tried at three λ and the best of them over the whole range.

    Args:
        free: target types to rank starts for
        task: name for a progress bar
    """
    elements, ranking = dict(contest.config.elements), []
    if contest.judge is None:
        return ranking
    for target in free:
        candidates = _candidates(contest, target)
        if len(candidates) > _MAX_RANKED:
            screened = _try(contest, elements, target, candidates, _SCREENING_FACTORS, f"{task}, screening")
            candidates = [candidate.start for candidate in screened[:_MAX_RANKED]]
        ranked = _try(contest, elements, target, candidates, COARSE_FACTORS, task)
        elements[target] = ranked[0].start
        ranking += ranked
    return ranking


def _candidates(contest: Contest, target: str) -> list[Start]:
    sources: list[Start] = list(contest.target.source.type_names)
    try:
        auto = contest.map_of({target: AUTO}).describe()[target]
    except NoNeighbours:
        return sources  # no elements
    return sources if auto in sources else [*sources, auto]


def _try(
    contest: Contest,
    elements: dict[str, Start],
    target: str,
    candidates: Sequence[Start],
    factors: np.ndarray,
    task: str,
) -> list[Candidate]:
    found = []
    for origin in tqdm(candidates, desc=task, unit="start", disable=not task, leave=False):
        element_map = contest.map_of(elements | {target: origin})
        start = CrossValidation(contest.target.retargeted(element_map), contest.frames, contest.labels, contest.folds)
        start.scan(factors)
        predicted, t = start.held_out(None), element_map.target_types.index(target)
        errors = {kind: label_error(kind, predicted, contest.labels, start.counts) for kind in _JUDGES}
        found.append(
            Candidate(
                target,
                origin,
                float(start.lengths.scales[t]),
                force_mae=errors["forces"],
                energy_mae=errors["energy"],
                stress_mae=errors["stress"],
                unexplained=unexplained(predicted, contest.labels, start.counts).get(contest.judge),
            )
        )
    return sorted(found, key=lambda candidate: candidate.error_of(contest.judge))
