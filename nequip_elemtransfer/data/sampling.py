"""Snapshots of Langevin dynamics in a reference potential, all in the reduced units of the material.

Temperatures are ``k_B T / ε`` and times multiples of ``τ``, so that different materials are sampled at corresponding
states.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevinbaoab import LangevinBAOAB

LARGEST_STRAIN = 0.04


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
class Schedule:
    """How it is sampled.

    BAOAB places harmonic atoms without error at any stable step, so a long one costs no accuracy.

    Args:
        time_step: τ
        memory: time after which velocities are forgotten, τ
        melting_temperature: at which liquids are made, k_B T / ε
        melting_steps, equilibration_steps, steps_between_frames: of dynamics
    """

    time_step: float
    memory: float
    melting_temperature: float
    melting_steps: int
    equilibration_steps: int
    steps_between_frames: int


@dataclass(frozen=True)
class Trajectory:
    """Snapshots of one material at one temperature.

    Args:
        group: ``strained`` gets a new random strain before each snapshot, ``vacancy`` has one atom removed, ``liquid``
            is molten first, any other is the crystal at its volume at 0 K
        temperature: k_B T / ε
        frames: snapshots to take
    """

    group: str
    temperature: float
    frames: int


def plan_trajectories(
    groups: Sequence[str], frames: int, temperatures: Sequence[float], liquid_temperatures: Sequence[float]
) -> list[Trajectory]:
    """Trajectories that share ``frames`` snapshots evenly among the groups and the temperatures of each.

    Raises:
        ValueError: fewer than one frame, or a temperature that is not positive.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, found {frames}")
    trajectories = []
    for group, n in zip(groups, even_shares(frames, len(groups)), strict=True):
        reduced = liquid_temperatures if group == "liquid" else temperatures
        if not len(reduced) or not all(0 < t < np.inf for t in reduced):
            raise ValueError(f"temperatures of {group} must be positive, found {list(reduced)}")
        trajectories += [
            Trajectory(group, *shared) for shared in zip(reduced, even_shares(n, len(reduced)), strict=True)
        ]
    return [trajectory for trajectory in trajectories if trajectory.frames]


def sample(
    material: Material, schedule: Schedule, trajectories: Sequence[Trajectory], seed: np.random.SeedSequence
) -> Iterator[Atoms]:
    """Labelled snapshots of each trajectory, bitwise the same for the same seed.

    Returns:
        an iterator of structures with energy (eV), energies (n,) in eV, forces (n, 3) in eV/Å and stress (6,) in eV/Å³
        in a SinglePointCalculator, and ``group`` and ``temperature`` (K) in ``info``.
    """
    return chain.from_iterable(
        _trajectory(material, schedule, trajectory, np.random.default_rng(own_seed))
        for trajectory, own_seed in zip(trajectories, seed.spawn(len(trajectories)), strict=True)
    )


def _trajectory(
    material: Material, schedule: Schedule, trajectory: Trajectory, rng: np.random.Generator
) -> Iterator[Atoms]:
    atoms = material.crystal(rng)
    if trajectory.group == "vacancy":
        del atoms[rng.integers(len(atoms))]
    cell = atoms.cell.array.copy()

    def advance(temperature: float, steps: int) -> None:
        LangevinBAOAB(
            atoms,
            schedule.time_step * material.time,
            temperature_K=temperature * material.energy / ase.units.kB,
            T_tau=schedule.memory * material.time,
            rng=rng,
        ).run(steps)

    if trajectory.group == "liquid":
        advance(schedule.melting_temperature, schedule.melting_steps)
    advance(trajectory.temperature, schedule.equilibration_steps)
    for _ in range(trajectory.frames):
        if trajectory.group == "strained":
            atoms.set_cell(cell @ (np.eye(3) + _random_strain(rng)), scale_atoms=True)
        advance(trajectory.temperature, schedule.steps_between_frames)
        yield _labelled(atoms, trajectory.group, trajectory.temperature * material.energy / ase.units.kB)


def _random_strain(rng: np.random.Generator) -> np.ndarray:
    strain = rng.uniform(-LARGEST_STRAIN, LARGEST_STRAIN, (3, 3))
    return (strain + strain.T) / 2


def _labelled(atoms: Atoms, group: str, temperature: float) -> Atoms:
    frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
    frame.calc = SinglePointCalculator(
        frame,
        energy=atoms.get_potential_energy(),
        energies=atoms.get_potential_energies(),
        forces=atoms.get_forces(),
        stress=atoms.get_stress(),
    )
    frame.info = {"group": group, "temperature": round(temperature, 1)}
    return frame


def even_shares(n: int, parts: int) -> list[int]:
    """``n`` things in ``parts`` shares that differ by one at most, the larger ones first."""
    return [n // parts + (k < n % parts) for k in range(parts)]
