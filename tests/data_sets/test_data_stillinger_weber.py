"""Stillinger-Weber: known values, consistency of the labels, and what the snapshots sample."""

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import StillingerWeber

from nequip_elemtransfer.data import stillinger_weber as sw
from nequip_elemtransfer.data.sampled import LARGEST_STRAIN
from nequip_elemtransfer.data.split import Division

ELEMENTS = ("Si", "Ge")


def crystal(element: str, n: int = 2) -> Atoms:
    atoms = bulk(element, "diamond", a=sw.lattice_constant(element), cubic=True) * n
    atoms.calc = sw.stillinger_weber_calculator(element)
    return atoms


def disordered(element: str, seed: int = 1) -> Atoms:
    """Rattled and sheared, so that no force or stress component vanishes by symmetry."""
    atoms = crystal(element)
    shear = np.random.default_rng(seed).uniform(-0.03, 0.03, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + shear), scale_atoms=True)
    atoms.rattle(0.15, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def snapshots() -> dict[str, list[Atoms]]:
    settings = {"temperatures": [0.01, 0.05], "liquid_temperatures": [0.14]}
    return {element: list(sw.STILLINGER_WEBER.generate(element, 24, **settings)) for element in ELEMENTS}


def of_group(frames: list[Atoms], group: str) -> list[Atoms]:
    return [atoms for atoms in frames if atoms.info["group"] == group]


@pytest.mark.parametrize(("element", "energy", "length"), [("Si", -4.3366, 5.4309), ("Ge", -3.8600, 5.6536)])
def test_cohesive_energy_and_lattice_constant(element, energy, length):
    atoms = crystal(element)
    assert atoms.get_potential_energy() / len(atoms) == pytest.approx(energy, abs=1e-5)
    assert sw.lattice_constant(element) == pytest.approx(length, abs=1e-4)
    # an extremum of the energy: no stress, no forces
    assert np.abs(atoms.get_stress()).max() < 1e-9
    assert np.abs(atoms.get_forces()).max() < 1e-9


@pytest.mark.parametrize("element", ELEMENTS)
def test_forces_are_minus_the_energy_gradient(element):
    atoms = disordered(element)
    forces = atoms.get_forces()
    h = 1e-4
    for atom, axis in [(0, 0), (7, 1), (30, 2), (63, 0)]:
        energies = []
        for step in (h, -2 * h):
            atoms.positions[atom, axis] += step
            energies.append(atoms.get_potential_energy())
        atoms.positions[atom, axis] += h
        assert forces[atom, axis] == pytest.approx((energies[1] - energies[0]) / (2 * h), abs=1e-6)


@pytest.mark.parametrize("element", ELEMENTS)
def test_stress_is_the_strain_derivative_of_the_energy(element):
    """σ = (1/V) dE/dε in Voigt order xx yy zz yz xz xy; so a compressed crystal has σ < 0."""
    atoms = disordered(element)
    stress, cell, h = atoms.get_stress(), atoms.cell.array.copy(), 1e-5
    for k, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for step in (h, -h):
            strain = np.zeros((3, 3))
            strain[i, j] += step / 2
            strain[j, i] += step / 2
            atoms.set_cell(cell @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(atoms.get_potential_energy())
        atoms.set_cell(cell, scale_atoms=True)
        numeric = (energies[0] - energies[1]) / (2 * h) / atoms.get_volume()
        assert stress[k] == pytest.approx(numeric, abs=1e-7)

    compressed = crystal(element)
    compressed.set_cell(0.98 * compressed.cell, scale_atoms=True)
    assert (compressed.get_stress()[:3] < -0.01).all()


@pytest.mark.parametrize("element", ELEMENTS)
def test_energy_of_the_formula_summed_by_hand(element):
    """Against the two sums of the module's equation, written out over bonds and angles."""
    atoms = disordered(element)
    p = sw.PARAMETERS[element]
    epsilon, sigma = p["epsilon"], p["sigma"]
    i, D, r = neighbor_list("iDd", atoms, 1.8 * sigma - 1e-9)
    pair = 7.049556277 * (0.6022245584 * (sigma / r) ** 4 - 1) * np.exp(sigma / (r - 1.8 * sigma))
    decay = np.exp(1.2 * sigma / (r - 1.8 * sigma))
    energy = 0.5 * epsilon * pair.sum()
    for atom in range(len(atoms)):
        bonds = np.flatnonzero(i == atom)
        unit = D[bonds] / r[bonds, None]
        angles = (unit @ unit.T + 1 / 3) ** 2 * np.outer(decay[bonds], decay[bonds])
        energy += epsilon * p["lambda1"] * np.triu(angles, 1).sum()
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-8)


def test_with_one_three_body_strength_germanium_is_rescaled_silicon(monkeypatch):
    """Corresponding states: E_Ge(s x) = (ε_Ge/ε_Si) E_Si(x), and forces scale as ε/σ."""
    monkeypatch.setitem(sw.PARAMETERS, "Ge", sw.PARAMETERS["Ge"] | {"lambda1": 21.0})
    silicon = disordered("Si")
    length = sw.PARAMETERS["Ge"]["sigma"] / sw.PARAMETERS["Si"]["sigma"]
    energy = sw.PARAMETERS["Ge"]["epsilon"] / sw.PARAMETERS["Si"]["epsilon"]
    germanium = Atoms("Ge64", positions=length * silicon.positions, cell=length * silicon.cell, pbc=True)
    germanium.calc = sw.stillinger_weber_calculator("Ge")
    np.testing.assert_allclose(
        germanium.get_potential_energies(), energy * silicon.get_potential_energies(), rtol=1e-10
    )
    np.testing.assert_allclose(germanium.get_forces(), energy / length * silicon.get_forces(), atol=1e-10)


def test_the_published_elements_differ_by_more_than_a_rescaling():
    silicon, length = disordered("Si"), sw.lattice_constant("Ge") / sw.lattice_constant("Si")
    germanium = disordered("Ge")
    germanium.set_cell(length * silicon.cell)
    germanium.positions = length * silicon.positions
    ratio = germanium.get_potential_energy() / silicon.get_potential_energy()
    assert abs(ratio / (1.93 / 2.1683) - 1) > 0.01


def test_our_triplets_give_what_those_of_matscipy_give():
    form = StillingerWeber(sw.PARAMETERS["Si"])
    atoms, cell = disordered("Si"), crystal("Si", 1)
    ours, theirs = sw.stillinger_weber_calculator("Si"), Manybody(**form)
    for name in ("energy", "energies", "forces", "stress"):
        np.testing.assert_allclose(ours.get_property(name, atoms), theirs.get_property(name, atoms), rtol=0, atol=1e-12)
    # the Hessian needs the pairs j-k that we leave out elsewhere
    np.testing.assert_allclose(
        ours.get_property("hessian", cell).toarray(),
        theirs.get_property("hessian", cell).toarray(),
        atol=1e-12,
    )


def test_snapshots_have_labels_of_their_own_geometry(snapshots):
    for element, frames in snapshots.items():
        assert [len(of_group(frames, group)) for group in sw.GROUPS] == [6, 6, 6, 6]
        for atoms in frames:
            assert len(atoms) == (63 if atoms.info["group"] == "vacancy" else 64)
            labels = atoms.calc.results
            assert labels["energies"].sum() == pytest.approx(labels["energy"], abs=1e-9)
        for atoms in frames[::5]:
            fresh = atoms.copy()
            fresh.calc = sw.stillinger_weber_calculator(element)
            np.testing.assert_array_equal(fresh.get_forces(), atoms.get_forces())
            np.testing.assert_array_equal(fresh.get_stress(), atoms.get_stress())


def test_cold_crystal_obeys_equipartition(snapshots):
    """⟨U⟩ - U_0 = 3/2 k_B T per atom in a harmonic crystal; Langevin must reproduce it."""
    for element, frames in snapshots.items():
        cold = [a for a in of_group(frames, "diamond") if a.info["temperature"] < 300]
        kT = 0.01 * sw.PARAMETERS[element]["epsilon"]
        assert cold[0].info["temperature"] == pytest.approx(kT / ase.units.kB, abs=0.1)
        ground = -2 * sw.PARAMETERS[element]["epsilon"]
        excess = np.mean([a.get_potential_energy() / len(a) - ground for a in cold])
        # three snapshots of 64 atoms: a standard error of 7 %
        assert excess / kT == pytest.approx(1.5, rel=0.2)


def bragg_intensity(atoms: Atoms, a: float) -> float:
    """|Σ exp(ik·r)|²/N² averaged over the {220} reflections: 1 at 0 K, about 1/N in a liquid."""
    k = 2 * np.pi / a * np.array([[2, 2, 0], [2, -2, 0], [2, 0, 2], [2, 0, -2], [0, 2, 2]])
    return np.mean(np.abs(np.exp(1j * atoms.positions @ k.T).mean(axis=0)) ** 2)


def test_crystals_are_crystalline_and_liquids_are_liquid(snapshots):
    for element, frames in snapshots.items():
        a = sw.lattice_constant(element)
        order = {g: [bragg_intensity(f, a) for f in of_group(frames, g)] for g in sw.GROUPS}
        assert min(order["diamond"]) > 0.5
        assert min(order["vacancy"]) > 0.4
        assert np.mean(order["liquid"]) < 0.05
        assert max(order["liquid"]) < 0.15


def coordination(atoms: Atoms, cutoff: float) -> float:
    return len(neighbor_list("i", atoms, cutoff)) / len(atoms)


def test_liquid_coordination_exceeds_that_of_diamond(snapshots):
    """Neighbours within 0.6 a, between the first two shells: 4 in diamond, over 5 in the liquid."""
    for element, frames in snapshots.items():
        cutoff = 0.6 * sw.lattice_constant(element)
        found = {g: [coordination(f, cutoff) for f in of_group(frames, g)] for g in sw.GROUPS}
        assert np.mean(found["diamond"]) == pytest.approx(4, abs=0.02)
        assert np.mean(found["liquid"]) > 5


def test_strains_differ_and_stay_within_bounds(snapshots):
    for element, frames in snapshots.items():
        cell = 2 * sw.lattice_constant(element) * np.eye(3)
        strains = [f.cell.array @ np.linalg.inv(cell) - np.eye(3) for f in of_group(frames, "strained")]
        assert np.abs(strains).max() <= LARGEST_STRAIN + 1e-12
        assert np.std(strains, axis=0).min() > 0.005
        np.testing.assert_allclose(strains, np.swapaxes(strains, 1, 2), atol=1e-12)


def test_snapshots_are_decorrelated(snapshots):
    """Forces on the same atoms in successive snapshots have little left in common."""
    for frames in snapshots.values():
        diamond = [f.get_forces().ravel() for f in of_group(frames, "diamond")[3:]]
        correlation = [np.corrcoef(x, y)[0, 1] for x, y in zip(diamond, diamond[1:], strict=False)]
        assert abs(np.mean(correlation)) < 0.4


def test_same_seed_gives_the_same_numbers():
    def run(seed):
        settings = {"supercell": 1, "temperatures": [0.03], "liquid_temperatures": [0.14]}
        return list(sw.STILLINGER_WEBER.generate("Ge", 8, seed=seed, **settings))

    first, second, other = run(3), run(3), run(4)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.get_forces(), b.get_forces())
        assert a.get_potential_energy() == b.get_potential_energy()
    assert np.abs(first[0].positions - other[0].positions).max() > 1e-3


def test_bad_input_names_value_and_choices():
    with pytest.raises(ValueError, match="'Pb'.*Si, Ge"):
        sw.stillinger_weber_calculator("Pb")
    with pytest.raises(ValueError, match="'C'.*Si, Ge"):
        sw.STILLINGER_WEBER.generate("C")
    with pytest.raises(ValueError, match="frames.*0"):
        sw.STILLINGER_WEBER.generate("Si", 0)
    with pytest.raises(ValueError, match="supercell.*0"):
        sw.STILLINGER_WEBER.generate("Si", supercell=0)
    with pytest.raises(ValueError, match="temperatures of diamond.*-0.1"):
        sw.STILLINGER_WEBER.generate("Si", temperatures=[0.01, -0.1])
    with pytest.raises(ValueError, match="temperatures of liquid"):
        sw.STILLINGER_WEBER.generate("Si", liquid_temperatures=[])


def test_too_few_frames_are_refused_before_any_dynamics(tmp_path):
    with pytest.raises(ValueError, match="too few Si structures.*val"):
        sw.STILLINGER_WEBER.prepare(tmp_path / "out", frames=8)
    with pytest.raises(ValueError, match="500 Si structures.*112"):
        sw.STILLINGER_WEBER.prepare(tmp_path / "out", division=Division(sizes=[500]))
    assert not (tmp_path / "out").exists()
