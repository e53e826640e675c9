"""Every command that reads structures reads them by the one reader: what one refuses or says, all do."""

import ase.io
import numpy as np
import pytest
from made_files import ATOMS, CELL, ENERGIES, as_text, forces, labelled, stress, written

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.deploy.structures import read_structure
from nequip_elemtransfer.inspection import look
from nequip_elemtransfer.plan import making
from nequip_elemtransfer.race import racing
from nequip_elemtransfer.selection import selecting
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.study.config.study_file import Structures
from nequip_elemtransfer.study.grid import StructureFiles, structures_in

DFT = ("dft_energy", "dft_forces", "dft_stress")


@pytest.fixture
def source(nequip_architecture, build, monkeypatch):
    """A model of silicon that every command loads."""
    architecture = nequip_architecture("Si", per_type_energy_shifts=0.0)
    found = SourceModel("random", "0" * 64, architecture, build(architecture).state_dict())
    monkeypatch.setattr(racing, "_digest", lambda path: None)
    for module in (making, look, selecting, racing):
        monkeypatch.setattr(module, "load_source", lambda *args: found)
    structures_in.cache_clear()
    return found


@pytest.fixture
def good(tmp_path):
    return written(tmp_path, labelled(), "good.xyz")


def command(*arguments):
    """Runs a command on a file, and gives what it says on refusing it."""

    def run(path, folder, good, capsys):
        places = {"FILE": str(path), "GOOD": str(good), "OUT": str(folder / "out.xyz"), "EMT": str(folder / "emt.yaml")}
        (folder / "emt.yaml").write_text("_target_: ase.calculators.emt.EMT\n")
        code = main([places.get(argument, argument) for argument in arguments])
        printed = capsys.readouterr()
        assert not (folder / "out.xyz").exists() or code == 0
        return printed.err.splitlines()[-1] if code == 2 else "", printed.out

    return run


def function(call):
    def run(path, folder, good, capsys):
        try:
            call(str(path))
        except (ValueError, OSError) as error:
            return str(error), ""
        return "", ""

    return run


SELECT = ("--model", "nequip.net:a/source:1", "--elements", "Ge=Si", "--number", "1", "--out", "OUT")
# command -> how it is run, and whether it uses labels
COMMANDS = {
    "plan": (command("plan", "nequip.net:a/source:1", "FILE"), True),
    "plan --source-data": (command("plan", "nequip.net:a/source:1", "GOOD", "--source-data", "FILE"), True),
    "race": (command("race", "nequip.net:a/source:1", "FILE", "--out", "OUT"), True),
    "inspect": (command("inspect", "nequip.net:a/source:1", "--data", "FILE"), True),
    "select": (command("select", "FILE", *SELECT), False),
    "select --have": (command("select", "GOOD", "--have", "FILE", *SELECT), False),
    "label": (command("label", "FILE", "--calculator", "EMT", "--out", "OUT"), False),
    "candidates": (command("candidates", "FILE", "--elements", "Si=Ge", "--out", "OUT"), False),
    "deploy": (function(read_structure), False),
    "study": (function(lambda path: StructureFiles(Structures(path), None).training_set("a", {}, "all", 0)), True),
    "study's test set": (
        function(lambda path: StructureFiles(Structures("none", path), None).test_sets()), True
    ),
}  # fmt: skip

FAULTS = {
    "an empty line": (as_text((CELL, ATOMS)) + "\n" + as_text((CELL, ATOMS)), "behind the empty line 5"),
    "a NaN position": (as_text((CELL, ["Ge nan 0 0", ATOMS[1]])), "position of atom 0 of structure 0"),
    "an integer energy": (as_text((CELL + " energy=-4", ATOMS)), "energy '-4'"),
    "prose": ("It was a dark and stormy night.\n", "cannot be read by ASE"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_one_refuses_all_refuse(name, source, good, tmp_path, capsys):
    run, uses_labels = COMMANDS[name]
    for made, words in FAULTS.values():
        refused, _ = run(written(tmp_path, made, "bad.xyz"), tmp_path, good, capsys)
        assert words in refused, refused
    refused, _ = run(tmp_path / "gone.xyz", tmp_path, good, capsys)
    assert "gone.xyz' does not exist" in refused or "gone.xyz', which does not exist" in refused
    refused, _ = run(written(tmp_path, "x" * 50, "frame.pckl.gzip"), tmp_path, good, capsys)
    assert "a pickle is a program" in refused
    if uses_labels:
        refused, _ = run(written(tmp_path, labelled(*DFT), "dft.xyz"), tmp_path, good, capsys)
        assert "--key dft_energy=energy --key dft_forces=forces --key dft_stress=stress" in refused
        others = labelled(REF_forces=lambda i, atoms: forces(i) + 0.3)
        refused, _ = run(written(tmp_path, others, "two.xyz"), tmp_path, good, capsys)
        assert "two answers: forces and REF_forces" in refused


@pytest.mark.parametrize("name", ["select", "select --have", "candidates"])
def test_where_labels_are_of_no_use_it_is_said(name, source, good, tmp_path, capsys):
    made = labelled(*DFT)
    for atoms in made:
        atoms.set_cell(1.1 * atoms.cell, scale_atoms=True)  # else they are copies of the others
    refused, said = COMMANDS[name][0](written(tmp_path, made, "dft.xyz"), tmp_path, good, capsys)
    assert not refused and "Left aside in " in said and "dft_energy, dft_forces, dft_stress" in said


def test_select_writes_the_labels_that_it_is_told_of(source, tmp_path, capsys):
    path, out = written(tmp_path, labelled(*DFT), "dft.xyz"), tmp_path / "out.xyz"
    keys = ("--key", "dft_energy=energy", "--key", "dft_forces=forces", "--key", "dft_stress=stress")
    assert main(["select", str(path), *SELECT[:-1], str(out), *keys]) == 0
    assert "Read dft_energy as energy" in capsys.readouterr().out
    chosen = ase.io.read(out)
    place = chosen.info["candidate"]
    assert chosen.get_potential_energy() == ENERGIES[place]
    np.testing.assert_allclose(chosen.get_stress(voigt=False), stress(place), atol=1e-8)


def test_label_leaves_no_labels_of_another_name(tmp_path, capsys):
    """They would stand beside the calculator's, two answers to one question."""
    made = [atoms for atoms in labelled("REF_energy", "REF_forces", None)]
    for atoms in made:
        atoms.symbols[:] = "Cu"
        atoms.set_cell(0.64 * atoms.cell, scale_atoms=True)
        atoms.info["config_type"] = "bulk"
    refused, said = COMMANDS["label"][0](written(tmp_path, made, "old.xyz"), tmp_path, None, capsys)
    assert not refused and "REF_energy, REF_forces" in said
    for atoms in ase.io.read(tmp_path / "out.xyz", ":"):
        assert {*atoms.info} == {"config_type", "calculator"} and "REF_forces" not in atoms.arrays


def test_a_study_s_keys(tmp_path):
    structures_in.cache_clear()
    path = written(tmp_path, labelled(*DFT), "dft.xyz")
    keys = tuple(zip(DFT, ("energy", "forces", "stress")))
    files = StructureFiles(Structures(str(path), keys=keys), tmp_path / "structures")
    file, count = files.training_set("a", {}, "all", 0)
    files.write()
    assert count == 3 and [atoms.get_potential_energy() for atoms in ase.io.read(file, ":")] == ENERGIES


def test_the_last_structure_of_a_file_or_the_one_chosen(good):
    ase_says = ase.io.read(good, ":")
    assert (read_structure(str(good)).cell == ase_says[-1].cell).all()
    assert (read_structure(f"{good}@0").cell == ase_says[0].cell).all()
