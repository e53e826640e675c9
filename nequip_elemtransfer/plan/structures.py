"""The structures of a file that a plan looks at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.files import folds
from nequip_elemtransfer.structures.frames import MAX_FRAMES, evenly_spaced
from nequip_elemtransfer.structures.labels import Labels

N_FOLDS = 5


class NoLabels(ValueError):
    """Structures without labels to fit to and to compare with."""


@dataclass(frozen=True)
class ChosenStructures:
    """Structures of a file, evenly spaced.

    Args:
        every: all in the file
        places: of the chosen ones
        families: number of each chosen one's family, the same for copies of one
    """

    every: Sequence[Atoms]
    places: list[int]
    families: list[int]

    @classmethod
    def of(cls, structures: Sequence[Atoms], most: int, reach: float) -> "ChosenStructures":
        """Those on which a training's key would search λ, if ``most`` is as many.

        Args:
            reach: in Å; structures that agree within it are copies
        """
        seen = evenly_spaced(len(structures), MAX_FRAMES)
        places = seen[evenly_spaced(len(seen), most)].tolist()
        return cls(structures, places, duplicate_families([structures[i] for i in places], reach))

    @property
    def picked(self) -> list[Atoms]:
        """The chosen ones."""
        return [self.every[i] for i in self.places]

    def fewer(self, most: int) -> "ChosenStructures":
        """Some of them, evenly spaced."""
        kept = evenly_spaced(len(self.places), most)
        return ChosenStructures(self.every, [self.places[i] for i in kept], [self.families[i] for i in kept])

    def folds(self, seed: int) -> list[np.ndarray]:
        """Indices, among the chosen ones, of the parts that are held out in turn; copies stay together."""
        return folds(self.families, N_FOLDS, seed)


def require_labels(labels: Labels, which: str = "") -> None:
    """Refuse structures without any label.

    Raises:
        NoLabels: saying how labels are named
    """
    if not labels.kinds:
        raise NoLabels(
            f"no structure has energies, forces or stresses{which} (isolated atoms do not count): label some, under "
            "the names `energy`, `forces` and `stress` in extended XYZ."
        )
