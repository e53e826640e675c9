"""From candidates to those that are worth a calculation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from nequip_elemtransfer.config import Setting, TypeStart
from nequip_elemtransfer.selection.farthest import farthest_points, random_reaches, standardised
from nequip_elemtransfer.selection.structure_features import MEAN_AND_SPREAD, structure_features
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.files import read_structures
from nequip_elemtransfer.transfer.start import Start, unlabelled_config

_DRAWS = 20  # at random, to compare with


@dataclass(frozen=True)
class Selection:
    """Which of the candidates to compute.

    Args:
        candidates: all of them
        have: labelled structures, which counted as chosen
        chosen: indices of candidates, in the order of their choice
        distances: of each chosen one from those before, in units of the features' standard deviation
        copies: index of a candidate -> index of the one before it, or of the labelled one, that it is a copy of
        copies_of_have: the candidates among them that are copies of labelled structures
        features: standardised, candidates first, then labelled structures, shape (n, n_features)
        kind: of the features, ``model`` or ``ACSF``
        reach: largest distance of a candidate from the nearest one chosen or labelled
        random_reach: the smallest and largest such distance where as many are drawn at random
    """

    candidates: list[Atoms]
    have: list[Atoms]
    chosen: list[int]
    distances: list[float]
    copies: dict[int, int]
    copies_of_have: frozenset[int]
    features: np.ndarray
    kind: str
    reach: float
    random_reach: tuple[float, float]

    def structures(self) -> list[Atoms]:
        """The chosen ones, their place among the candidates and in the order of choice in ``info``."""
        found = []
        for rank, (place, distance) in enumerate(zip(self.chosen, self.distances)):
            atoms = self.candidates[place].copy()
            atoms.calc = self.candidates[place].calc
            atoms.info |= {"candidate": place, "choice": rank}
            atoms.info |= {"distance": round(distance, 6)} if np.isfinite(distance) else {}
            found.append(atoms)
        return found


def select_structures(
    candidates: str | Path,
    model: str,
    elements: Mapping[str, TypeStart],
    number: int,
    *,
    have: str | Path | None = None,
    length_scale: Setting = "covalent_radii",
    chemical_species: Mapping[str, str] | None = None,
    pooling: str = MEAN_AND_SPREAD,
    progress: bool = False,
) -> Selection:
    """Choose structures by farthest-point sampling in the features that the source has of them.

    Args:
        candidates: any file that ASE reads; labels in it are not used
        model: the source, as in the key
        elements, length_scale, chemical_species: as in the key but for ``fit``
        number: to choose
        have: labelled structures, which count as chosen
        pooling: see :func:`.structure_features.structure_features`

    Raises:
        ValueError: there are fewer different candidates, or all are copies of labelled structures; or the arguments do
            not go together
        FileNotFoundError, UnreadableFile, UnusableStructure: see :func:`.structures.read_structures`
        ModuleNotFoundError: a library of the extra ``select`` is not installed
    """
    if number < 1:
        raise ValueError(f"--number is {number}: at least one structure has to be chosen.")
    frames = read_structures(candidates)
    labelled = [] if have is None else read_structures(have)
    start = Start.of(unlabelled_config(model, elements, length_scale, chemical_species), load_source(model))
    everything = [_bare(atoms) for atoms in [*frames, *labelled]]
    rows, kind = structure_features(start, everything, pooling, "features" if progress else "")
    families = duplicate_families(everything, start.target.longest_cutoff(start.scales))
    copies, copies_of_have = _copies(families, len(frames))
    free = [i for i in range(len(frames)) if i not in copies]
    _require(number, len(free), len(copies) - len(copies_of_have), len(copies_of_have), len(frames))
    features = standardised(rows)
    pool = [*free, *range(len(frames), len(everything))]  # rows that the selection sees
    already = list(range(len(free), len(pool)))
    found = farthest_points(features[pool], number, already)
    reaches = random_reaches(features[pool], number, already, _DRAWS)
    return Selection(
        candidates=frames,
        have=labelled,
        chosen=[pool[i] for i in found.order],
        distances=found.distances,
        copies=copies,
        copies_of_have=copies_of_have,
        features=features,
        kind=kind,
        reach=float(found.left.max()),
        random_reach=(float(reaches.min()), float(reaches.max())),
    )


def _copies(families: Sequence[int], n_candidates: int) -> tuple[dict[int, int], frozenset[int]]:
    """Candidates that are copies, each with what it is a copy of, and those that are copies of labelled structures.

    Args:
        families: of the candidates, then of the labelled structures
    """
    first: dict[int, int] = {}
    for place in [*range(n_candidates, len(families)), *range(n_candidates)]:
        first.setdefault(families[place], place)
    original = {i: first[families[i]] for i in range(n_candidates)}
    copies = {i: place for i, place in original.items() if place != i}
    return copies, frozenset(i for i, place in copies.items() if place >= n_candidates)


def _require(number: int, different: int, copies: int, of_have: int, total: int) -> None:
    if different == 0:
        raise ValueError(f"all {total} candidates are copies of labelled structures: there is nothing new to compute.")
    if number > different:
        raise ValueError(
            f"--number {number} asks for more than the {different} different structures among {total} candidates "
            f"({copies} are copies of others, {of_have} of labelled ones): choose at most {different}, or make more "
            "candidates."
        )


def _bare(atoms: Atoms) -> Atoms:
    """Without labels, by which copies would be told apart."""
    bare = atoms.copy()
    bare.calc = None
    return bare
