"""Sets of structures that Langevin dynamics in a reference potential makes: generated, split and written alike.

Everything is in the reduced units of the material: temperatures are ``k_B T / ε`` and times multiples of ``τ``, so that
different materials are sampled at corresponding states.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.md.langevinbaoab import LangevinBAOAB

from nequip_elemtransfer.data.split import DEFAULT_DIVISION, Division, Stratum, write_files
from nequip_elemtransfer.output.atomic import require_folder
from nequip_elemtransfer.output.progress import progress_bar

LARGEST_STRAIN = 0.04

# BAOAB places harmonic atoms without error at any stable step, so a long one costs no accuracy: 1/12 of the shortest
# phonon period of Si and 1/20 of that of Cu. Snapshots are 0.72 τ apart.
_TIME_STEP = 0.06  # τ
_MEMORY = 0.5  # τ, after which velocities are forgotten
_MELTING_STEPS = 80
_EQUILIBRATION_STEPS = 60
_STEPS_BETWEEN_FRAMES = 12


@dataclass(frozen=True)
class Material:
    """What is sampled.

    Args:
        crystal: a new perfect crystal with its calculator; may draw from the generator, such as a random alloy
        energy: ε in eV
        time: τ in ASE's unit of time
    """

    crystal: Callable[[np.random.Generator], Atoms]
    energy: float
    time: float


@dataclass(frozen=True)
class Trajectory:
    """Snapshots of one material at one temperature.

    Args:
        group: see :class:`SampledSet`
        temperature: k_B T / ε
        frames: snapshots to take
    """

    group: str
    temperature: float
    frames: int


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
        melting_temperature: at which liquids are made, k_B T / ε.
        material: of a set's name and the cubic cells along each edge of its supercell.
        elements: of a set's name; refuses one of which there is no set, by a ValueError. An alloy gets a new
            composition, and so a trajectory of its own, for each structure.
    """

    default: Sequence[str]
    groups: Sequence[str]
    temperatures: Sequence[float]
    liquid_temperatures: Sequence[float]
    melting_temperature: float
    material: Callable[[str, int], Material]
    elements: Callable[[str], Sequence[str]]

    def prepare(
        self,
        out: Path,
        *,
        systems: Sequence[str] | None = None,
        frames: int = 160,
        supercell: int = 2,
        temperatures: Sequence[float] | None = None,
        liquid_temperatures: Sequence[float] | None = None,
        division: Division = DEFAULT_DIVISION,
        force: bool = False,
    ) -> dict[str, list[Atoms]]:
        """Generate the structures and write the extxyz files of :mod:`.split` into ``out``, all or none.

        What is wrong with the sizes or the folder is found before anything is generated.

        Args:
            out: folder for the extxyz files, made if need be.
            systems: names of sets; None takes :attr:`default`.
            frames, supercell, temperatures, liquid_temperatures: see :meth:`generate`.
            division: of each set into parts; its seed fixes the structures, too.
            force: replace files that exist.

        Returns:
            frames by file name, as written.

        Raises:
            ValueError: see :meth:`generate` and :meth:`.Division.parts`.
            NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`.
        """
        systems = self.default if systems is None else systems
        for name in systems:
            require_folder(out, division.names(name), force=force)
            trajectories = self._trajectories(name, frames, temperatures, liquid_temperatures)
            division.parts(name, [(t.group, str(t.temperature)) for t in trajectories for _ in range(t.frames)])
        files: dict[str, list[Atoms]] = {}
        for name in systems:
            generated = self.generate(
                name,
                frames,
                supercell=supercell,
                temperatures=temperatures,
                liquid_temperatures=liquid_temperatures,
                seed=division.seed,
            )
            structures = list(progress_bar(generated, desc=f"{name} structures", total=frames))
            files |= division.files(name, structures, [_stratum(atoms) for atoms in structures])
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
            an iterator of structures with energy (eV), energies (n,) in eV, forces (n, 3) in eV/Å and stress (6,) in
            eV/Å³ in a SinglePointCalculator, and ``group`` and ``temperature`` (K) in ``info``.

        Raises:
            ValueError: a name that is unknown, or a number that is not positive.
        """
        if supercell < 1:
            raise ValueError(f"supercell must be at least 1, found {supercell}")
        trajectories = self._trajectories(system, frames, temperatures, liquid_temperatures)
        material = self.material(system, supercell)
        numbers = [atomic_numbers[element] for element in self.elements(system)]  # so that sets differ
        seeds = np.random.SeedSequence([seed, *numbers]).spawn(len(trajectories))
        return (
            atoms
            for trajectory, own_seed in zip(trajectories, seeds, strict=True)
            for atoms in self._sample(material, trajectory, np.random.default_rng(own_seed))
        )

    def _trajectories(
        self,
        system: str,
        frames: int,
        temperatures: Sequence[float] | None,
        liquid_temperatures: Sequence[float] | None,
    ) -> list[Trajectory]:
        """Trajectories that share the snapshots evenly among the groups and the temperatures of each."""
        is_alloy = len(self.elements(system)) > 1
        if frames < 1:
            raise ValueError(f"frames must be at least 1, found {frames}")
        crystal = self.temperatures if temperatures is None else temperatures
        liquid = self.liquid_temperatures if liquid_temperatures is None else liquid_temperatures
        trajectories = []
        for group, share in zip(self.groups, even_shares(frames, len(self.groups)), strict=True):
            reduced = liquid if group == "liquid" else crystal
            if not len(reduced) or not all(0 < t < np.inf for t in reduced):
                raise ValueError(f"temperatures of {group} must be positive, found {list(reduced)}")
            for temperature, n in zip(reduced, even_shares(share, len(reduced)), strict=True):
                each = [1] * n if is_alloy else [n] if n else []
                trajectories += [Trajectory(group, temperature, count) for count in each]
        return trajectories

    def _sample(self, material: Material, trajectory: Trajectory, rng: np.random.Generator) -> Iterator[Atoms]:
        atoms = material.crystal(rng)
        if trajectory.group == "vacancy":
            del atoms[rng.integers(len(atoms))]
        cell = atoms.cell.array.copy()

        def kelvin(temperature: float) -> float:
            return temperature * material.energy / ase.units.kB

        def advance(temperature: float, steps: int) -> None:
            LangevinBAOAB(
                atoms,
                _TIME_STEP * material.time,
                temperature_K=kelvin(temperature),
                T_tau=_MEMORY * material.time,
                rng=rng,
            ).run(steps)

        if trajectory.group == "liquid":
            advance(self.melting_temperature, _MELTING_STEPS)
        advance(trajectory.temperature, _EQUILIBRATION_STEPS)
        for _ in range(trajectory.frames):
            if trajectory.group == "strained":
                strain = rng.uniform(-LARGEST_STRAIN, LARGEST_STRAIN, (3, 3))
                atoms.set_cell(cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
            advance(trajectory.temperature, _STEPS_BETWEEN_FRAMES)
            frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
            frame.calc = SinglePointCalculator(
                frame,
                energy=atoms.get_potential_energy(),
                energies=atoms.get_potential_energies(),
                forces=atoms.get_forces(),
                stress=atoms.get_stress(),
            )
            frame.info = {"group": trajectory.group, "temperature": round(kelvin(trajectory.temperature), 1)}
            yield frame


def _stratum(atoms: Atoms) -> Stratum:
    """Group and temperature, what the split is stratified by."""
    return atoms.info["group"], f"{atoms.info['temperature']:.0f} K"


def even_shares(n: int, parts: int) -> list[int]:
    """``n`` things in ``parts`` shares that differ by one at most, the larger ones first."""
    return [n // parts + (k < n % parts) for k in range(parts)]
