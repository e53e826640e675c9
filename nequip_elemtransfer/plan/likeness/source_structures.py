"""The target's structures beside those the source was trained on: can a classifier tell them apart?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from nequip.nn import GraphModel

from nequip_elemtransfer.energies.contributions import Frames
from nequip_elemtransfer.plan.likeness.adversarial import MIN_FAMILIES, AdversarialResult, adversarial_validation
from nequip_elemtransfer.plan.structures import ChosenStructures
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.checks import UnusableStructure
from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.environments import Environments, descriptor_environments, model_environments
from nequip_elemtransfer.structures.files import to_frames, typical_volume
from nequip_elemtransfer.structures.frames import evenly_spaced, with_neighbors
from nequip_elemtransfer.structures.names import UnclearLabels, options_of
from nequip_elemtransfer.structures.reading import ReadFile, UnreadableFile, read_structures
from nequip_elemtransfer.structures.specs import split_spec
from nequip_elemtransfer.transfer.start import Start

_MAX_SOURCE_STRUCTURES = 200


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


def source_structures(source: SourceModel, given: ReadFile | None = None) -> tuple[list[Atoms], str]:
    """Structures the source was trained on, and where they are from.

    Args:
        source: the trained model
        given: a file of them; else the training files that a checkpoint names, if they are still there

    Returns:
        an empty list and the reason if there are none
    """
    if given is not None:
        return given.structures, given.spec
    named = source.training_files
    if not named:
        return [], "the source names no file of training structures; give --source-data FILE"
    for file in named:
        if not split_spec(file.spec)[0].is_file():
            return [], f"the source's training file {file.spec!r} is not there; give --source-data FILE"
    try:
        read = [read_structures(file.spec, options_of(file.section), labels=False) for file in named]
    except (UnreadableFile, UnusableStructure, UnclearLabels) as error:  # nobody asked for it, so it stops nothing
        return [], f"{error} Give --source-data FILE"
    of = " and ".join(file.spec for file in named)
    return [atoms for each in read for atoms in each.structures], f"{of}, which the checkpoint names"


def compare_structures(
    own: Sequence[Atoms], origin: str, chosen: ChosenStructures, start: Start, seed: int
) -> tuple[list[AdversarialStep], list[str]]:
    """Adversarial validations before and after the length scaling, and what was left out.

    Args:
        own, origin: see :func:`source_structures`
        chosen: the structures of ``start``
        start: scanned
    """
    if not own:
        return [], [f"Adversarial validation was left out: {origin}."]
    notes, found, model = [f"Source structures: {origin}."], [], start.target.source
    structures = [own[i] for i in evenly_spaced(len(own), _MAX_SOURCE_STRUCTURES)]
    families = duplicate_families(structures, model.r_max), chosen.families
    if min(len(set(side)) for side in families) < MIN_FAMILIES:
        reason = f"{MIN_FAMILIES} different structures on each side are needed"
        return [], [*notes, f"Adversarial validation was left out: {reason}."]
    species = start.config.species(model.type_names)
    frames = to_frames(structures, model.type_names, species, model.embedded_fields)
    features = _features(model.build().eval(), model.r_max, frames)
    if features is None:
        notes.append("The source's features could not be read, so only the descriptor was used.")
    descriptor = descriptor_environments(structures, model.r_max)
    for lengths, scale, scales in _lengths(structures, chosen.picked, start):
        sides = [(descriptor, descriptor_environments(chosen.picked, model.r_max, scale))]
        if features is not None and scales is not None:
            seen = _features(*start.target.model_at(scales), start.structures.frames)
            sides = [(features, seen), *sides] if seen is not None else sides
        for source, target in sides:
            result = adversarial_validation(source, target, seed, *families)
            found.append(AdversarialStep(source.kind, lengths, scale, _numbered(result, chosen.places)))
    return found, notes


def _numbered(result: AdversarialResult, places: Sequence[int]) -> AdversarialResult:
    """The result with the structures of the target numbered as in the file."""
    scores = (replace(score, structure=places[score.structure]) for score in result.target_scores)
    return replace(result, target_scores=tuple(scores))


def _lengths(
    source: Sequence[Atoms], target: Sequence[Atoms], start: Start
) -> list[tuple[str, float, np.ndarray | None]]:
    """Lengths to compare at: their name, one number for the descriptor, which knows no types, and λ by type."""
    scales, weights = start.scales, start.structures.counts.sum(axis=0)
    found: list[tuple[str, float, np.ndarray | None]] = [("as they are", 1.0, np.ones(len(scales)))]
    if not np.allclose(scales, 1.0):
        found.append(("λ", float(np.average(scales, weights=weights)), scales))
    own, other = typical_volume(source), typical_volume(target)
    if own is not None and other is not None and not np.isclose(other, own, rtol=3e-3):
        found.append(("equal volume", (other / own) ** (1 / 3), None))
    return found


def _features(model: GraphModel, r_max: float, frames: Frames) -> Environments | None:
    return model_environments(model, [with_neighbors(frame, r_max) for frame in frames])
