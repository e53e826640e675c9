"""From candidates to those that are worth a calculation, by farthest-point selection.

Whole structures are rows of numbers: the source's invariant features at λ-corrected lengths, pooled over atoms. Each
choice is the structure that is farthest from all that was chosen before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from nequip.data import AtomicDataDict
from scipy.spatial.distance import cdist

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.optional_packages import extra
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.environments import descriptor_features, model_features
from nequip_elemtransfer.structures.frames import atom_types
from nequip_elemtransfer.structures.options import AS_THEY_ARE, DataOptions
from nequip_elemtransfer.structures.reading import read_files
from nequip_elemtransfer.transfer.start import Start

MEAN, MEAN_AND_SPREAD = "mean", "mean+spread"
POOLINGS = (MEAN, MEAN_AND_SPREAD)
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
        features: standardised, candidates first, then labelled structures, shape (n, n_features)
        kind: of the features, ``model`` or ``ACSF``
        reach: largest distance of a candidate from the nearest one chosen or labelled
        random_reach: the smallest and largest such distance where as many are drawn at random
        said: sentences on how the files were read
    """

    candidates: list[Atoms]
    have: list[Atoms]
    chosen: list[int]
    distances: list[float]
    copies: dict[int, int]
    features: np.ndarray
    kind: str
    reach: float
    random_reach: tuple[float, float]
    said: tuple[str, ...] = ()

    @property
    def copies_of_have(self) -> frozenset[int]:
        """The candidates that are copies of labelled structures."""
        return frozenset(i for i, place in self.copies.items() if place >= len(self.candidates))

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
    config: TransferConfig,
    number: int,
    *,
    have: str | Path | None = None,
    options: DataOptions = AS_THEY_ARE,
    pooling: str = MEAN_AND_SPREAD,
    progress: bool = False,
) -> Selection:
    """Choose structures by farthest-point sampling in the features that the source has of them.

    Args:
        candidates: any file that ASE reads; labels in it are not used
        config: source, element map and λ, see :func:`.unlabelled_config`
        number: to choose
        have: labelled structures, which count as chosen
        options: how the files are to be read
        pooling: see :func:`structure_features`
        progress: show progress bars

    Raises:
        ValueError: there are fewer different candidates, or all are copies of labelled structures; or the arguments do
            not go together
        FileNotFoundError, UnreadableFile, UnusableStructure: see :func:`.reading.read_structures`
        ModuleNotFoundError: a library of the extra ``select`` is not installed
    """
    if number < 1:
        raise ValueError(f"--number is {number}: at least one structure has to be chosen.")
    given = () if have is None else (have,)
    read, *others = read_files([candidates, *given], options, labels=False)
    frames, labelled = read.structures, others[0].structures if others else []
    start = Start.of(config, load_source(config.source))
    everything = [_bare(atoms) for atoms in [*frames, *labelled]]
    rows, kind = structure_features(start, everything, pooling, "features" if progress else "")
    families = duplicate_families(everything, start.target.longest_cutoff(start.scales))
    copies = _copies(families, len(frames))
    _require(number, len(frames), copies)
    free = [i for i in range(len(frames)) if i not in copies]
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
        features=features,
        kind=kind,
        reach=float(found.left.max()),
        random_reach=(float(reaches.min()), float(reaches.max())),
        said=tuple(line for each in (read, *others) for line in each.said),
    )


def _copies(families: Sequence[int], n_candidates: int) -> dict[int, int]:
    """Candidates that are copies, each with what it is a copy of.

    Args:
        families: of the candidates, then of the labelled structures
    """
    first: dict[int, int] = {}
    for place in [*range(n_candidates, len(families)), *range(n_candidates)]:
        first.setdefault(families[place], place)
    return {i: place for i in range(n_candidates) if (place := first[families[i]]) != i}


def _require(number: int, n_candidates: int, copies: Mapping[int, int]) -> None:
    different, of_have = n_candidates - len(copies), sum(place >= n_candidates for place in copies.values())
    if different == 0:
        raise ValueError(
            f"all {n_candidates} candidates are copies of labelled structures: there is nothing new to compute."
        )
    if number > different:
        raise ValueError(
            f"--number {number} asks for more than the {different} different structures among {n_candidates} "
            f"candidates ({len(copies) - of_have} are copies of others, {of_have} of labelled ones): choose at most "
            f"{different}, or make more candidates."
        )


def _bare(atoms: Atoms) -> Atoms:
    """Without labels, by which copies would be told apart."""
    bare = atoms.copy()
    bare.calc = None
    return bare


def structure_features(
    start: Start, structures: Sequence[Atoms], pooling: str = MEAN_AND_SPREAD, task: str = ""
) -> tuple[np.ndarray, str]:
    """A row for each structure, and what the rows are made of: ``model``, or ``ACSF`` where the model has no such.

    The target model at λ sees a target structure as the source sees the same at 1/λ of its lengths.

    Args:
        pooling: ``mean`` over the atoms, or ``mean+spread``, which has their standard deviations too and so shows a
            few unusual atoms among many usual ones
        task: what a progress bar calls it; no bar if empty

    Returns:
        shape (n_structures, n_features)

    Raises:
        ValueError: see :meth:`.Start.frames`; or an unknown pooling
    """
    if pooling not in POOLINGS:
        raise ValueError(f"no pooling is called {pooling!r}: choose {' or '.join(POOLINGS)}.")
    model, cutoff = start.target.model_at(start.scales)
    frames = start.frames(structures, cutoff)
    rows, kind = model_features(model, frames, task), "model"
    if rows is None:
        scales = [float(start.scales[atom_types([frame])].mean()) for frame in frames]
        source_cutoff = start.target.source.r_max
        each = [descriptor_features([atoms], source_cutoff, scale) for atoms, scale in zip(structures, scales)]
        rows, kind = np.concatenate(each), "ACSF"
    ends = np.cumsum([AtomicDataDict.num_nodes(frame) for frame in frames])
    return np.array([_pooled(of_atoms, pooling) for of_atoms in np.split(rows, ends[:-1])]), kind


def _pooled(rows: np.ndarray, pooling: str) -> np.ndarray:
    mean = rows.mean(axis=0)
    return mean if pooling == MEAN else np.concatenate([mean, rows.std(axis=0)])


@dataclass(frozen=True)
class FarthestPoints:
    """Rows in the order of their choice.

    Args:
        order: indices of the rows
        distances: of each from those chosen before, infinite for a first one
        left: distance of each row from the nearest that is chosen or was there before
    """

    order: list[int]
    distances: list[float]
    left: np.ndarray


def standardised(features: np.ndarray) -> np.ndarray:
    """Features centred and divided by one number, the root of their variance in all: how much each varies counts."""
    centred = features - features.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=1).mean())
    return centred / scale if scale > 0 else centred


def farthest_points(features: np.ndarray, number: int, already: Sequence[int] = ()) -> FarthestPoints:
    """Choose rows by scikit-matter's farthest-point sampling.

    Without ``already``, the first choice is the row nearest to the mean: the most usual.

    Args:
        features: :func:`standardised`, shape (n, n_features)
        number: of rows to choose
        already: rows that count as chosen

    Raises:
        ModuleNotFoundError: scikit-matter is not installed
    """
    with extra("select", "a selection"):
        from skmatter.sample_selection import FPS
    first = list(already) or [int(np.argmin((features**2).sum(axis=1)))]
    if len(features) == 1:  # one row or one column scikit-matter refuses
        return FarthestPoints(first, [np.inf], np.zeros(1))
    padded = np.column_stack([features, np.zeros(len(features))])
    chosen = FPS(n_to_select=len(already) + number, initialize=first).fit(padded).selected_idx_.tolist()
    distances = cdist(features, features[chosen])  # (n, n_chosen)
    places = range(len(already), len(chosen))
    before = [float(min(distances[chosen[place], :place], default=np.inf)) for place in places]
    return FarthestPoints(chosen[len(already) :], before, distances.min(axis=1))


def random_reaches(features: np.ndarray, number: int, already: Sequence[int], draws: int, seed: int = 0) -> np.ndarray:
    """Largest distance of a row from the nearest chosen one where as many are drawn at random; shape (draws,)."""
    rng, free = np.random.default_rng(seed), np.setdiff1d(np.arange(len(features)), already)
    drawn = [[*already, *rng.choice(free, number, replace=False)] for _ in range(draws)]
    return np.array([cdist(features, features[rows]).min(axis=1).max() for rows in drawn])
