r"""Classical structures of fcc metals and their alloys in effective medium theory, as ASE has it.

K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394 (1996).

Everything is done in reduced units, ``ε`` the cohesive energy and ``τ = r √(m/ε)`` with the distance r of nearest
neighbors: 0.10 ps for Cu. The metals melt near a reduced temperature of 0.03. Alloys are random: each
structure has its own composition, drawn evenly over all compositions, and its own occupation of the sites, at the
composition's mean lattice constant (Vegard) and mean ε and τ.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import ase.units
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT, beta
from ase.calculators.emt import parameters as EMT_PARAMETERS
from ase.data import atomic_masses, atomic_numbers
from ase.symbols import string2symbols

from . import DEFAULT_SIZES
from .sampling import Material, Schedule, Trajectory, plan_trajectories, prepare_sets, sample

METALS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")
GROUPS = ("fcc", "strained", "vacancy", "liquid")
CRYSTAL_TEMPERATURES = (0.008, 0.016, 0.024)  # k_B T / ε; 326, 652, 978 K for Cu
LIQUID_TEMPERATURES = (0.045, 0.055)  # 1833, 2240 K for Cu

# The step is 1/20 of copper's shortest phonon period; snapshots are 0.75 τ apart.
SCHEDULE = Schedule(
    time_step=0.06,
    memory=0.5,
    melting_temperature=0.1,
    melting_steps=80,
    equilibration_steps=60,
    steps_between_frames=12,
)


def prepare(
    out: Path,
    *,
    systems: Sequence[str] = ("Cu", "Ag"),
    frames: int = 160,
    supercell: int = 2,
    temperatures: Sequence[float] = CRYSTAL_TEMPERATURES,
    liquid_temperatures: Sequence[float] = LIQUID_TEMPERATURES,
    sizes: Sequence[int] = DEFAULT_SIZES,
    seed: int = 0,
    subset_seed: int | None = None,
    force: bool = False,
) -> dict[str, list[Atoms]]:
    """Generate the structures and write the extxyz files of :mod:`.files` into ``out``.

    Args:
        out: folder for the extxyz files, made if need be.
        systems: metals and alloys, see :func:`generate`.
        frames, supercell, temperatures, liquid_temperatures: see :func:`generate`.
        sizes, subset_seed: see :func:`.files.divide`.
        seed: fixes the structures and the split.
        force: replace files that exist.

    Returns:
        frames by file name, as written.

    Raises:
        ValueError: see :func:`generate` and :func:`.files.divide`.
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`.
    """
    trajectories = {system: _trajectories(system, frames, temperatures, liquid_temperatures) for system in systems}

    def structures(system: str) -> Iterator[Atoms]:
        return generate(
            system,
            frames,
            supercell=supercell,
            temperatures=temperatures,
            liquid_temperatures=liquid_temperatures,
            seed=seed,
        )

    return prepare_sets(
        out, systems, trajectories, structures, sizes=sizes, seed=seed, subset_seed=subset_seed, force=force
    )


def generate(
    system: str,
    frames: int = 160,
    *,
    supercell: int = 2,
    temperatures: Sequence[float] = CRYSTAL_TEMPERATURES,
    liquid_temperatures: Sequence[float] = LIQUID_TEMPERATURES,
    seed: int = 0,
) -> Iterator[Atoms]:
    """Labelled snapshots of Langevin dynamics, in equal parts from four groups.

    ``fcc`` is the crystal at its 0 K volume, ``strained`` the same with a random strain of up to 4 % per component,
    ``vacancy`` the crystal without one atom, ``liquid`` a melt of the crystal's density.

    Args:
        system: a metal such as ``Cu`` or an alloy such as ``CuAu``; of Al, Cu, Ag, Au, Ni, Pd and Pt.
        frames: how many, in all groups together.
        supercell: cubic cells of 4 atoms along each edge, so 4 * supercell**3 atoms.
        temperatures: of the crystalline groups, k_B T / ε.
        liquid_temperatures: of the liquid, k_B T / ε.
        seed: same seed, bitwise the same structures.

    Returns:
        as :func:`.sampling.sample`.

    Raises:
        ValueError: unknown metal, one named twice, or a number that is not positive.
    """
    if supercell < 1:
        raise ValueError(f"supercell must be at least 1, found {supercell}")
    trajectories = _trajectories(system, frames, temperatures, liquid_temperatures)
    metals = _metals(system)
    seeds = np.random.SeedSequence([seed, *(atomic_numbers[metal] for metal in metals)])
    return sample(_material(metals, supercell), SCHEDULE, trajectories, seeds)


def lattice_constant(metal: str) -> float:
    """Lattice constant of the fcc crystal, √2 β s₀ of EMT, in Å.

    That of lowest energy differs by up to 2 % in ASE, for its cutoff.
    """
    return np.sqrt(2) * _neighbor_distance(metal)


def _trajectories(
    system: str, frames: int, temperatures: Sequence[float], liquid_temperatures: Sequence[float]
) -> list[Trajectory]:
    trajectories = plan_trajectories(GROUPS, frames, temperatures, liquid_temperatures)
    if len(_metals(system)) == 1:
        return trajectories
    # an alloy gets a new composition, and so a trajectory of its own, for each structure
    return [
        Trajectory(trajectory.group, trajectory.temperature, 1)
        for trajectory in trajectories
        for _ in range(trajectory.frames)
    ]


def _material(metals: Sequence[str], supercell: int) -> Material:
    def crystal(rng: np.random.Generator) -> Atoms:
        atoms = bulk(metals[0], "fcc", a=1.0, cubic=True) * supercell
        if len(metals) > 1:
            fractions = rng.dirichlet(np.ones(len(metals)))
            atoms.symbols = rng.choice(metals, len(atoms), p=fractions)
        atoms.set_cell(atoms.cell * np.mean([lattice_constant(metal) for metal in atoms.symbols]), scale_atoms=True)
        atoms.calc = EMT()
        return atoms

    energies = [-EMT_PARAMETERS[metal][0] for metal in metals]
    masses = [atomic_masses[atomic_numbers[metal]] for metal in metals]
    distances = [_neighbor_distance(metal) for metal in metals]
    energy = float(np.mean(energies))
    return Material(crystal, energy, float(np.mean(distances) * np.sqrt(np.mean(masses) / energy)))


def _neighbor_distance(metal: str) -> float:
    return beta * EMT_PARAMETERS[metal][1] * ase.units.Bohr  # s₀ is in bohr


def _metals(system: str) -> list[str]:
    try:
        metals = string2symbols(system)
    except ValueError:
        metals = []
    if not metals or not set(metals) <= set(METALS) or len(set(metals)) < len(metals):
        raise ValueError(
            f"no EMT structures for {system!r}; name one of {', '.join(METALS)}, or several different ones as in 'CuAu'"
        )
    return metals
