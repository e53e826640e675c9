"""Cells, vacancies and slabs of cubic crystals against their geometry."""

from collections import Counter

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from nequip_elemtransfer.materials.crystal import STRUCTURES, Crystal

SILICON = Crystal("diamond", "Si", 5.43)
CRYSTALS = [
    Crystal("sc", "Po", 3.35),
    Crystal("fcc", "Cu", 3.61),
    Crystal("bcc", "Fe", 2.87),
    SILICON,
    Crystal("zincblende", "GaAs", 5.65),
    Crystal("rocksalt", "NaCl", 5.64),
    Crystal("cesiumchloride", "CsCl", 4.12),
    Crystal("fluorite", "CaF2", 5.46),
]
by_structure = pytest.mark.parametrize("crystal", CRYSTALS, ids=lambda crystal: crystal.structure)
MILLER = [(1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (1, -1, 0), (1, 1, 3), (2, 1, 0), (1, 2, 3)]


def composition(atoms):
    """Fraction of each element."""
    return {symbol: count / len(atoms) for symbol, count in Counter(atoms.symbols).items()}


def broken_bonds(slab, crystal, bonds=4):
    """Of one surface, per Å²; every pair of nearest neighbors is a bond."""
    left = len(neighbor_list("i", slab, 1.1 * crystal.nearest_neighbor))
    area = slab.get_volume() / slab.cell[2, 2]
    return (bonds * len(slab) - left) / (2 * area)


def test_every_structure_is_tested():
    assert tuple(crystal.structure for crystal in CRYSTALS) == STRUCTURES


@by_structure
def test_cells_have_one_density_and_fit_together(crystal):
    primitive, cubic, super_ = crystal.primitive_cell(), crystal.unit_cell(), crystal.supercell(2)
    assert np.allclose(cubic.cell.array, crystal.a * np.eye(3))
    assert len(super_) == 8 * len(cubic)
    assert all(atoms.pbc.all() for atoms in (primitive, cubic, super_))
    volumes = [atoms.get_volume() / len(atoms) for atoms in (primitive, cubic, super_)]
    assert volumes == pytest.approx([crystal.a**3 / len(cubic)] * 3)
    # one orientation: the edges of the primitive cell are translations of the cubic crystal
    twice = 2 * primitive.cell.array / crystal.a
    assert np.allclose(twice, np.round(twice))


def test_nearest_neighbor_distance():
    half, quarter = np.sqrt(3) / 2, np.sqrt(3) / 4  # of the body diagonal
    ratios = [1, 1 / np.sqrt(2), half, quarter, quarter, 1 / 2, half, quarter]
    assert [crystal.nearest_neighbor / crystal.a for crystal in CRYSTALS] == pytest.approx(ratios)


def test_elemental():
    assert [c.structure for c in CRYSTALS if c.is_elemental] == ["sc", "fcc", "bcc", "diamond"]


def test_another_lattice_constant():
    assert SILICON.with_a(5.5) == Crystal("diamond", "Si", 5.5)
    assert SILICON.a == 5.43


def test_a_vacancy_leaves_the_other_atoms():
    whole, broken = SILICON.supercell(2), SILICON.vacancy(2)
    assert np.array_equal(broken.positions, whole.positions[1:])
    assert np.array_equal(broken.cell, whole.cell)


@pytest.mark.parametrize("miller", MILLER)
@by_structure
def test_slab_is_the_crystal_between_two_planes(crystal, miller):
    slab = crystal.slab(miller, thickness=8.0, vacuum=9.0)
    heights = slab.positions[:, 2]
    assert slab.pbc.all()
    assert np.ptp(heights) >= 8.0
    assert slab.cell[2, 2] == pytest.approx(np.ptp(heights) + 9.0)
    assert composition(slab) == pytest.approx(composition(crystal.primitive_cell()))
    assert neighbor_list("d", slab, 1.1 * crystal.a).min() == pytest.approx(crystal.nearest_neighbor)
    # as many atoms as the crystal has in whole repeats of the planes
    repeat = crystal.a / np.linalg.norm(miller)
    density = len(crystal.unit_cell()) / crystal.a**3
    area = slab.get_volume() / slab.cell[2, 2]
    repeats = len(slab) / (density * area * repeat)
    assert repeats == pytest.approx(round(repeats))
    # no thicker than needed
    assert np.ptp(heights) < 8.0 + repeat


@pytest.mark.parametrize("miller", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_surfaces_of_diamond_break_the_fewest_bonds(miller):
    """Per a²: two for each of the 2 surface atoms of (100), one for each of the 4/√2 of (110) and 4/√3 of (111)."""
    bonds = 4 / np.linalg.norm(miller)
    for thickness in (6.0, 15.0):
        slab = SILICON.slab(miller, thickness)
        assert broken_bonds(slab, SILICON) * SILICON.a**2 == pytest.approx(bonds)


@pytest.mark.parametrize("miller", [(1, 0, 0), (-1, 0, 0), (1, 2, 0), (1, 2, 3), (-2, 1, 2)])
def test_slab_is_the_same_for_every_lattice_constant(miller):
    """Rounding does not choose where the crystal is cut, nor how thick it is."""
    crystal = Crystal("zincblende", "GaAs", 5.65)
    symbols, heights = set(), []
    for a in np.linspace(5.64, 5.66, 9):
        slab = crystal.with_a(a).slab(miller, thickness=1.9 * a, vacuum=2 * a)
        symbols.add(str(slab.symbols))
        heights.append(slab.positions[:, 2] / a)
    assert len(symbols) == 1
    assert np.allclose(heights, heights[0])


@pytest.mark.parametrize(
    ("structure", "formula", "a", "message"),
    [
        ("hcp", "Mg", 3.2, "unknown cubic structure 'hcp'; choose from sc, fcc, bcc, diamond"),
        ("diamont", "Si", 5.4, "unknown cubic structure 'diamont'"),
        ("diamond", "GaAs", 5.65, "no diamond crystal of formula 'GaAs': give one formula unit"),
        ("zincblende", "Si", 5.43, "no zincblende crystal of formula 'Si'"),
        ("fcc", "Xy", 4.0, "no fcc crystal of formula 'Xy'"),
        ("fcc", "", 4.0, "no fcc crystal of formula ''"),
        ("fcc", "Cu", 0.0, "lattice constant of Cu must be a positive length in Å, found 0.0"),
        ("fcc", "Cu", -3.6, "found -3.6"),
        ("fcc", "Cu", float("nan"), "found nan"),
    ],
)
def test_what_is_no_cubic_crystal(structure, formula, a, message):
    with pytest.raises(ValueError, match=message):
        Crystal(structure, formula, a)


@pytest.mark.parametrize("miller", [(0, 0, 0), (2, 2, 0), (1, 1), (1.0, 0, 0), "111"])
def test_what_is_no_surface(miller):
    with pytest.raises(ValueError, match="three integers without a common factor"):
        SILICON.slab(miller)


@pytest.mark.parametrize("lengths", [{"thickness": 0.0}, {"vacuum": -1.0}])
def test_slabs_have_positive_lengths(lengths):
    with pytest.raises(ValueError, match="positive lengths in Å"):
        SILICON.slab((1, 0, 0), **lengths)


def test_supercells_have_a_cell():
    with pytest.raises(ValueError, match="at least 1 cell along each edge, found 0"):
        SILICON.supercell(0)
