"""Structures as frames of the target types, with the labels that fits may use."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from nequip.data import AtomicDataDict

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.lengths.choice import guessed_lengths
from nequip_elemtransfer.lengths.search import COARSE_FACTORS, FINE_REACH
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.structures.frames import compositions, isolated_atoms
from nequip_elemtransfer.structures.labels import Labels, labels_of
from nequip_elemtransfer.transfer.target import TargetBuilder


class NoLabels(ValueError):
    """Structures without labels to fit to and to compare with."""


@dataclass(frozen=True)
class Labelled:
    """Frames and labels.

    Args:
        frames: of the target types, without neighbour lists
        labels: NaN where missing, as are those of isolated atoms and of what the source does not predict
        isolated: indices of the frames that are isolated atoms
    """

    frames: list[AtomicDataDict.Type]
    labels: Labels
    isolated: list[int]


def labelled(
    structures: Sequence[Atoms], places: Sequence[int], config: TransferConfig, target: TargetBuilder
) -> Labelled:
    """Frames and labels of structures.

    Args:
        places: of the structures in their file
        config: names the target types and their species
        target: builds models of them

    Raises:
        UnusableStructure: if a structure lacks a field that the model reads
        NoLabels: if there are none that the source predicts
    """
    types = config.type_names
    frames = to_frames(structures, types, config.species(types), target.source.embedded_fields, places)
    kept = target.element_map.kept
    reach = np.where(kept, 1.0, COARSE_FACTORS[-1] + FINE_REACH)  # as far as λ is searched
    isolated = isolated_atoms(frames, target.longest_cutoff(reach * guessed_lengths(target.element_map, kept)))
    labels = labels_of(frames).without(isolated, compositions(frames, len(kept)))
    if not target.source.predicts_forces:
        labels = labels.without_kinds("forces", "stress")
    if not labels.kinds:
        raise NoLabels(
            "no structure has energies, forces or stresses that the source predicts (isolated atoms do not count): "
            "label some, under the names `energy`, `forces` and `stress` in extended XYZ."
        )
    return Labelled(frames, labels, isolated)
