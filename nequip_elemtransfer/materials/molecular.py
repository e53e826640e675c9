"""Properties of molecules at 0 K, from any ASE calculator of energy and forces.

Lengths are in Å, angles in degrees, wavenumbers in cm⁻¹, energies in eV.
"""

from collections.abc import Sequence
from itertools import combinations

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.neighborlist import natural_cutoffs, neighbor_list
from scipy.constants import atomic_mass, elementary_charge, hbar

from nequip_elemtransfer.materials.properties import check_finite, relaxed

MOLECULAR_FORCE_TOLERANCE = 0.005  # eV/Å
_MAX_STEPS = 500
# of the sum of covalent radii; the next nearest atoms are at 1.5 times it
_BONDED = 1.25
# Å; of central differences. Forces of float32 models are good to 1e-5 eV/Å, anharmonicity is even and cancels.
_DISPLACEMENT = 0.01
_TORSION_ANGLES = np.arange(0.0, 360.0, 30.0)  # degrees


def relaxed_molecule(atoms: Atoms, calculator: Calculator) -> Atoms:
    """The minimum next to a geometry, no force above 0.005 eV/Å; the calculator is attached.

    Raises:
        Unconverged: the relaxation does not end, or the calculator's forces are not finite
    """
    return relaxed(Atoms(atoms.symbols, atoms.positions), calculator, MOLECULAR_FORCE_TOLERANCE, _MAX_STEPS)


def bonds_to(atoms: Atoms, element: str) -> np.ndarray:
    """Pairs of bonded atoms, one of which is of the element, shape (n_bonds, 2); by covalent radii."""
    pairs = _bonds(atoms)
    return pairs[[element in (atoms.symbols[i], atoms.symbols[j]) for i, j in pairs]].reshape(-1, 2)


def angles_about(atoms: Atoms, element: str) -> np.ndarray:
    """Triples of atoms that form a bond angle with the element in it, its vertex in the middle, shape (n_angles, 3)."""
    partners = _partners(atoms)
    triples = [
        (i, vertex, k)
        for vertex, around in enumerate(partners)
        for i, k in combinations(around, 2)
        if element in (atoms.symbols[i], atoms.symbols[vertex], atoms.symbols[k])
    ]
    return np.array(triples, dtype=int).reshape(-1, 3)


def harmonic_wavenumbers(atoms: Atoms, calculator: Calculator) -> np.ndarray:
    """Harmonic vibrations about a minimum, translations and rotations projected out.

    Args:
        atoms: relaxed with the calculator

    Returns:
        in cm⁻¹, ascending, imaginary ones negative, shape (3 n_atoms − 6,), or 3 n_atoms − 5 of a linear molecule

    Raises:
        Unconverged: forces are not finite
    """
    moved = Atoms(atoms.symbols, atoms.positions)
    moved.calc = calculator
    hessian = np.zeros((3 * len(atoms), 3 * len(atoms)))  # eV/Å²
    for i, c in np.ndindex(len(atoms), 3):
        forces = []
        for sign in (1, -1):
            moved.positions[i, c] += sign * _DISPLACEMENT
            forces.append(moved.get_forces().reshape(-1))
            moved.positions[i, c] -= sign * _DISPLACEMENT
        hessian[3 * i + c] = (forces[1] - forces[0]) / (2 * _DISPLACEMENT)
    check_finite("force", hessian)
    roots = np.repeat(np.sqrt(atoms.get_masses()), 3)
    weighted = (hessian + hessian.T) / 2 / np.outer(roots, roots)
    inner = _vibrations(atoms)  # (3 n_atoms, n_vibrations)
    squares = np.linalg.eigvalsh(inner.T @ weighted @ inner)
    # eV/(Å² u) -> (ħω in eV)², and that in cm⁻¹
    to_energy = hbar * 1e10 / np.sqrt(elementary_charge * atomic_mass)
    return np.sign(squares) * np.sqrt(np.abs(squares)) * to_energy / ase.units.invcm


def rotatable_bonds(atoms: Atoms, element: str) -> list[tuple[int, int, int, int]]:
    """Dihedrals i-j-k-l about each bond j-k of the element that lies in no ring, one for each bond.

    Bonds to an atom that has no other neighbour are left out, and those to one that is bonded in a straight line.
    """
    partners = _partners(atoms)
    found = []
    for j, k in bonds_to(atoms, element).tolist():
        ends = [[a for a in partners[at] if a != other] for at, other in ((j, k), (k, j))]
        if not all(ends) or j in _side(partners, k, without=j):
            continue
        i, m = ends[0][0], ends[1][0]
        if max(atoms.get_angle(i, j, k), atoms.get_angle(j, k, m)) < 170:
            found.append((i, j, k, m))
    return found


def torsion_profile(atoms: Atoms, calculator: Calculator, dihedral: Sequence[int]) -> np.ndarray:
    """Energies while one side of a bond turns rigidly by 0, 30, ... 330 degrees, less their mean; eV, shape (12,).

    Args:
        dihedral: of :func:`rotatable_bonds`

    Raises:
        Unconverged: an energy is not finite
    """
    turned = Atoms(atoms.symbols, atoms.positions)
    turned.calc = calculator
    i, j, k, m = dihedral
    side = _side(_partners(atoms), k, without=j)
    start, energies = turned.get_dihedral(i, j, k, m), []
    for angle in _TORSION_ANGLES:
        turned.set_dihedral(i, j, k, m, start + angle, indices=sorted(side))
        energies.append(turned.get_potential_energy())
    check_finite("energy", energies)
    return np.array(energies) - np.mean(energies)


def _bonds(atoms: Atoms) -> np.ndarray:
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=_BONDED))
    return np.stack([i, j], axis=1)[i < j].reshape(-1, 2)


def _partners(atoms: Atoms) -> list[list[int]]:
    """The atoms that each is bonded to, in order."""
    found: list[list[int]] = [[] for _ in atoms]
    for i, j in _bonds(atoms).tolist():
        found[i].append(j)
        found[j].append(i)
    return [sorted(around) for around in found]


def _side(partners: Sequence[Sequence[int]], start: int, without: int) -> set[int]:
    """All atoms that are reached from one without its bond to another, which is among them if the bond is in a ring."""
    side, waiting = {start}, [atom for atom in partners[start] if atom != without]
    while waiting:
        atom = waiting.pop()
        if atom not in side:
            side.add(atom)
            waiting += [other for other in partners[atom] if not (atom == start and other == without)]
    return side


def _vibrations(atoms: Atoms) -> np.ndarray:
    """An orthonormal basis of mass-weighted displacements that neither move nor turn the molecule."""
    roots = np.sqrt(atoms.get_masses())[:, None]
    centred = atoms.positions - atoms.get_center_of_mass()
    rigid = [(roots * axis).reshape(-1) for axis in np.eye(3)]
    rigid += [(roots * np.cross(axis, centred)).reshape(-1) for axis in np.eye(3)]
    left, values, _ = np.linalg.svd(np.array(rigid).T)  # (3n, 3n)
    return left[:, int((values > 1e-3 * values[0]).sum()) :]
