"""The target's structures beside those the source was trained on: can a classifier tell them apart?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from nequip_elemtransfer.plan.adversarial import MIN_FAMILIES, AdversarialResult, adversarial_validation
from nequip_elemtransfer.plan.cross_validation import CrossValidation
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.environments import Environments, descriptor_environments, model_environments
from nequip_elemtransfer.structures.files import to_frames, typical_volume
from nequip_elemtransfer.structures.frames import with_neighbors

MAX_SOURCE_STRUCTURES = 200


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
class Side:
    """The structures of one side.

    Args:
        structures: of the side
        families: label of each, the same for copies of one
        places: of each in its file
    """

    structures: Sequence[Atoms]
    families: Sequence[int]
    places: Sequence[int]


def source_side(structures: Sequence[Atoms], r_max: float) -> Side:
    """The source's structures; copies are those that agree within ``r_max`` in Å."""
    return Side(structures, duplicate_families(structures, r_max), range(len(structures)))


def compare_structures(
    model: SourceModel, species: Sequence[str], source: Side, target: Side, start: CrossValidation, seed: int
) -> tuple[list[AdversarialStep], list[str]]:
    """Adversarial validations before and after the length scaling, and what was left out.

    Args:
        species: chemical symbol of each type of the source
        target: the structures of ``start``
        start: scanned
    """
    if min(len(set(side.families)) for side in (source, target)) < MIN_FAMILIES:
        reason = f"{MIN_FAMILIES} different structures on each side are needed"
        return [], [f"Adversarial validation was left out: {reason}."]
    notes, found = [], []
    own = _source_environments(model, species, source.structures)
    if own is None:
        notes.append("The source's features could not be read, so only the descriptor was used.")
    descriptor = descriptor_environments(source.structures, model.r_max)
    families = source.families, target.families
    for lengths, scale, scales in _lengths(source, target, start):
        if own is not None and scales is not None:
            result = adversarial_validation(own, _target_environments(start, scales), seed, *families)
            found.append(AdversarialStep("model", lengths, scale, _numbered(result, target)))
        environments = descriptor_environments(target.structures, model.r_max, scale)
        result = adversarial_validation(descriptor, environments, seed, *families)
        found.append(AdversarialStep(descriptor.kind, lengths, scale, _numbered(result, target)))
    return found, notes


def _numbered(result: AdversarialResult, target: Side) -> AdversarialResult:
    """The result with the structures of the target numbered as in the file."""
    scores = (replace(score, structure=int(target.places[score.structure])) for score in result.target_scores)
    return replace(result, target_scores=tuple(scores))


def _lengths(source: Side, target: Side, start: CrossValidation) -> list[tuple[str, float, np.ndarray | None]]:
    """Lengths to compare at: their name, one number for the descriptor, which knows no types, and λ by type."""
    scales, weights = start.lengths.scales, start.counts.sum(axis=0)
    found: list[tuple[str, float, np.ndarray | None]] = [("as they are", 1.0, np.ones(len(scales)))]
    if not np.allclose(scales, 1.0):
        found.append(("λ", float(np.average(scales, weights=weights)), scales))
    own, other = typical_volume(source.structures), typical_volume(target.structures)
    if own is not None and other is not None and not np.isclose(other, own, rtol=3e-3):
        found.append(("equal volume", (other / own) ** (1 / 3), None))
    return found


def _source_environments(
    model: SourceModel, species: Sequence[str], structures: Sequence[Atoms]
) -> Environments | None:
    embedded = model.architecture.get("categorical_graph_field_embed") or []
    frames = to_frames(structures, model.type_names, species, embedded)
    return model_environments(model.build().eval(), [with_neighbors(frame, model.r_max) for frame in frames])


def _target_environments(start: CrossValidation, scales: np.ndarray) -> Environments:
    model, r_max = start.target.model_at(scales)
    return model_environments(model, [with_neighbors(frame, r_max) for frame in start.frames])
