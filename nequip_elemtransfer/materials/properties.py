"""Properties of cubic crystals at 0 K, from any ASE calculator of energy, forces and stress.

Energies are in eV, lengths in Å, elastic constants in GPa, frequencies in THz and surface energies in J/m².

Symmetry fixes all atoms of these crystals, so that they are relaxed only where a strain, a vacancy or a surface breaks
it, and always at fixed cell. Relaxation starts from the sites of the crystal and so ends in the minimum next to them:
it keeps what symmetry is left, and finds no reconstruction of a surface.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.dft.kpoints import BandPath
from ase.eos import EquationOfState
from ase.optimize import BFGS
from matscipy.elasticity import fit_elastic_constants, generate_strained_configs
from scipy.optimize import minimize_scalar

from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.optional_packages import extra

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

SEARCH_RANGE = 0.08  # relative change of the lattice constant
VOLUME_RANGE = 0.04  # relative change of the volume in the fit of the bulk modulus
STRAIN_STEPS, STRAIN_STEP = 5, 0.005  # strains of -1 % to 1 %: linear, and far above the rounding of float32
FORCE_TOLERANCE = 0.02  # eV/Å
STRAINED_FORCE_TOLERANCE = 0.001  # eV/Å; the energy is off by the square of the forces left, but a stress is linear
MAX_STEPS = 300
DISPLACEMENT = 0.03  # Å
FEWEST_PATH_POINTS = 50  # with fewer, ASE has none between some special points and takes them for a jump


class NoMinimum(ValueError):
    """An energy without a minimum where one was looked for."""


class Unconverged(RuntimeError):
    """A relaxation that does not end, or a calculator's value that is not finite."""


@dataclass(frozen=True)
class PhononBands:
    """Phonon frequencies along a path through the Brillouin zone, and the axis to plot them on.

    Args:
        frequencies: (n_q, n_bands) in THz, ascending at each q; imaginary ones are negative
        q_points: (n_q, 3) in reciprocal lattice vectors of the primitive cell
        x: (n_q,) length along the path of wavevectors 2π/λ, 1/Å
        ticks: (n_special,) where the path passes special points
        labels: their names, as many; ``K|U`` where the path jumps from K to U
    """

    frequencies: np.ndarray
    q_points: np.ndarray
    x: np.ndarray
    ticks: np.ndarray
    labels: tuple[str, ...]


def equilibrium(crystal: Crystal, calculator: Calculator) -> Crystal:
    """The crystal at its lattice constant of lowest energy, searched within 8 % of ``crystal.a``.

    Raises:
        NoMinimum: if the energy is lowest at an edge of that range
        Unconverged: if an energy is not finite
    """

    def energy(a: float) -> float:
        return _energy_per_atom(crystal.with_a(float(a)), calculator)

    # a coarse scan first: far from its training data a model can have other minima
    scan = crystal.a * np.linspace(1 - SEARCH_RANGE, 1 + SEARCH_RANGE, 9)
    lowest = int(np.argmin([energy(a) for a in scan]))
    if lowest in (0, len(scan) - 1):
        raise NoMinimum(
            f"no minimum of the energy of {crystal.structure} {crystal.formula} between a = {scan[0]:.3f} and "
            f"{scan[-1]:.3f} Å: start from a lattice constant nearer to the minimum, if the calculator has one"
        )
    found = minimize_scalar(
        energy, bounds=(scan[lowest - 1], scan[lowest + 1]), method="bounded", options={"xatol": 1e-6 * crystal.a}
    )
    return crystal.with_a(float(found.x))


def equation_of_state(crystal: Crystal, calculator: Calculator, ratios: Iterable[float]) -> np.ndarray:
    """Energies (n_ratios,) in eV/atom at volumes of ``ratios`` times the crystal's own.

    Raises:
        ValueError: if a ratio is not positive
        Unconverged: if an energy is not finite
    """
    return np.array([_energy_per_atom(crystal.with_a(crystal.a * np.cbrt(x)), calculator) for x in ratios])


def bulk_modulus(crystal: Crystal, calculator: Calculator) -> float:
    """Bulk modulus in GPa: a Birch-Murnaghan fit to volumes within 4 % of the crystal's, which is at equilibrium.

    F. Birch, Phys. Rev. 71, 809 (1947).

    Raises:
        NoMinimum: if the energy has no minimum in this range
        Unconverged: if an energy is not finite
    """
    ratios = np.linspace(1 - VOLUME_RANGE, 1 + VOLUME_RANGE, 9)
    energies = equation_of_state(crystal, calculator, ratios)
    if np.argmin(energies) in (0, len(ratios) - 1):
        raise NoMinimum(
            f"no minimum of the energy within {VOLUME_RANGE:.0%} of the volume at a = {crystal.a:.3f} Å; "
            "take the crystal that equilibrium() returns"
        )
    cell = crystal.primitive_cell()
    volumes = ratios * cell.get_volume() / len(cell)  # (n_ratios,) Å³/atom
    _, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)  # eV/Å³
    return float(modulus / ase.units.GPa)


def elastic_constants(crystal: Crystal, calculator: Calculator) -> dict[str, float]:
    """Elastic constants C11, C12 and C44 in GPa, of a crystal at equilibrium.

    Stress against strains of up to 1 %, the atoms of the primitive cell relaxed at each strain.

    Raises:
        Unconverged: if a relaxation does not converge, or an energy, a force or a stress is not finite
    """
    cell = _with(calculator, crystal.primitive_cell())
    # relaxed here and not by matscipy, which goes on with what has not converged
    strained = [
        relaxed(atoms, calculator, STRAINED_FORCE_TOLERANCE)
        for atoms in generate_strained_configs(cell, "cubic", STRAIN_STEPS, STRAIN_STEP)
    ]
    check_finite("stress", *(atoms.get_stress() for atoms in strained))
    stiffness, _ = fit_elastic_constants(strained, "cubic", STRAIN_STEPS, verbose=False, graphics=False)  # eV/Å³
    constants = {"C11": stiffness[0, 0], "C12": stiffness[0, 1], "C44": stiffness[3, 3]}
    return {name: float(value / ase.units.GPa) for name, value in constants.items()}


def phonon_bands(crystal: Crystal, calculator: Calculator, n: int = 4, path_points: int = 120) -> PhononBands:
    """Phonon bands of a crystal at equilibrium along ASE's path of its Bravais lattice, from finite displacements.

    Polar crystals come without the splitting of optical modes at Γ by the electric field (LO-TO).

    Args:
        n: primitive cells along each edge of the supercell; forces should fade within half of it
        path_points: number of q-points

    Raises:
        ModuleNotFoundError: without phonopy
        ValueError: if n is less than 1, or there are too few q-points to follow the path
        Unconverged: if a force is not finite
    """
    if n < 1:
        raise ValueError(f"a supercell needs at least 1 primitive cell along each edge, found {n}")
    if path_points < FEWEST_PATH_POINTS:
        raise ValueError(f"a path of phonon bands needs at least {FEWEST_PATH_POINTS} q-points, found {path_points}")
    cell = crystal.primitive_cell()
    path = cell.cell.bandpath(npoints=path_points)
    phonons = _phonopy(cell, n)
    phonons.generate_displacements(distance=DISPLACEMENT)
    phonons.forces = [_forces(supercell, calculator) for supercell in phonons.supercells_with_displacements or ()]
    phonons.produce_force_constants(show_drift=False)
    phonons.symmetrize_force_constants(show_drift=False)  # the acoustic sum rule, which displacements leave inexact
    frequencies = phonons.run_qpoints(path.kpts).frequencies
    return PhononBands(frequencies, path.kpts, *_axis(path))


def vacancy_formation_energy(crystal: Crystal, calculator: Calculator, n: int = 2) -> float:
    r"""Energy in eV to take one atom out of the crystal, the energy per atom of the crystal being its reservoir.

    .. math::

        E_v = E_{N-1} - \tfrac{N-1}{N} E_N

    Args:
        crystal: of one element, at equilibrium
        n: conventional cells along each edge of the supercell of N atoms, which keeps its size

    Raises:
        ValueError: if the crystal has several elements
        Unconverged: if the relaxation does not converge, or an energy or a force is not finite
    """
    _check_elemental(crystal, "vacancy")
    atoms = relaxed(crystal.vacancy(n), calculator)
    return _energy(atoms) - len(atoms) * _energy_per_atom(crystal, calculator)


def surface_energy(crystal: Crystal, calculator: Calculator, miller: Sequence[int]) -> float:
    r"""Energy in J/m² to cut the crystal, per area of the new surfaces and relaxed.

    .. math::

        \gamma = \frac{E_\mathrm{slab} - N E_\mathrm{bulk}}{2 A}

    Args:
        crystal: of one element, at equilibrium
        miller: see :meth:`.Crystal.slab`

    Raises:
        ValueError: if the crystal has several elements, or see :meth:`.Crystal.slab`
        Unconverged: if the relaxation does not converge, or an energy or a force is not finite
    """
    _check_elemental(crystal, "surface")
    slab = relaxed(crystal.slab(miller), calculator)
    excess = _energy(slab) - len(slab) * _energy_per_atom(crystal, calculator)
    area = slab.get_volume() / slab.cell[2, 2]
    return float(excess / (2 * area) * ase.units.m**2 / ase.units.J)


def _with(calculator: Calculator, atoms: Atoms) -> Atoms:
    atoms.calc = calculator
    return atoms


def _energy(atoms: Atoms) -> float:
    energy = atoms.get_potential_energy()
    check_finite("energy", energy)
    return float(energy)


def _energy_per_atom(crystal: Crystal, calculator: Calculator) -> float:
    atoms = _with(calculator, crystal.primitive_cell())
    return _energy(atoms) / len(atoms)


def relaxed(
    atoms: Atoms, calculator: Calculator, force_tolerance: float = FORCE_TOLERANCE, max_steps: int | None = None
) -> Atoms:
    """``atoms`` moved until no force exceeds the tolerance (eV/Å), at fixed cell, in 300 steps unless more are given.

    Raises:
        Unconverged: the relaxation does not end, or an energy or a force is not finite
    """
    max_steps = MAX_STEPS if max_steps is None else max_steps
    steps = BFGS(_with(calculator, atoms), logfile=None).irun(fmax=force_tolerance, steps=max_steps)
    for converged in steps:  # noqa: B007
        # before the next step, which would fail on them in linear algebra
        check_finite("energy", atoms.get_potential_energy())
        check_finite("force", atoms.get_forces())
    if not converged:
        largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
        raise Unconverged(
            f"relaxation of {atoms.get_chemical_formula()} did not converge: after {max_steps} steps a force of "
            f"{largest:.3g} eV/Å is left, more than {force_tolerance} eV/Å"
        )
    return atoms


def _forces(supercell: "PhonopyAtoms", calculator: Calculator) -> np.ndarray:
    """Forces (n_atoms, 3) in eV/Å."""
    atoms = Atoms(supercell.symbols, cell=supercell.cell, scaled_positions=supercell.scaled_positions, pbc=True)
    forces = _with(calculator, atoms).get_forces()
    check_finite("force", forces)
    return forces


def _phonopy(cell: Atoms, n: int) -> "Phonopy":
    with extra("study", "a phonon calculation"):
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms

    unit = PhonopyAtoms(
        symbols=cell.get_chemical_symbols(),
        masses=cell.get_masses(),
        cell=cell.cell.array,
        scaled_positions=cell.get_scaled_positions(),
    )
    return Phonopy(unit, supercell_matrix=np.diag([n, n, n]), primitive_matrix="P", log_level=0)


def _axis(path: BandPath) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """x, ticks and labels of :class:`PhononBands`."""
    x, specials, names = path.get_linear_kpoint_axis()
    labels: dict[float, str] = {}
    for tick, name in zip(specials.tolist(), names):
        name = name.replace("G", "Γ")
        labels[tick] = f"{labels[tick]}|{name}" if tick in labels else name
    return x, np.array(list(labels)), tuple(labels.values())


def check_finite(quantity: str, *values: Any) -> None:
    """Refuse numbers or arrays of a calculator that are not finite.

    Raises:
        Unconverged: naming the quantity
    """
    if not all(np.isfinite(value).all() for value in values):
        raise Unconverged(f"the calculator gave a {quantity} that is not a finite number")


def _check_elemental(crystal: Crystal, defect: str) -> None:
    if not crystal.is_elemental:
        raise ValueError(
            f"the {defect} of {crystal.formula} has no single energy, as that depends on where the elements come from; "
            "give a crystal of one element"
        )
