"""Which source type, or blend of source types, each target type had best start from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm.auto import tqdm

from nequip_elemtransfer.config import Start as Origin
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.element_map import AUTO
from nequip_elemtransfer.frames import Labels
from nequip_elemtransfer.plan.errors import Estimate, force_error, structure_of_atoms
from nequip_elemtransfer.plan.start import COARSE_FACTORS, Start
from nequip_elemtransfer.transfer import Transfer

# Where there are many candidates, all are tried at these λ, factors on the first guess, and the best over the range.
_SCREENING_FACTORS = np.array([0.9, 1.0, 1.1])
_MAX_RANKED = 8


@dataclass(frozen=True)
class Candidate:
    """One start of one target type, the other types starting as proposed.

    Args:
        target: type
        start: source type, or weights over source types
        length_scale: fitted λ of the target type
        force_mae: held-out, after the fits of λ, α and μ, eV/Å
        unexplained: part of the held-out force variance the start does not explain
    """

    target: str
    start: Origin
    length_scale: float
    force_mae: Estimate
    unexplained: float


def rank(
    transfer: Transfer, folds: Sequence[np.ndarray], labels: Labels, free: Sequence[str], task: str = ""
) -> list[Candidate]:
    """Candidates for each free target type by held-out force error, best first, one target type after the other.

    Every source type is a candidate, and the blend of the target's neighbours in the periodic table. Where there are
    more than a few, all are tried at three λ and the best of them over the whole range.

    Args:
        transfer: any transfer to the target types; its element map is where the other types start
        folds, labels: as for :class:`.start.Start`
        free: target types to rank starts for
        task: name for a progress bar
    """
    elements, ranking = dict(transfer.config.elements), []
    for target in free:
        candidates = _candidates(transfer, target)
        if len(candidates) > _MAX_RANKED:
            screened = _try(
                transfer, elements, target, candidates, _SCREENING_FACTORS, folds, labels, f"{task}, screening"
            )
            candidates = [candidate.start for candidate in screened[:_MAX_RANKED]]
        ranked = _try(transfer, elements, target, candidates, COARSE_FACTORS, folds, labels, task)
        elements[target] = ranked[0].start
        ranking += ranked
    return ranking


def _candidates(transfer: Transfer, target: str) -> list[Origin]:
    sources: list[Origin] = list(transfer.source.type_names)
    try:
        auto = transfer.retargeted(_with(transfer.config, {target: AUTO})).element_map.describe()[target]
    except ValueError:
        return sources  # no elements
    return sources if auto in sources else [*sources, auto]


def _try(
    transfer: Transfer,
    elements: dict[str, Origin],
    target: str,
    candidates: Sequence[Origin],
    factors: np.ndarray,
    folds: Sequence[np.ndarray],
    labels: Labels,
    task: str,
) -> list[Candidate]:
    found = []
    for origin in tqdm(candidates, desc=task, unit="start", disable=not task, leave=False):
        config = _with(transfer.config, elements | {target: origin})
        start = Start(transfer.retargeted(config), folds, labels)
        start.scan(factors)
        predicted, t = start.held_out(None), config.type_names.index(target)
        scales = start.scales(start.refined_factor(np.arange(len(start.counts))))
        error = force_error(predicted.forces, labels.forces, structure_of_atoms(start.counts))
        found.append(Candidate(target, origin, float(scales[t]), error, start.unexplained(None)))
    return sorted(found, key=lambda candidate: candidate.force_mae.value)


def _with(config: TransferConfig, elements: dict[str, Origin]) -> TransferConfig:
    return replace(config, elements=elements)
