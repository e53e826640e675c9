"""EMT structures: what is sampled, and at which state."""

import ase.units
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.data import emt

SMALL = {"supercell": 2, "temperatures": (0.016,), "liquid_temperatures": (0.05,)}


@pytest.mark.parametrize("metal", emt.METALS)
def test_lattice_constant_is_that_of_lowest_energy(metal):
    def energy(a):
        atoms = bulk(metal, "fcc", a=a)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    a, step = emt.lattice_constant(metal), 0.02
    left, middle, right = (energy(x) for x in (a - step, a, a + step))
    vertex = a + step * (left - right) / (2 * (left - 2 * middle + right))
    assert vertex == pytest.approx(a, rel=2e-2)


def test_structures_of_a_metal():
    frames = list(emt.EMT_METALS.generate("Cu", 8, **SMALL))
    assert [atoms.info["group"] for atoms in frames] == ["fcc"] * 2 + ["strained"] * 2 + ["vacancy"] * 2 + [
        "liquid"
    ] * 2
    assert [len(atoms) for atoms in frames] == [32] * 4 + [31] * 2 + [32] * 2
    kelvin = 3.51 / ase.units.kB
    assert frames[0].info["temperature"] == pytest.approx(0.016 * kelvin, abs=0.1)
    for atoms in frames:
        labels = atoms.calc.results
        atoms.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(labels["energy"], abs=1e-10)
        np.testing.assert_allclose(atoms.get_forces(), labels["forces"], atol=1e-10)
        np.testing.assert_allclose(atoms.get_stress(), labels["stress"], atol=1e-12)
        assert labels["energies"].sum() == pytest.approx(labels["energy"])
    crystal, liquid = (atoms.get_potential_energy() / len(atoms) for atoms in (frames[1], frames[-1]))
    assert liquid - crystal > 0.1  # eV, about the heat of fusion


def test_alloys_have_their_own_composition_and_volume():
    frames = list(emt.EMT_METALS.generate("CuAu", 12, **SMALL))
    fractions = [np.mean(atoms.symbols == "Au") for atoms in frames]
    assert len(set(fractions)) > 6 and min(fractions) < 0.4 and max(fractions) > 0.6
    a_cu, a_au = (emt.lattice_constant(metal) for metal in ("Cu", "Au"))
    for atoms in frames:
        if atoms.info["group"] == "fcc":
            share = np.mean(atoms.symbols == "Au")
            assert atoms.cell.lengths() / 2 == pytest.approx([a_cu + share * (a_au - a_cu)] * 3)


def test_same_seed_same_structures():
    smallest = SMALL | {"supercell": 1}
    first, again, other = (list(emt.EMT_METALS.generate("AgAu", 4, seed=seed, **smallest)) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert a.positions.shape != c.positions.shape or np.abs(a.positions - c.positions).max() > 0.01


@pytest.mark.parametrize("system", ["Fe", "CuFe", "CuCu", "copper"])
def test_what_emt_does_not_know(system, tmp_path, capsys):
    assert main(["data", "emt", "--elements", system, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert repr(system) in error and "Al, Cu, Ag, Au, Ni, Pd, Pt" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_command(tmp_path, capsys):
    command = "data emt --elements Cu CuAu --frames 12 --supercell 1 --sizes 2 --out"
    temperatures = ["--temperatures", "0.01", "--liquid-temperatures", "0.05"]
    assert main([*command.split(), str(tmp_path), *temperatures]) == 0
    names = [f"{system}_{part}.xyz" for system in ("Cu", "CuAu") for part in ("test", "train", "train_2", "val")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert "Cu structures: 100%" in capsys.readouterr().err
