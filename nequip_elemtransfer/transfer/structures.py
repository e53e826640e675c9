"""The labelled target structures of a transfer: read once, when they are first needed."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from nequip_elemtransfer.energies.contributions import Frames
from nequip_elemtransfer.structures.checks import check_fields
from nequip_elemtransfer.structures.frames import compositions, evenly_spaced, isolated_atoms
from nequip_elemtransfer.structures.labels import Labels, labels_of, missing_labels
from nequip_elemtransfer.transfer.provenance import LabelCount
from nequip_elemtransfer.transfer.target import TargetBuilder

# More frames than this say nothing new about one length, and each is evaluated at some twenty of them.
MAX_SEARCH_FRAMES = 40


class TargetStructures:
    """The structures and what the fits use of them.

    Args:
        load: gives the structures; its argument is the cutoff in Å of their neighbour lists where the data leave it to
            the transfer
        longest_cutoff: gives the longest cutoff in Å that the target may get
        target: whose source says which fields each structure must have, and which labels are of use
        most_searched: structures among which λ is searched
    """

    def __init__(
        self,
        load: Callable[[float], Frames],
        longest_cutoff: Callable[[], float],
        target: TargetBuilder,
        most_searched: int = MAX_SEARCH_FRAMES,
    ) -> None:
        self._load, self._longest_cutoff = load, longest_cutoff
        self._source, self._n_types = target.source, len(target.element_map.target_types)
        self._most_searched = most_searched

    @cached_property
    def frames(self) -> Frames:
        """The structures.

        Raises:
            ValueError: if they, or one of their labels, cannot be used
        """
        frames = self._load(self._longest_cutoff())
        for i, frame in enumerate(frames):
            check_fields(frame, self._source.embedded_fields, f"training structure {i}")
        return frames

    @cached_property
    def isolated(self) -> list[int]:
        """Indices of the frames that hold an isolated atom, at any cutoff the target may get."""
        return isolated_atoms(self.frames, self._longest_cutoff())

    def require_bonds(self) -> None:
        """Refuse structures none of whose atoms has a neighbour.

        Raises:
            ValueError: with the cutoff
        """
        if len(self.isolated) == len(self.frames):
            raise ValueError(
                f"no atom of the {len(self.frames)} structures has another within {self._longest_cutoff():.3g} Å, the "
                "longest cutoff of the model: isolated atoms do not count, so that there is nothing to fit to. Give "
                "structures with bonds, and check that their lengths are in Å."
            )

    @cached_property
    def counts(self) -> np.ndarray:
        """Atoms of each type in each structure, shape (n_frames, n_types)."""
        return compositions(self.frames, self._n_types)

    @cached_property
    def labels(self) -> Labels:
        """Labels of the frames that the fits use.

        Those of isolated atoms, which say nothing of bonds, and of what the source does not predict are left out.
        """
        labels = labels_of(self.frames).without(self.isolated, self.counts)
        return labels if self._source.predicts_forces else labels.without_kinds("forces", "stress")

    def searched(self) -> tuple[Frames, Labels]:
        """Structures and labels among which λ is searched: all, or as many as say something new."""
        chosen = evenly_spaced(len(self.frames), self._most_searched)
        return [self.frames[i] for i in chosen], self.labels.of_frames(chosen, self.counts)

    def label_count(self) -> LabelCount:
        """What the start was fitted to."""
        others = np.setdiff1d(np.arange(len(self.counts)), self.isolated)
        missing = missing_labels(labels_of(self.frames).of_frames(others, self.counts), self.counts[others])
        return LabelCount(len(self.frames), missing, self.isolated)
