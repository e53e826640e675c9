"""All candidates of a target, in one file: corresponding states, changed ones, and those of molecular dynamics."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.candidates import variants
from nequip_elemtransfer.candidates.trajectories import Dynamics, trajectories
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import Criteria
from nequip_elemtransfer.output.atomic import require_writable, written_together
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.files import elements_in, typical_volume
from nequip_elemtransfer.structures.frames import evenly_spaced
from nequip_elemtransfer.structures.reading import read_structures
from nequip_elemtransfer.transfer.start import Start, given_scales

CORRESPONDING, DYNAMICS = "corresponding", "dynamics"
STRAINED, RATTLED, WITH_VACANCY, SURFACE = "strained", "rattled", "vacancy", "surface"
KINDS = (CORRESPONDING, STRAINED, RATTLED, WITH_VACANCY, SURFACE)
# simulations begin without vacuum: no more volume per atom than this multiple of the median
_LOOSEST = 1.5
_PLANES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))


@dataclass(frozen=True)
class CandidateSettings:
    """What is made.

    Args:
        number: structures of each kind but dynamics
        kinds: of :data:`KINDS`
        largest_strain: of a component
        rattle: standard deviation of a component, in nearest-neighbour distances
        crystal: of the target, whose supercell, vacancies and low-index surfaces come first
        supercell: of the crystal, conventional cells along each edge
        criteria: by which simulations end; structures with two atoms closer than ``shortest_bond`` are left out
        seed: of everything that is drawn
    """

    number: int = 20
    kinds: tuple[str, ...] = KINDS
    largest_strain: float = 0.05
    rattle: float = 0.04
    crystal: Crystal | None = None
    supercell: int = 2
    criteria: Criteria = Criteria()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.number < 1 or self.supercell < 1:
            raise ValueError(f"--number and --supercell must be at least 1, found {self.number} and {self.supercell}.")
        if not 0 < self.largest_strain < 0.5:
            raise ValueError(f"--strain is a part of a length between 0 and 0.5, found {self.largest_strain:g}.")
        if not 0 < self.rattle < 0.5:
            raise ValueError(f"--rattle is a part of the bond length between 0 and 0.5, found {self.rattle:g}.")
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise ValueError(f"no candidates are called {unknown[0]!r}: choose from {', '.join(KINDS)}.")


_DEFAULTS = CandidateSettings()


@dataclass(frozen=True)
class Candidates:
    """What was made.

    Args:
        structures: with ``group`` and ``made_from`` in ``info``, and what was done
        notes: what was left out or ended early, in words
    """

    structures: list[Atoms]
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Number of structures of each group."""
        return dict(Counter(atoms.info["group"] for atoms in self.structures))


def make_candidates(
    structures: str | Path,
    config: TransferConfig,
    settings: CandidateSettings = _DEFAULTS,
    dynamics: Dynamics | None = None,
    progress: bool = False,
) -> Candidates:
    """Candidates made from the structures of a source; the same arguments make the same.

    Args:
        structures: of the source's elements, labels in them are ignored
        config: element map and λ, see :func:`.unlabelled_config`
        dynamics: of a model; none are run by default
        progress: show progress bars

    Raises:
        ValueError: the arguments do not go with the structures, or nothing can be made of them
        FileNotFoundError, UnreadableFile, UnusableStructure: see :func:`.reading.read_structures`
    """
    read = read_structures(structures, labels=False)
    frames = read.structures
    maker = _Maker(CorrespondingStates(config, frames), frames, Path(structures).name, settings)
    if dynamics is not None:
        source = load_source(dynamics.model)
        config = replace(config, source=source.path)
        if set(source.type_names) == set(config.type_names):
            config = replace(config, elements={name: name for name in config.type_names}, length_scale="none")
        maker.add_dynamics(Start.of(config, source).calculator(dynamics.energy_scale), dynamics, progress)
    made = maker.result()
    return replace(made, notes=[*read.said, *made.notes])


def write_candidates(candidates: Candidates, out: Path, *, force: bool = False) -> None:
    """Write the structures as extended XYZ.

    Raises:
        OSError: see :func:`.atomic.require_writable`
    """
    require_writable(out, force)
    with written_together([out], force=force) as (staged,):
        ase.io.write(staged, candidates.structures, format="extxyz")


class CorrespondingStates:
    """Makes target structures of source structures.

    Args:
        config: element map and λ
        structures: of the source, whose elements are its types

    Raises:
        ValueError: a target starts from an element that no structure has
    """

    def __init__(self, config: TransferConfig, structures: Sequence[Atoms]) -> None:
        types = elements_in(structures)
        self.element_map = ElementMap.from_elements(config.elements, types, config.species)
        self.scales = given_scales(config, self.element_map)

    def covers(self, atoms: Atoms) -> bool:
        """Whether some target type starts from each element of a structure."""
        return all(len(self._targets(symbol)) for symbol in set(atoms.symbols))

    def of(self, atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, float]:
        """A target structure and its λ: the mean over its atoms, since one number scales a cell.

        Where several target types start from one element, each atom of it becomes one of them at random.
        """
        drawn = np.array([rng.choice(self._targets(symbol)) for symbol in atoms.symbols])
        scale = float(self.scales[drawn].mean())
        species = [self.element_map.target_species[t] for t in drawn]
        return Atoms(species, scale * atoms.positions, cell=scale * np.asarray(atoms.cell), pbc=atoms.pbc), scale

    def _targets(self, symbol: str) -> np.ndarray:
        """Indices of the target types that start from an element."""
        types = self.element_map.source_types
        return np.flatnonzero(self.element_map.weights[:, types.index(symbol)]) if symbol in types else np.array([])


class _Maker:
    """Collects candidates."""

    def __init__(
        self, states: CorrespondingStates, frames: Sequence[Atoms], name: str, settings: CandidateSettings
    ) -> None:
        self._settings, self._notes = settings, list[str]()
        self._found: list[Atoms] = []
        seeds = np.random.SeedSequence(settings.seed).spawn(len(KINDS))  # a kind more changes no other
        self._rng = {kind: np.random.default_rng(seed) for kind, seed in zip(KINDS, seeds)}
        covered = [i for i, atoms in enumerate(frames) if states.covers(atoms)]
        if not covered:
            raise ValueError(
                f"no structure of {name} consists of what the targets start from: it holds "
                f"{', '.join(elements_in(frames))}."
            )
        if len(covered) < len(frames):
            self._notes.append(
                f"{len(frames) - len(covered)} structures hold elements from which no target type starts."
            )
        self._base = []
        for i in covered:
            atoms, scale = states.of(frames[i], self._rng[CORRESPONDING])
            self._base.append(_noted(atoms, made_from=f"structure {i} of {name}", length_scale=round(scale, 6)))
        self.bond = settings.crystal.nearest_neighbor if settings.crystal else variants.nearest_neighbor(self._base)
        if crystal := settings.crystal:
            supercell = crystal.supercell(settings.supercell)
            self._base.insert(0, _noted(supercell, made_from=f"{crystal.structure} {crystal.formula}"))
        self._add_kinds()

    def add_dynamics(self, calculator: Calculator, dynamics: Dynamics, progress: bool) -> None:
        """Snapshots of simulations with a model."""
        typical = typical_volume(self._base)
        bulk = [a for a in self._base if a.pbc.all() and typical and a.get_volume() / len(a) < _LOOSEST * typical]
        if not bulk:
            raise ValueError("molecular dynamics needs structures that are periodic in three directions: none is.")
        criteria, seed = self._settings.criteria, self._settings.seed
        runs = trajectories(bulk, calculator, dynamics, self.bond, criteria, seed, progress)
        for run in runs:
            origin = bulk[run.beginning].info["made_from"]
            self._found += [_noted(atoms, group=DYNAMICS, made_from=origin) for atoms in run.snapshots]
            if run.ended:
                self._notes.append(f"Dynamics from {origin}: {run.ended}.")
        if not any(run.snapshots for run in runs):
            raise ValueError(
                f"every simulation fails before its first snapshot ({runs[0].ended}): lower --temperatures or "
                "--timestep, or make candidates without --model."
            )

    def result(self) -> Candidates:
        """Those without atoms upon each other."""
        least = self._settings.criteria.shortest_bond * self.bond
        kept = [atoms for atoms in self._found if variants.shortest_distance(atoms) >= least]
        if left := len(self._found) - len(kept):
            self._notes.append(f"{left} structures were left out: two atoms are closer than {least:.2f} Å.")
        if not kept:
            raise ValueError(
                f"no candidate is left: in each two atoms are closer than {least:.2f} Å. Lower --strain and --rattle, "
                "or look at --length-scale."
            )
        return Candidates(kept, self._notes)

    def _add_kinds(self) -> None:
        settings, rng = self._settings, self._rng
        bulk = [atoms for atoms in self._base if atoms.pbc.all()]
        large = [atoms for atoms in bulk if len(atoms) >= variants.LEAST_FOR_VACANCY]
        spread = settings.rattle * self.bond
        self._add(CORRESPONDING, self._base, lambda atoms: atoms.copy())
        self._add(STRAINED, bulk, lambda atoms: variants.strained(atoms, settings.largest_strain, rng[STRAINED]))
        self._add(RATTLED, self._base, lambda atoms: variants.rattled(atoms, spread, rng[RATTLED]))
        self._add(
            WITH_VACANCY,
            large,
            lambda atoms: variants.rattled(
                variants.with_vacancy(atoms, rng[WITH_VACANCY]), 0.5 * spread, rng[WITH_VACANCY]
            ),
        )
        slabs = self._slabs() or [variants.with_surface(atoms, rng[SURFACE]) for atoms in bulk]
        self._add(SURFACE, slabs, lambda atoms: variants.rattled(atoms, 0.5 * spread, rng[SURFACE]))

    def _slabs(self) -> list[Atoms]:
        crystal = self._settings.crystal
        if crystal is None:
            return []
        made_from = f"{crystal.structure} {crystal.formula}"
        slab = partial(crystal.slab, thickness=8.0, vacuum=variants.VACUUM)
        return [_noted(slab(plane), made_from=made_from, surface="".join(map(str, plane))) for plane in _PLANES]

    def _add(self, kind: str, bases: Sequence[Atoms], change: Callable[[Atoms], Atoms]) -> None:
        """The kind's number of structures, from each base in turn where those are fewer."""
        if kind not in self._settings.kinds:
            return
        if not bases:
            self._notes.append(f"No {kind} structures: none of the source's is periodic and large enough.")
            return
        number = self._settings.number if kind != CORRESPONDING else min(self._settings.number, len(bases))
        chosen = evenly_spaced(len(bases), number)
        self._found += [_noted(change(bases[chosen[n % len(chosen)]]), group=kind) for n in range(number)]


def _noted(atoms: Atoms, **info: str | float) -> Atoms:
    atoms.info |= info
    return atoms
