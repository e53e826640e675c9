"""The source's errors on labelled structures of its own elements, by group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.energies.contributions import predict
from nequip_elemtransfer.energies.fit import composition_residual
from nequip_elemtransfer.plan.errors import Estimate, label_error, mean_errors, unexplained
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.structures.frames import compositions, evenly_spaced, with_neighbors
from nequip_elemtransfer.structures.labels import Labels, labels_of

# Where data sets say what kind of structure one is.
GROUP_KEYS = ("group", "config_type")
EVERY = "all"

MAX_PER_GROUP = 12


@dataclass(frozen=True)
class GroupErrors:
    """Errors on the structures of one group, None where there are no labels of a kind.

    Args:
        group: its name; ``all`` for all together
        n_structures: evaluated
        force_mae: eV/Å
        energy_mae: eV/atom
        energy_mae_refitted: likewise with the energy shifts refitted to all structures
        stress_mae: eV/Å³
    """

    group: str
    n_structures: int
    force_mae: Estimate | None
    energy_mae: Estimate | None
    energy_mae_refitted: Estimate | None
    stress_mae: Estimate | None


@dataclass(frozen=True)
class SourceErrors:
    """A source on labelled structures.

    Args:
        groups: by name, all together last
        unexplained: part of the variance of each kind of label that the source does not explain
    """

    groups: list[GroupErrors]
    unexplained: dict[LabelKind, float]


@dataclass(frozen=True)
class Evaluated:
    """Structures beside what the source says of them.

    Args:
        structures: evaluated
        groups: of each
        labels: reference
        predicted: by the source
        counts: atoms of each type in each structure, shape (n_frames, n_types)
    """

    structures: list[Atoms]
    groups: list[str]
    labels: Labels
    predicted: Labels
    counts: np.ndarray


def evaluate(
    model: SourceModel,
    species: Sequence[str],
    structures: Sequence[Atoms],
    task: str = "",
    most: int | None = MAX_PER_GROUP,
) -> Evaluated:
    """Run the source on a few structures of each group, evenly spaced.

    Args:
        species: chemical symbol of each type of the source
        task: name for a progress bar; none if empty
        most: structures of a group; None for all

    Raises:
        ValueError: if a structure holds an element that the source lacks
        UnusableStructure: if one lacks a field that the model reads
    """
    groups = group_names(structures)
    chosen = []
    for name in set(groups):
        members = [i for i, group in enumerate(groups) if group == name]
        chosen += [members[i] for i in evenly_spaced(len(members), len(members) if most is None else most)]
    picked = [structures[i] for i in sorted(chosen)]
    frames = to_frames(picked, model.type_names, species, model.embedded_fields, sorted(chosen))
    predicted = predict(model.build().eval(), [with_neighbors(frame, model.r_max) for frame in frames], task)
    counts = compositions(frames, len(model.type_names))
    return Evaluated(picked, [groups[i] for i in sorted(chosen)], labels_of(frames), predicted, counts)


def source_errors(found: Evaluated) -> SourceErrors:
    """Errors by group, in the order of their names, and of all together."""
    groups = np.array(found.groups)
    own = {name: np.flatnonzero(groups == name) for name in sorted(set(found.groups)) if name != EVERY}
    if len(own) != 1 or EVERY in found.groups:
        own[EVERY] = np.arange(len(groups))
    rows = [_errors(name, members, found) for name, members in own.items()]
    return SourceErrors(rows, unexplained(found.predicted, found.labels, found.counts))


def group_names(structures: Sequence[Atoms]) -> list[str]:
    """Of each structure, by the first of ``GROUP_KEYS`` that any has; ``all`` where there is none."""
    key = next((key for key in GROUP_KEYS if any(key in atoms.info for atoms in structures)), None)
    return [str(atoms.info.get(key, "other")) if key else EVERY for atoms in structures]


def _errors(name: str, own: np.ndarray, found: Evaluated) -> GroupErrors:
    predicted, labels = (x.of_frames(own, found.counts) for x in (found.predicted, found.labels))
    residual = composition_residual(found.predicted.energies - found.labels.energies, found.counts)
    refitted = Labels(residual[own] * found.counts[own].sum(axis=1), predicted.forces, predicted.stresses)
    nothing = Labels(np.where(np.isfinite(labels.energies), 0.0, np.nan), labels.forces, labels.stresses)
    return GroupErrors(
        name,
        len(own),
        energy_mae_refitted=label_error("energy", refitted, nothing, found.counts[own]),
        **mean_errors(predicted, labels, found.counts[own]),
    )
