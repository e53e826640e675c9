"""What is counted and found in labelled structures."""

import dataclasses
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.data import stillinger_weber as sw
from nequip_elemtransfer.plan.likeness.data_facts import composition, coverage, force_outliers, lone_atoms
from nequip_elemtransfer.plan.likeness.sufficiency import assess
from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.environments import descriptor_environments
from nequip_elemtransfer.structures.labels import energy_of, forces_of

CUTOFF = 4.5


def labelled(atoms, energy=None, forces=None):
    results = {name: value for name, value in (("energy", energy), ("forces", forces)) if value is not None}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystal(seed, displacement=0.1, element="Si") -> Atoms:
    """Eight atoms in their potential, a pure function of the seed."""
    atoms = bulk(element, "diamond", sw.lattice_constant(element), cubic=True)
    atoms.rattle(displacement, seed=seed)
    atoms.calc = sw.stillinger_weber_calculator(element)
    return labelled(atoms, atoms.get_potential_energy(), atoms.get_forces())


def computed(atoms):
    """The same potential on a changed structure."""
    atoms = atoms.copy()
    atoms.calc = sw.stillinger_weber_calculator("Si")
    return labelled(atoms, atoms.get_potential_energy(), atoms.get_forces())


def alloy(formula, energy=-1.0):
    return labelled(Atoms(formula, positions=3.0 * np.arange(len(Atoms(formula)))[:, None] * [1, 0, 0]), energy)


@pytest.fixture(scope="module")
def crystals():
    return [crystal(seed) for seed in range(12)]


class TestComposition:
    def test_full_rank(self):
        found = composition([alloy("GaAs"), alloy("Ga2As")])
        assert (found.rank, found.undetermined, found.directions) == (2, (), ())
        assert found.counts == {"As": 2, "Ga": 3}

    def test_one_stoichiometry_leaves_a_difference_open(self):
        """Of A2B alone, no energy sees A's shift fall by one while B's rises by two."""
        found = composition([alloy("Ga2As"), alloy("Ga4As2")], species=["Ga", "As"])
        assert found.rank == 1 and found.undetermined == ("Ga", "As")
        (direction,) = found.directions
        assert direction == pytest.approx({"Ga": -0.5, "As": 1.0})

    def test_absent_species(self):
        found = composition([alloy("Si2")], species=["Si", "Ge"])
        assert found.rank == 1 and found.undetermined == ("Ge",) and found.directions == ({"Ge": 1.0},)
        assert found.counts == {"Si": 2, "Ge": 0}

    def test_only_labelled_structures_count(self):
        found = composition([alloy("GaAs"), labelled(alloy("Ga2As"))])
        assert found.rank == 1 and found.counts == {"As": 2, "Ga": 3}
        assert composition([labelled(alloy("Ga2As"))]).rank == 0

    def test_species_the_map_lacks(self):
        with pytest.raises(ValueError, match="hold As, which is not among the target's Ga"):
            composition([alloy("GaAs")], species=["Ga"])


class TestLabels:
    def test_are_read_and_never_computed(self):
        atoms = bulk("Si")
        assert energy_of(atoms) is None and forces_of(atoms) is None
        atoms.calc = sw.stillinger_weber_calculator("Si")
        assert energy_of(atoms) is None and forces_of(atoms) is None

    def test_that_are_not_finite_are_none(self):
        atoms = labelled(bulk("Si"), np.nan, np.full((2, 3), np.inf))
        assert energy_of(atoms) is None and forces_of(atoms) is None

    def test_are_counted(self, crystals):
        energies_only = labelled(crystal(20), -30.0)
        found = assess([*crystals[:3], energies_only, bulk("Si")], CUTOFF, n_parameters=1234)
        assert (found.n_with_energies, found.n_with_forces, found.n_force_components) == (4, 3, 72)
        sentences = [f.sentence for f in found.findings if f.subject == "labels"]
        assert sentences == [
            "1 of 5 structures has no energies.",
            "2 of 5 structures have no forces.",
            "72 force components for 2 numbers fitted to them, λ and α; the network has 1234 parameters.",
        ]


class TestDuplicates:
    def test_found_in_any_form(self, crystals):
        one = crystals[0]
        turned = one[np.random.default_rng(0).permutation(8)]
        turned.rotate(50, (1, 2, 3), rotate_cell=True)
        turned.translate((1.0, 2.0, 3.0))
        mirrored = one.copy()
        mirrored.positions[:, 0] *= -1
        mirrored.cell[0] *= -1
        copies = [computed(a) for a in (turned, mirrored, one * (2, 1, 1))]
        assert duplicate_families([*crystals, *copies], CUTOFF) == [*range(12), 0, 0, 0]

    def test_found_without_energies(self, crystals):
        bare = [atoms.copy() for atoms in [*crystals[:3], crystals[1]]]
        assert duplicate_families(bare, CUTOFF) == [0, 1, 2, 1]

    def test_needs_the_same_elements_in_the_same_places(self):
        one, other = (bulk("Si", "diamond", 5.4, cubic=True) for _ in range(2))
        one.rattle(0.1, seed=1)
        other.positions[:] = one.positions
        one.symbols[0], other.symbols[1] = "Ge", "Ge"
        assert duplicate_families([one, other, one.copy()], CUTOFF) == [0, 1, 0]

    def test_a_small_displacement_is_no_copy(self, crystals):
        moved = crystals[0].copy()
        moved.positions[3] += (0.01, 0, 0)
        assert duplicate_families([crystals[0].copy(), moved], CUTOFF) == [0, 1]

    def test_another_energy_is_no_copy(self, crystals):
        """The same geometry with another label, as of another spin state, is kept."""
        other = labelled(crystals[0].copy(), energy_of(crystals[0]) + 0.1)
        assert duplicate_families([crystals[0], other], CUTOFF) == [0, 1]

    def test_are_said(self, crystals):
        found = assess([*crystals, crystals[4]], CUTOFF)
        assert found.duplicates == ((4, 12),)
        (finding,) = [f for f in found.findings if f.subject == "duplicates"]
        assert finding.sentence.startswith("1 of 13 structures is a copy of another (for instance no. 4, no. 12)")


class TestCoverage:
    def test_finds_the_structure_that_is_alone(self, crystals):
        strange = bulk("Si", "fcc", 3.9, cubic=True) * (2, 1, 1)
        strange.rattle(0.1, seed=3)
        structures = [*crystals[:7], strange, *crystals[7:]]
        found = coverage(descriptor_environments(structures, CUTOFF), range(len(structures)))
        assert found.structures[0].structure == 7
        assert found.structures[0].uncovered == 1.0 and found.structures[0].gap > 3
        assert np.mean([row.uncovered for row in found.structures[1:]]) < 0.1

    def test_a_copy_covers_nothing(self, crystals):
        strange = bulk("Si", "fcc", 3.9, cubic=True)
        strange.rattle(0.1, seed=3)
        structures = [*crystals, strange, strange.copy()]
        environments = descriptor_environments(structures, CUTOFF)
        families = duplicate_families(structures, CUTOFF)
        assert families == [*range(12), 12, 12]
        assert {row.structure for row in coverage(environments, families).structures[:2]} == {12, 13}
        as_if_independent = coverage(environments, range(14)).structures
        assert next(row for row in as_if_independent if row.structure == 12).uncovered == 0.0

    def test_one_environment_in_a_hundred_of_even_data(self):
        """Atoms of one distribution: the definition of the range gives one per cent."""
        rng = np.random.default_rng(0)
        environments = dataclasses.replace(
            descriptor_environments([], CUTOFF),
            features=rng.normal(size=(4000, 3)),
            structure=np.repeat(np.arange(200), 20),
            atom=np.tile(np.arange(20), 200),
            n_structures=200,
        )
        found = coverage(environments, range(200))
        assert found.n_components == 3 and found.n_environments == 4000
        assert found.uncovered == pytest.approx(0.011, abs=0.003)

    def test_equal_environments_count_once(self):
        structures = [bulk("Si", cubic=True), *(crystal(seed) for seed in range(3))]
        found = coverage(descriptor_environments(structures, CUTOFF), range(4))
        assert found.n_environments == 1 + 3 * 8

    def test_too_few(self, crystals):
        assert coverage(descriptor_environments(crystals[:2], CUTOFF), range(2)) is None
        found = assess([crystals[0]], CUTOFF)
        assert found.coverage is None
        assert "There is 1 independent structure, too few" in " ".join(f.sentence for f in found.findings)


class TestForces:
    def test_the_one_that_is_wrong(self, crystals):
        broken = crystals[5].copy()
        forces = forces_of(crystals[5]).copy()
        forces[2] = (0.0, 0.0, 200.0)
        labelled(broken, -30.0, forces)
        (outlier,) = force_outliers([*crystals[:3], broken])
        assert (outlier.structure, outlier.atom, outlier.species, outlier.force) == (3, 2, "Si", 200.0)
        norms = np.linalg.norm(np.concatenate([*(forces_of(a) for a in crystals[:3]), forces]), axis=1)
        spread = np.median(np.abs(norms - np.median(norms))) * 1.4826
        assert outlier.deviations == pytest.approx((200 - np.median(norms)) / spread)

    def test_elements_are_judged_by_their_own(self):
        """Hydrogen's forces are no outliers because carbon's are small."""
        rng = np.random.default_rng(0)
        structures = []
        for _ in range(20):
            atoms = molecule("CH4")
            forces = rng.normal(size=(5, 3))
            forces[0] *= 0.001
            structures.append(labelled(atoms, -1.0, forces))
        assert force_outliers(structures) == ()

    def test_crystals_at_rest(self):
        structures = [labelled(bulk("Si"), -1.0, np.zeros((2, 3))) for _ in range(5)]
        assert force_outliers(structures) == ()
        assert force_outliers([bulk("Si")]) == ()


class TestIsolatedAtoms:
    def test_alone_in_space_or_in_a_large_box(self):
        atom = labelled(Atoms("Si"), -0.8)
        boxed = labelled(Atoms("Si", cell=[20, 20, 20], pbc=True), -0.6)
        found = assess([atom, boxed, crystal(1)], CUTOFF)
        assert [(a.structure, a.energy) for a in found.isolated_atoms] == [(0, -0.8), (1, -0.6)]
        assert found.isolated_energies == pytest.approx({"Si": -0.7})
        assert "Si -0.7000 eV" in " ".join(f.sentence for f in found.findings)

    def test_a_primitive_cell_is_not_isolated(self):
        assert lone_atoms([bulk("Cu")], CUTOFF) == ()

    def test_an_atom_that_left(self):
        atoms = molecule("H2O")
        atoms.positions[2] += 50
        found = assess([labelled(atoms, -10.0)], CUTOFF)
        assert [(a.atom, a.species, a.energy) for a in found.isolated_atoms] == [(2, "H", None)]
        assert found.isolated_energies == {}
        assert "1 atom has no neighbour inside the cutoff (for instance atom 2 of structure 0)" in " ".join(
            f.sentence for f in found.findings if f.level == "caution"
        )


def test_mixed_kinds_are_counted_and_said(crystals):
    slab = crystals[0].copy()
    slab.pbc = (True, True, False)
    found = assess([*crystals[:2], molecule("SiH4"), slab], CUTOFF)
    assert (found.n_periodic, found.n_molecular, found.n_partly_periodic) == (2, 1, 1)
    (finding,) = [f for f in found.findings if f.subject == "kinds"]
    assert finding.sentence.startswith("2 periodic, 1 partly periodic and 1 molecular structures are mixed")


def test_is_plain_data(crystals):
    found = assess(crystals, CUTOFF, n_parameters=10)
    plain = json.loads(json.dumps(dataclasses.asdict(found)))
    assert plain["n_atoms"] == 96 and plain["composition"]["rank"] == 1
    assert {f["level"] for f in plain["findings"]} == {"note"}


def test_nothing_to_assess():
    with pytest.raises(ValueError, match="no structures to assess"):
        assess([], CUTOFF)
