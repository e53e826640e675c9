r"""Properties of crystals against closed forms, literature and each other.

In diamond of Stillinger and Weber every bond has its lowest energy and every angle none: an atom has the energy
:math:`-2\varepsilon`, a broken bond costs ε, and what is cut out of the crystal or off it stays where it is.
"""

import ase.units
import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from diamonds import by_element, diamond, second_derivative_of_bond
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import StillingerWeber

from nequip_elemtransfer.data.stillinger_weber import PARAMETERS, lattice_constant, stillinger_weber_calculator
from nequip_elemtransfer.materials import properties
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.properties import (
    bulk_modulus,
    elastic_constants,
    equation_of_state,
    equilibrium,
    phonon_bands,
    surface_energy,
    vacancy_formation_energy,
)

MILLER = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
JOULE_PER_SQUARE_METER = ase.units.J / ase.units.m**2
by_miller = pytest.mark.parametrize("miller", MILLER)


class Fixed(Calculator):
    """The same energy and force for every atom, whatever the structure."""

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, energy, force):
        super().__init__()
        self.energy, self.force = energy, force

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        n = len(atoms)
        self.results = {"energy": n * self.energy, "forces": np.full((n, 3), self.force), "stress": np.zeros(6)}


class Rounded(Calculator):
    """A calculator in the precision of float32, as that of a model."""

    implemented_properties = ["energy", "forces", "stress"]

    def __init__(self, calculator):
        super().__init__()
        self.calculator = calculator

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        found = {name: self.calculator.get_property(name, atoms) for name in self.implemented_properties}
        self.results = {name: np.asarray(value, np.float32).astype(float) for name, value in found.items()}


# --- lattice constant and bulk modulus


@by_element
@pytest.mark.parametrize("start", [0.94, 1.0, 1.06])
def test_lattice_constant_of_lowest_energy(element, start):
    exact = diamond(element)
    found = equilibrium(exact.with_a(start * exact.a), stillinger_weber_calculator(element))
    assert found.a == pytest.approx(exact.a, abs=1e-5)
    assert found.with_a(exact.a) == exact


@by_element
def test_equation_of_state(element):
    """Energies per atom, lowest at the crystal's own volume, where they are those of two bonds."""
    energies = equation_of_state(diamond(element), stillinger_weber_calculator(element), [0.9, 0.99, 1, 1.01, 1.1])
    assert energies.shape == (5,)
    assert energies[2] == pytest.approx(-2 * PARAMETERS[element]["epsilon"], abs=1e-5)
    assert np.argsort(energies)[0] == 2
    assert energies[0] > energies[1] and energies[4] > energies[3]


def test_ratios_are_of_volumes(copper):
    energy = equation_of_state(copper, EMT(), [1.1])
    atoms = copper.supercell(1)
    atoms.set_cell(atoms.cell * np.cbrt(1.1), scale_atoms=True)
    atoms.calc = EMT()
    assert energy == pytest.approx(atoms.get_potential_energy() / 4)


@by_element
def test_bulk_modulus_is_that_of_the_bonds(element):
    """Angles do not change with the volume, and bonds of length r with its cube root: B = √3 φ''/(12 r)."""
    exact = np.sqrt(3) * second_derivative_of_bond(element) / (12 * diamond(element).nearest_neighbor)
    found = bulk_modulus(diamond(element), stillinger_weber_calculator(element))
    assert found * ase.units.GPa == pytest.approx(exact, rel=1e-3)


def test_no_lattice_constant_where_the_energy_has_no_minimum():
    calculator = stillinger_weber_calculator("Si")
    with pytest.raises(ValueError, match="no minimum of the energy of diamond Si between a = 5.520 and 6.480"):
        equilibrium(Crystal("diamond", "Si", 6.0), calculator)
    with pytest.raises(ValueError, match="no minimum"):
        equilibrium(Crystal("diamond", "Si", 5.0), calculator)


def test_no_bulk_modulus_away_from_equilibrium():
    with pytest.raises(ValueError, match="no minimum of the energy within 4% of the volume at a = 5.600"):
        bulk_modulus(diamond("Si").with_a(5.6), stillinger_weber_calculator("Si"))


# --- elastic constants


def test_elastic_constants_of_silicon():
    """E. R. Cowley, Phys. Rev. Lett. 60, 2379 (1988), atoms relaxed."""
    found = elastic_constants(diamond("Si"), stillinger_weber_calculator("Si"))
    assert found == pytest.approx({"C11": 151.4, "C12": 76.4, "C44": 56.4}, abs=0.1)


@by_element
def test_elastic_constants_agree_with_the_equation_of_state(element):
    calculator = stillinger_weber_calculator(element)
    found = elastic_constants(diamond(element), calculator)
    assert (found["C11"] + 2 * found["C12"]) / 3 == pytest.approx(bulk_modulus(diamond(element), calculator), rel=1e-3)


def test_elastic_constants_of_a_metal(copper):
    """One atom in the cell, and forces that are not of pairs: C12 ≠ C44."""
    found = elastic_constants(copper, EMT())
    assert (found["C11"] + 2 * found["C12"]) / 3 == pytest.approx(bulk_modulus(copper, EMT()), rel=0.01)
    assert found["C11"] > found["C12"] > found["C44"] > 0


# --- phonons


# --- vacancies and surfaces


@by_element
@pytest.mark.parametrize("n", [1, 2])
def test_vacancy_costs_two_bonds(element, n):
    """Four bonds break, and the atom taken out makes two in the crystal."""
    found = vacancy_formation_energy(diamond(element), stillinger_weber_calculator(element), n)
    assert found == pytest.approx(2 * PARAMETERS[element]["epsilon"], abs=1e-5)


def test_relaxation_lowers_the_vacancy_of_a_metal(copper):
    unrelaxed = copper.vacancy(2)
    unrelaxed.calc = EMT()
    per_atom = equation_of_state(copper, EMT(), [1])[0]
    found = vacancy_formation_energy(copper, EMT())
    assert 0 < found < unrelaxed.get_potential_energy() - 31 * per_atom - 0.01


@by_element
@by_miller
def test_surfaces_cost_half_a_bond_for_each_broken_one(element, miller):
    """4/√(h² + k² + l²) broken bonds per a², see test_crystal.py."""
    exact = 2 * PARAMETERS[element]["epsilon"] / diamond(element).a ** 2 / np.linalg.norm(miller)
    found = surface_energy(diamond(element), stillinger_weber_calculator(element), miller)
    assert found * JOULE_PER_SQUARE_METER == pytest.approx(exact, rel=1e-5)


@by_miller
def test_relaxation_lowers_the_surfaces_of_a_metal(copper, miller):
    slab = copper.slab(miller)
    slab.calc = EMT()
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    unrelaxed = (slab.get_potential_energy() - len(slab) * equation_of_state(copper, EMT(), [1])[0]) / (2 * area)
    # (100) hardly relaxes
    assert 0 < surface_energy(copper, EMT(), miller) * JOULE_PER_SQUARE_METER < unrelaxed + 1e-9


def test_the_densest_surface_of_a_metal_costs_least(copper):
    energies = {miller: surface_energy(copper, EMT(), miller) for miller in MILLER}
    assert sorted(energies, key=energies.get) == [(1, 1, 1), (1, 0, 0), (1, 1, 0)]


@pytest.mark.parametrize("calculate", [vacancy_formation_energy, lambda *args: surface_energy(*args, (1, 1, 0))])
def test_defects_of_compounds_have_no_single_energy(calculate):
    with pytest.raises(ValueError, match="of GaAs has no single energy.*give a crystal of one element"):
        calculate(Crystal("zincblende", "GaAs", 5.65), Fixed(0.0, 0.0))


# --- all together


def all_properties(crystal, calculator):
    """Å, GPa, eV, J/m² and THz."""
    found = elastic_constants(crystal, calculator)
    found["B"] = bulk_modulus(crystal, calculator)
    found["a"] = equilibrium(crystal, calculator).a
    found["vacancy"] = vacancy_formation_energy(crystal, calculator)
    found["surface"] = surface_energy(crystal, calculator, (1, 1, 1))
    found["phonon"] = phonon_bands(crystal, calculator, n=2, path_points=50).frequencies.max()
    return found


@pytest.fixture(scope="module")
def silicon():
    return all_properties(diamond("Si"), stillinger_weber_calculator("Si"))


def test_properties_scale_with_the_units_of_energy_and_length(silicon):
    energy, length = 1.3, 1.1
    p = PARAMETERS["Si"]
    calculator = Manybody(**StillingerWeber(p | {"epsilon": energy * p["epsilon"], "sigma": length * p["sigma"]}))
    found = all_properties(diamond("Si").with_a(length * lattice_constant("Si")), calculator)
    scales = dict.fromkeys(("C11", "C12", "C44", "B"), energy / length**3)
    scales |= {"a": length, "vacancy": energy, "surface": energy / length**2, "phonon": np.sqrt(energy) / length}
    # to the forces that relaxation leaves, and the displacement of the phonons, which are not scaled
    assert {name: found[name] / silicon[name] for name in silicon} == pytest.approx(scales, rel=2e-3)


def test_single_precision_is_enough(silicon):
    """For a model in float32; its energies have a relative error of 1e-7."""
    found = all_properties(diamond("Si"), Rounded(stillinger_weber_calculator("Si")))
    assert found == pytest.approx(silicon, rel=2e-3)


def test_nothing_is_printed(capfd, recwarn):
    all_properties(diamond("Si"), stillinger_weber_calculator("Si"))
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn if warning.category is not DeprecationWarning]


def test_calculators_are_as_before():
    """Structures are copies: the calculator keeps no state that the next property would see."""
    calculator = stillinger_weber_calculator("Si")
    first = elastic_constants(diamond("Si"), calculator)
    surface_energy(diamond("Si"), calculator, (1, 1, 0))
    assert elastic_constants(diamond("Si"), calculator) == first


# --- calculators that fail

PROPERTIES = {
    "equilibrium": equilibrium,
    "bulk modulus": bulk_modulus,
    "elastic constants": elastic_constants,
    "phonons": phonon_bands,
    "vacancy": vacancy_formation_energy,
    "surface": lambda crystal, calculator: surface_energy(crystal, calculator, (1, 1, 1)),
}


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite(name, number):
    with pytest.raises(RuntimeError, match=r"the calculator gave .* that is not a finite number"):
        PROPERTIES[name](diamond("Si"), Fixed(number, number))


@pytest.mark.parametrize(
    ("calculate", "formula"),
    [
        (lambda copper: elastic_constants(diamond("Si"), stillinger_weber_calculator("Si")), "Si2"),
        (lambda copper: vacancy_formation_energy(copper, EMT()), "Cu31"),
        (lambda copper: surface_energy(copper, EMT(), (1, 1, 0)), "Cu"),
    ],
    ids=["elastic constants", "vacancy", "surface"],
)
def test_relaxation_that_does_not_end(calculate, formula, copper, monkeypatch):
    monkeypatch.setattr(properties, "MAX_STEPS", 1)
    message = rf"relaxation of {formula}\d* did not converge: after 1 steps a force of .* eV/Å is left, more than"
    with pytest.raises(RuntimeError, match=message):
        calculate(copper)
