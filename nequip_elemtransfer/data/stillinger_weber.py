r"""Classical structures of silicon and germanium in the Stillinger-Weber potential.

.. math::

    E = \sum_{i<j} \varepsilon A \Bigl[B \bigl(\tfrac{\sigma}{r}\bigr)^4 - 1\Bigr]
        e^{\sigma / (r - a\sigma)}
      + \sum_{i, j<k} \varepsilon \lambda \bigl(\cos\theta_{jik} + \tfrac13\bigr)^2
        e^{\gamma\sigma / (r_{ij} - a\sigma) + \gamma\sigma / (r_{ik} - a\sigma)}

Silicon: Stillinger & Weber, Phys. Rev. B 31, 5262 (1985). Germanium: Ding & Andersen,
Phys. Rev. B 34, 6987 (1986), which has its own ε, σ and λ; the other constants are those of
silicon. Between the two elements, only λ (21 and 31) is not a change of units: with one λ,
germanium at lengths σ_Ge/σ_Si and energies ε_Ge/ε_Si *is* silicon.

Everything is therefore done in reduced units, the same for both elements: temperature
``k_B T / ε`` and time ``τ = σ √(m/ε)``, 77 fs for Si and 136 fs for Ge. Silicon melts at a reduced
temperature of 0.067, about 1680 K; the stronger three-body term of germanium makes its crystal
more stable. The default crystals stay below 0.067, and the liquids are molten at 0.3 and kept at
0.14 or more, where neither element freezes again.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import ase.units
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_masses, atomic_numbers
from ase.md.langevinbaoab import LangevinBAOAB
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si,
    StillingerWeber,
)
from matscipy.neighbours import CutoffNeighbourhood, first_neighbours, triplet_list
from tqdm import tqdm

from . import DEFAULT_SIZES
from .files import check_output, check_parts, divide, part_names, write_files
from .split import Stratum, split

PARAMETERS = {
    "Si": Stillinger_Weber_PRB_31_5262_Si,
    "Ge": Stillinger_Weber_PRB_31_5262_Si
    | {
        "__ref__": "K. Ding and H. C. Andersen, Phys. Rev. B 34, 6987 (1986)",
        "el": "Ge",
        "epsilon": 1.93,
        "sigma": 2.181,
        "lambda1": 31.0,
    },
}
GROUPS = ("diamond", "strained", "vacancy", "liquid")
CRYSTAL_TEMPERATURES = (0.01, 0.03, 0.05)  # k_B T / ε; 252, 755, 1258 K for Si
LIQUID_TEMPERATURES = (0.14, 0.17)  # 3523, 4278 K for Si
MELTING_TEMPERATURE = 0.3

# BAOAB places harmonic atoms without error at any stable step, so a long one costs no accuracy:
# 0.06 τ is 1/12 of the shortest phonon period. Velocities are forgotten in 1/FRICTION = 0.5 τ,
# and snapshots are 0.72 τ apart.
TIME_STEP = 0.06  # τ
FRICTION = 2.0  # 1/τ
EQUILIBRATION_STEPS = 60
MELTING_STEPS = 80
STEPS_BETWEEN_FRAMES = 12
LARGEST_STRAIN = 0.04


def prepare(
    out: Path,
    *,
    elements: Sequence[str] = ("Si", "Ge"),
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
        elements: of ``Si`` and ``Ge``.
        frames, supercell, temperatures, liquid_temperatures: see :func:`generate`.
        sizes, subset_seed: see :func:`.files.divide`.
        seed: fixes the structures and the split.
        force: replace files that exist.

    Returns:
        frames by file name, as written.

    Raises:
        ValueError: see :func:`generate` and :func:`.files.divide`.
        NotADirectoryError, FileExistsError: see :func:`.files.check_output`.
    """
    runs = {}
    for element in elements:
        check_output(out, part_names(element, sizes), force=force)
        plan = _plan(element, frames, temperatures, liquid_temperatures)
        strata = [(group, str(reduced)) for group, reduced, n in plan for _ in range(n)]
        check_parts(element, split(strata, seed=seed), sizes)
        runs[element] = generate(
            element,
            frames,
            supercell=supercell,
            temperatures=temperatures,
            liquid_temperatures=liquid_temperatures,
            seed=seed,
        )
    files: dict[str, list[Atoms]] = {}
    for element, run in runs.items():
        structures = list(tqdm(run, desc=f"{element} structures", total=frames))
        files |= divide(
            element,
            structures,
            [stratum(atoms) for atoms in structures],
            sizes=sizes,
            seed=seed,
            subset_seed=subset_seed,
        )
    write_files(out, files, force=force)
    return files


def generate(
    element: str,
    frames: int = 160,
    *,
    supercell: int = 2,
    temperatures: Sequence[float] = CRYSTAL_TEMPERATURES,
    liquid_temperatures: Sequence[float] = LIQUID_TEMPERATURES,
    seed: int = 0,
) -> Iterator[Atoms]:
    """Labelled snapshots of Langevin dynamics, in equal parts from four groups.

    ``diamond`` is the crystal at its 0 K volume, ``strained`` the same with a new random strain of
    up to 4 % per component before each snapshot, ``vacancy`` the crystal without one atom,
    ``liquid`` a melt of the crystal's density.

    Args:
        element: ``Si`` or ``Ge``.
        frames: how many, in all groups together.
        supercell: cubic cells of 8 atoms along each edge, so 8 * supercell**3 atoms.
        temperatures: of the crystalline groups, k_B T / ε.
        liquid_temperatures: of the liquid, k_B T / ε.
        seed: same seed, bitwise the same structures.

    Returns:
        an iterator of structures with energy (eV), energies (n,) in eV, forces (n, 3) in eV/Å and
        stress (6,) in eV/Å³ in a SinglePointCalculator, and ``group`` and ``temperature`` (K) in
        ``info``.

    Raises:
        ValueError: unknown element, or a number that is not positive.
    """
    if supercell < 1:
        raise ValueError(f"supercell must be at least 1, found {supercell}")
    plan = _plan(element, frames, temperatures, liquid_temperatures)
    seeds = np.random.SeedSequence([seed, atomic_numbers[element]]).spawn(len(plan))
    return chain.from_iterable(
        _trajectory(element, group, reduced, n, supercell, np.random.default_rng(run_seed))
        for (group, reduced, n), run_seed in zip(plan, seeds, strict=True)
    )


def stillinger_weber_calculator(element: str) -> Calculator:
    """ASE calculator of energy, per-atom energies, forces and stress.

    Args:
        element: ``Si`` or ``Ge``.

    Raises:
        ValueError: another element.
    """
    form = StillingerWeber(_parameters(element))
    neighbourhood = _PairTriplets(atom_types=form["atom_type"], pair_types=form["pair_type"])
    return Manybody(**form, neighbourhood=neighbourhood)


def lattice_constant(element: str) -> float:
    """Equilibrium lattice constant of diamond, 4/√3 · 2^(1/6) σ, in Å."""
    return 4 / np.sqrt(3) * 2 ** (1 / 6) * _parameters(element)["sigma"]


def kelvin(element: str, reduced_temperature: float) -> float:
    """Temperature in K of a reduced temperature k_B T / ε."""
    return reduced_temperature * _parameters(element)["epsilon"] / ase.units.kB


def stratum(atoms: Atoms) -> Stratum:
    """Group and temperature, what the split is stratified by."""
    return atoms.info["group"], f"{atoms.info['temperature']:.0f} K"


def _plan(
    element: str, frames: int, temperatures: Sequence[float], liquid_temperatures: Sequence[float]
) -> list[tuple[str, float, int]]:
    """(group, reduced temperature, number of frames) of each trajectory."""
    _parameters(element)
    if frames < 1:
        raise ValueError(f"frames must be at least 1, found {frames}")
    plan = []
    for group, n in zip(GROUPS, _even_shares(frames, len(GROUPS)), strict=True):
        reduced = liquid_temperatures if group == "liquid" else temperatures
        if not len(reduced) or not all(0 < t < np.inf for t in reduced):
            raise ValueError(f"temperatures of {group} must be positive, found {list(reduced)}")
        plan += [(group, *run) for run in zip(reduced, _even_shares(n, len(reduced)), strict=True)]
    return [run for run in plan if run[2]]


class _PairTriplets(CutoffNeighbourhood):
    """Triplets without the pair j-k, which energy and forces do not need.

    matscipy looks for it in a Python loop that takes four fifths of an MD step.
    """

    def get_triplets(self, atoms, quantities, neighbours=None, cutoff=None):
        if quantities != "ijdD" or neighbours is not None or cutoff is not None:
            return super().get_triplets(atoms, quantities, neighbours, cutoff)
        i_p, d_p, D_p = self.get_pairs(atoms, "idD")  # (n_pairs,), (n_pairs,), (n_pairs, 3)
        ij_t, ik_t = triplet_list(first_neighbours(len(atoms), i_p), d_p, self.cutoff)
        d_tq = np.stack([d_p[ij_t], d_p[ik_t]], axis=1)  # (n_triplets, 2)
        D_tqc = np.stack([D_p[ij_t], D_p[ik_t]], axis=1)  # (n_triplets, 2, 3)
        return ij_t, ik_t, d_tq, D_tqc


def _trajectory(
    element: str,
    group: str,
    reduced_temperature: float,
    frames: int,
    supercell: int,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    atoms = bulk(element, "diamond", a=lattice_constant(element), cubic=True) * supercell
    if group == "vacancy":
        del atoms[rng.integers(len(atoms))]
    atoms.calc = stillinger_weber_calculator(element)
    cell = atoms.cell.array.copy()
    if group == "liquid":
        _langevin(element, atoms, MELTING_TEMPERATURE, MELTING_STEPS, rng)
    _langevin(element, atoms, reduced_temperature, EQUILIBRATION_STEPS, rng)
    for _ in range(frames):
        if group == "strained":
            atoms.set_cell(cell @ (np.eye(3) + _random_strain(rng)), scale_atoms=True)
        _langevin(element, atoms, reduced_temperature, STEPS_BETWEEN_FRAMES, rng)
        yield _labelled(atoms, group, kelvin(element, reduced_temperature))


def _langevin(
    element: str, atoms: Atoms, reduced_temperature: float, steps: int, rng: np.random.Generator
) -> None:
    parameters = _parameters(element)
    mass = atomic_masses[atomic_numbers[element]]
    tau = parameters["sigma"] * np.sqrt(mass / parameters["epsilon"])  # ASE time units
    LangevinBAOAB(
        atoms,
        TIME_STEP * tau,
        temperature_K=kelvin(element, reduced_temperature),
        T_tau=tau / FRICTION,
        rng=rng,
    ).run(steps)


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


def _parameters(element: str) -> dict:
    if element not in PARAMETERS:
        raise ValueError(
            f"no Stillinger-Weber parameters for {element!r}; choose from {', '.join(PARAMETERS)}"
        )
    return PARAMETERS[element]


def _even_shares(n: int, parts: int) -> list[int]:
    return [n // parts + (k < n % parts) for k in range(parts)]
