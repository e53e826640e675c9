"""Sets of structures that dynamics in a reference potential makes: generated, split and written alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from tqdm import tqdm

from nequip_elemtransfer.output.atomic import require_folder

from . import DEFAULT_SIZES
from .files import check_parts, divide, part_names, write_files
from .sampling import Material, Schedule, Trajectory, plan_trajectories, sample
from .split import Stratum, split


@dataclass(frozen=True)
class SampledSet:
    """Sets of one potential, in four groups of structures each.

    ``strained`` is the crystal with a new random strain of up to 4 % per component before each snapshot, ``vacancy``
    the crystal without one atom, ``liquid`` a melt of the crystal's density, and another group the crystal at its
    volume at 0 K.

    Args:
        default: sets prepared where none are named.
        groups: of structures.
        temperatures: of the crystalline groups where none are given, k_B T / ε.
        liquid_temperatures: of the liquid where none are given, k_B T / ε.
        schedule: of the dynamics.
        material: of a set's name and the cubic cells along each edge of its supercell.
        seeds: of a set's name, which go with the seed, so that sets differ.
        check: refuses a name of which there is no set, by a ValueError.
        one_each: whether each structure of a set has a trajectory of its own.
    """

    default: Sequence[str]
    groups: Sequence[str]
    temperatures: Sequence[float]
    liquid_temperatures: Sequence[float]
    schedule: Schedule
    material: Callable[[str, int], Material]
    seeds: Callable[[str], Sequence[int]]
    check: Callable[[str], object]
    one_each: Callable[[str], bool] = lambda system: False

    def prepare(
        self,
        out: Path,
        *,
        systems: Sequence[str] | None = None,
        frames: int = 160,
        supercell: int = 2,
        temperatures: Sequence[float] | None = None,
        liquid_temperatures: Sequence[float] | None = None,
        sizes: Sequence[int] = DEFAULT_SIZES,
        seed: int = 0,
        subset_seed: int | None = None,
        force: bool = False,
    ) -> dict[str, list[Atoms]]:
        """Generate the structures and write the extxyz files of :mod:`.files` into ``out``, all or none.

        What is wrong with the sizes or the folder is found before anything is generated.

        Args:
            out: folder for the extxyz files, made if need be.
            systems: names of sets; None takes :attr:`default`.
            frames, supercell, temperatures, liquid_temperatures: see :meth:`generate`.
            sizes, subset_seed: see :func:`.files.divide`.
            seed: fixes the structures and the split.
            force: replace files that exist.

        Returns:
            frames by file name, as written.

        Raises:
            ValueError: see :meth:`generate` and :func:`.files.divide`.
            NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`.
        """
        systems = self.default if systems is None else systems
        settings = {"supercell": supercell, "temperatures": temperatures, "liquid_temperatures": liquid_temperatures}
        for name in systems:
            require_folder(out, part_names(name, sizes), force=force)
            trajectories = self._trajectories(name, frames, temperatures, liquid_temperatures)
            strata = [(t.group, str(t.temperature)) for t in trajectories for _ in range(t.frames)]
            check_parts(name, split(strata, seed=seed), sizes)
        files: dict[str, list[Atoms]] = {}
        for name in systems:
            structures = list(
                tqdm(self.generate(name, frames, seed=seed, **settings), desc=f"{name} structures", total=frames)
            )
            strata = [stratum(atoms) for atoms in structures]
            files |= divide(name, structures, strata, sizes=sizes, seed=seed, subset_seed=subset_seed)
        write_files(out, files, force=force)
        return files

    def generate(
        self,
        system: str,
        frames: int = 160,
        *,
        supercell: int = 2,
        temperatures: Sequence[float] | None = None,
        liquid_temperatures: Sequence[float] | None = None,
        seed: int = 0,
    ) -> Iterator[Atoms]:
        """Labelled snapshots of Langevin dynamics, in equal parts from the groups.

        Args:
            system: name of the set.
            frames: how many, in all groups together.
            supercell: cubic cells along each edge.
            temperatures: of the crystalline groups, k_B T / ε; None takes :attr:`temperatures`.
            liquid_temperatures: of the liquid, k_B T / ε; None takes :attr:`liquid_temperatures`.
            seed: same seed, bitwise the same structures.

        Returns:
            as :func:`.sampling.sample`.

        Raises:
            ValueError: a name that is unknown, or a number that is not positive.
        """
        if supercell < 1:
            raise ValueError(f"supercell must be at least 1, found {supercell}")
        trajectories = self._trajectories(system, frames, temperatures, liquid_temperatures)
        seeds = np.random.SeedSequence([seed, *self.seeds(system)])
        return sample(self.material(system, supercell), self.schedule, trajectories, seeds)

    def _trajectories(
        self,
        system: str,
        frames: int,
        temperatures: Sequence[float] | None,
        liquid_temperatures: Sequence[float] | None,
    ) -> list[Trajectory]:
        self.check(system)
        crystal = self.temperatures if temperatures is None else temperatures
        liquid = self.liquid_temperatures if liquid_temperatures is None else liquid_temperatures
        trajectories = plan_trajectories(self.groups, frames, crystal, liquid)
        if not self.one_each(system):
            return trajectories
        return [Trajectory(t.group, t.temperature, 1) for t in trajectories for _ in range(t.frames)]


def stratum(atoms: Atoms) -> Stratum:
    """Group and temperature, what the split is stratified by."""
    return atoms.info["group"], f"{atoms.info['temperature']:.0f} K"
