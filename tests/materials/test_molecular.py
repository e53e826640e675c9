"""Molecular properties against closed forms: springs, whose frequencies and torsions are known."""

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials import molecular
from nequip_elemtransfer.materials.properties import Unconverged


class Springs(Calculator):
    """Springs between given pairs of atoms."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, pairs, lengths, stiffness):
        super().__init__()
        self.pairs, self.lengths, self.stiffness = np.array(pairs), np.array(lengths), np.array(stiffness)

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        i, j = self.pairs.T
        vectors = atoms.positions[j] - atoms.positions[i]
        distances = np.linalg.norm(vectors, axis=1)
        pull = self.stiffness * (distances - self.lengths)
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, (pull / distances)[:, None] * vectors)
        np.add.at(forces, j, -(pull / distances)[:, None] * vectors)
        self.results = {"energy": float((pull * (distances - self.lengths)).sum() / 2), "forces": forces}


class Torsion(Calculator):
    """``V/2 (1 − cos 3φ)`` of one dihedral."""

    implemented_properties = ["energy"]

    def __init__(self, dihedral, barrier):
        super().__init__()
        self.dihedral, self.barrier = dihedral, barrier

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        phi = np.radians(atoms.get_dihedral(*self.dihedral))
        self.results = {"energy": self.barrier / 2 * (1 - np.cos(3 * phi))}


def wavenumber(stiffness, mass):
    """Of an oscillator in eV/Å² and u, in cm⁻¹."""
    omega = np.sqrt(stiffness * ase.units._e * 1e20 / (mass * ase.units._amu))  # 1/s
    return omega / (2 * np.pi * ase.units._c * 100)


def test_diatomic():
    """ω = √(k/μ), and no other vibration."""
    atoms = Atoms("GeH", [[0, 0, 0], [0.3, 0.4, 1.6]])
    springs = Springs([[0, 1]], [1.5], [17.0])
    found = molecular.relaxed_molecule(atoms, springs)
    assert found.get_distance(0, 1) == pytest.approx(1.5, abs=5e-4)
    masses = found.get_masses()
    expected = wavenumber(17.0, masses.prod() / masses.sum())
    assert molecular.harmonic_wavenumbers(found, springs) == pytest.approx([expected], rel=1e-4)


def test_triangle():
    """Of three equal masses and springs: √(3k/m) once, √(3k/2m) twice (E. B. Wilson, Molecular Vibrations)."""
    atoms = Atoms("H3", [[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(3) / 2, 0]])
    springs = Springs([[0, 1], [1, 2], [0, 2]], [1.0] * 3, [20.0] * 3)
    mass = atoms.get_masses()[0]
    found = molecular.harmonic_wavenumbers(atoms, springs)
    expected = [wavenumber(30.0, mass)] * 2 + [wavenumber(60.0, mass)]
    np.testing.assert_allclose(found, expected, rtol=2e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_bends_of_a_line(sign):
    """Bonds of tension T hold three atoms in a line, ω² = 3T/m, twice; pressed, they let it buckle: imaginary."""
    atoms = Atoms("H3", [[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    springs = Springs([[0, 1], [1, 2], [0, 2]], [1 - 0.1 * sign] * 2 + [2.0 + sign], [30.0, 30.0, 3.0])
    np.testing.assert_allclose(springs.get_forces(atoms), 0, atol=1e-12)
    found = molecular.harmonic_wavenumbers(atoms, springs)
    assert len(found) == 4  # and two stretches
    assert found[:2] == pytest.approx([sign * wavenumber(9.0, atoms.get_masses()[0])] * 2, rel=2e-3)


def test_bonds_and_angles():
    atoms = molecule("CH3SiH3")
    silicon, carbon = (list(atoms.symbols).index(symbol) for symbol in ("Si", "C"))
    bonds = molecular.bonds_to(atoms, "Si")
    assert len(bonds) == 4 and (bonds == silicon).any(axis=1).all() and (bonds == carbon).any(axis=1).sum() == 1
    angles = molecular.angles_about(atoms, "Si")
    # six about silicon, and three H-C-Si
    assert [list(angles[:, 1]).count(atom) for atom in (silicon, carbon)] == [6, 3] and len(angles) == 9
    assert len(molecular.bonds_to(atoms, "Ge")) == len(molecular.angles_about(atoms, "Ge")) == 0
    assert molecular.bonds_to(molecule("CH4"), "Si").shape == (0, 2)


def test_rotatable_bonds():
    atoms = molecule("CH3SiH3")
    ((i, j, k, m),) = molecular.rotatable_bonds(atoms, "Si")
    assert {atoms.symbols[j], atoms.symbols[k]} == {"C", "Si"} and atoms.symbols[i] == atoms.symbols[m] == "H"
    assert molecular.rotatable_bonds(molecule("SiH4"), "Si") == []
    assert len(molecular.rotatable_bonds(molecule("C3H8"), "C")) == 2
    assert molecular.rotatable_bonds(molecule("C3H6_D3h"), "C") == []  # cyclopropane: a ring
    assert molecular.rotatable_bonds(molecule("CH3CN"), "N") == []  # straight


def test_torsion_profile():
    atoms = molecule("C2H6")
    (dihedral,) = molecular.rotatable_bonds(atoms, "C")
    start = np.radians(atoms.get_dihedral(*dihedral))
    found = molecular.torsion_profile(atoms, Torsion(dihedral, 0.12), dihedral)
    angles = start + np.radians(np.arange(0, 360, 30))
    np.testing.assert_allclose(found, -0.06 * np.cos(3 * angles), atol=1e-9)
    assert np.abs(found.mean()) < 1e-12


def test_what_does_not_end():
    class Nothing(Springs):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["forces"] = np.full((2, 3), np.nan)

    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.9]])
    nothing = Nothing([[0, 1]], [1.0], [1.0])
    for calculate in (molecular.relaxed_molecule, molecular.harmonic_wavenumbers):
        with pytest.raises(Unconverged, match="not a finite number"):
            calculate(atoms, nothing)
