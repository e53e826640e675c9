"""Units that options and files name are obeyed; sizes that nothing has are refused."""

import argparse

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from nequip_elemtransfer.config import LABEL_KINDS
from nequip_elemtransfer.structures.options import DataOptions, add_data_options, data_options
from nequip_elemtransfer.structures.reading import read_structures
from nequip_elemtransfer.structures.training_data import training_frames
from nequip_elemtransfer.structures.unit_names import parse_unit
from nequip_elemtransfer.structures.units import WrongUnit

ENERGY, FORCES, STRESS = -36.5, np.arange(24.0).reshape(8, 3) / 10, np.arange(1.0, 7.0) / 100


def crystal(energy=1.0, forces=1.0, stress=1.0, **info):
    """Germanium with labels in units of these sizes in eV and Å."""
    atoms = bulk("Ge", "diamond", a=5.7, cubic=True)
    atoms.rattle(0.05)
    atoms.info |= info
    atoms.calc = SinglePointCalculator(atoms, energy=ENERGY / energy, forces=FORCES / forces, stress=STRESS / stress)
    return atoms


@pytest.fixture
def read(tmp_path):
    def read_it(structures, **options):
        path = tmp_path / "ge.xyz"
        write(path, structures)
        return read_structures(path, DataOptions(**options))

    return read_it


def require_labels(read):
    for atoms in read.structures:
        assert atoms.get_potential_energy() == pytest.approx(ENERGY, rel=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), FORCES, atol=1e-6)
        np.testing.assert_allclose(atoms.get_stress(), STRESS, rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "kind", "size"),
    [
        ("eV", "energy", 1.0),
        ("Hartree", "energy", 27.211386),
        ("Ry", "energy", 13.605693),
        ("kcal/mol", "energy", 1 / 23.060548),
        ("KJ/mol", "energy", 1 / 96.485332),
        ("a.u.", "energy", 27.211386),
        ("kcal/mol/Å", "forces", 1 / 23.060548),
        ("kcal/mol/A", "forces", 1 / 23.060548),
        ("Hartree/Bohr", "forces", 51.422067),
        ("au", "forces", 51.422067),
        ("kJ/mol/nm", "forces", 1 / 964.85332),
        ("GPa", "stress", 1 / 160.21766),
        ("kbar", "stress", 1 / 1602.1766),
        ("-kB", "stress", -1 / 1602.1766),
        ("bar", "stress", 1 / 1602176.6),
        ("eV/Ang^3", "stress", 1.0),
        ("-eV/Å³", "stress", -1.0),
        ("Hartree/Bohr**3", "stress", 183.63154),
    ],
)
def test_sizes_in_eV_and_angstrom(text, kind, size):
    assert parse_unit(text, kind, "x").size == pytest.approx(size, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("cal", "energy"), ("eV/Å", "energy"), ("eV", "forces"), ("-eV/Å", "forces"), ("eV", "stress"), ("", "stress")],
)
def test_no_unit_of_this(text, kind):
    with pytest.raises(ValueError, match="x is '.*', which is no known unit of .*; choose from .*(eV|GPa)"):
        parse_unit(text, kind, "x")


def test_forces_and_stresses_follow_the_energies():
    found = DataOptions(energy_unit="kcal/mol").units
    assert {kind: unit.name for kind, unit in found.items()} == {
        "energy": "kcal/mol",
        "forces": "kcal/mol/Å",
        "stress": "kcal/mol/Å³",
    }
    found = DataOptions(energy_unit="Hartree", force_unit="Hartree/Bohr", stress_unit="-GPa").units
    assert [found[kind].name for kind in LABEL_KINDS] == ["Hartree", "Hartree/Bohr", "-GPa"]
    assert DataOptions().units == {}


KCAL = units.kcal / units.mol
CONVERTED = {
    "kcal/mol": ((KCAL, KCAL, KCAL), {"energy_unit": "kcal/mol"}),
    "atomic units": (
        (units.Hartree, units.Hartree / units.Bohr, units.Hartree / units.Bohr**3),
        {"energy_unit": "Hartree", "force_unit": "Hartree/Bohr", "stress_unit": "Hartree/Bohr^3"},
    ),
    "stresses of VASP": ((1, 1, -1e3 * units.bar), {"stress_unit": "-kbar"}),
    "stresses in GPa": ((1, 1, units.GPa), {"stress_unit": "GPa"}),
    "energies per atom": ((8, 1, 1), {"energy_unit": "eV/atom", "stress_unit": "eV/Å^3"}),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_options_convert(case, read):
    sizes, options = CONVERTED[case]
    found = read([crystal(*sizes), crystal(*sizes)], **options)
    require_labels(found)
    assert found.converted and found.said[0].startswith("Converted labels of ") and "(2)" in found.said[0]


@pytest.mark.parametrize(
    "info",
    [
        {"energy-unit": "kcal/mol", "forces-unit": "kcal/mol/Angstrom", "stress-unit": "kcal/mol/Ang^3"},
        {"energy_unit": "kcal/mol", "force_units": "kcal/mol/A", "stress_unit": "kcal/mol/A^3"},
    ],
)
def test_entries_of_a_file_are_obeyed(info, read):
    found = read([crystal(KCAL, KCAL, KCAL, **info)])
    require_labels(found)
    assert found.converted
    with pytest.raises(WrongUnit, match="says that its energy is in kcal/mol, and the options say Hartree"):
        read([crystal(**info)], energy_unit="Hartree")


def test_entries_that_name_our_units_change_nothing(read):
    info = {"energy-unit": "eV", "forces-unit": "eV/Angstrom", "stress-unit": "eV/Angstrom^3", "positions-unit": "Å"}
    found = read([crystal(**info)])
    require_labels(found)
    assert not found.converted and found.said == ()


def test_lengths_in_another_unit_are_refused(read):
    with pytest.raises(
        WrongUnit, match="`positions-unit` of structure 0 .* is 'bohr': positions .* convert them first"
    ):
        read([crystal(**{"positions-unit": "bohr"})])


@pytest.mark.parametrize(("unit", "size"), [("bar", units.bar), ("kbar", 1e-4 * units.GPa * 1e3)])
def test_stresses_that_nothing_has(unit, size, read):
    strong = crystal()
    strong.calc.results["stress"] = STRESS * (10 if unit == "kbar" else 1) / size
    with pytest.raises(WrongUnit, match=f"median size of .* 1000 GPa .* look like {unit}. .*`--stress-unit {unit}`"):
        read([strong])


def test_a_thousand_gigapascals_are_read(read):
    strong = crystal()
    strong.calc.results["stress"] = np.array([6.2, 6.2, 6.2, 0, 0, 0])
    assert read([strong]).said == ()


def test_stresses_of_a_cluster_in_a_wide_box(read):
    atoms = Atoms("Ge2", [[0, 0, 0], [0, 0, 2.4]], cell=np.eye(3) * 1000, pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-4.0, forces=np.ones((2, 3)), stress=1e-10 * np.ones(6))
    assert read([atoms]).said == ()


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (crystal(KCAL, **{"energy-unit": "kcal/mol"}), "its energy is in kcal/mol, and NequIP, which converts nothing"),
        (crystal(stress=1e-6), "look like bar"),
    ],
)
def test_a_config_of_ones_own_names_the_command_that_converts(atoms, words, tmp_path):
    path = tmp_path / "ge.xyz"
    write(path, [atoms])
    data = {"_target_": "nequip.data.datamodule.ASEDataModule", "seed": 0, "train_file_path": str(path)}
    data |= {"val_file_path": str(path), "transforms": []}
    with pytest.raises(WrongUnit, match=words):
        training_frames(data, ["Ge"])


def test_options_of_a_command():
    parser = argparse.ArgumentParser()
    add_data_options(parser)
    args = parser.parse_args(["--energy-unit", "kcal/mol", "--stress-unit=-kbar"])
    assert data_options(args) == DataOptions({}, "kcal/mol", None, "-kbar")
    with pytest.raises(
        ValueError, match="--stress-unit is 'psi', which is no known unit of stress; choose from Pa, bar"
    ):
        data_options(parser.parse_args(["--stress-unit", "psi"]))


def sizes(per_atom, elements=("Ge",)):
    """Crystals of 2 to 16 atoms with energies about -4 eV/atom, total or per atom."""
    random, found = np.random.default_rng(0), []
    for i in range(8):
        atoms = bulk("Ge", "diamond", a=5.7) * (1, 1, i + 1)
        atoms.symbols[:] = [elements[k] for k in random.integers(len(elements), size=len(atoms))]
        atoms.rattle(0.05)
        energy = float(sum({"Ge": -4.0, "Si": -5.0}[symbol] for symbol in atoms.symbols)) / len(atoms)
        energy += 0.05 * random.normal()
        atoms.calc = SinglePointCalculator(atoms, energy=energy * (1 if per_atom else len(atoms)))
        found.append(atoms)
    return found


@pytest.mark.parametrize("elements", [("Ge",), ("Ge", "Si")])
def test_energies_per_atom_are_named(elements, read):
    assert read(sizes(False, elements)).said == ()
    with pytest.raises(
        WrongUnit, match="do not grow with the number of atoms, 2 to 16: .*--key energy=energy_per_atom"
    ):
        read(sizes(True, elements))
    found = read(sizes(True, elements), key_mapping={"energy": "energy_per_atom"})
    for atoms, total in zip(found.structures, sizes(False, elements)):
        assert atoms.get_potential_energy() == pytest.approx(total.get_potential_energy(), rel=1e-9)


def test_energies_about_zero_are_not_taken_for_energies_per_atom(read):
    structures = sizes(False)
    for atoms in structures:
        atoms.calc.results["energy"] += 4.0 * len(atoms)
    assert read(structures).said == ()
