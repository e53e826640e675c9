"""``nequip-elemtransfer label``: labels of a calculator, exactly, through processes, kills and failures."""

import json
import os
import signal
import subprocess
import sys
import time

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.labelling.labelling import label_structures

# Calculators with faults, as a user's own module in the working folder.
FAULTY = '''
import os, time
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

class Faulty(EMT):
    """EMT that does to structures what their `fault` says."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        fault = atoms.info.get("fault")
        if fault == "forces":
            self.results["forces"] = np.full((len(atoms), 3), np.nan)
        if fault == "energy":
            self.results["energy"] = np.inf
        if fault == "raises":
            raise RuntimeError("did not converge")
        if fault == "dies":
            os._exit(7)
        if fault == "hangs":
            time.sleep(600)
        time.sleep(atoms.info.get("seconds", 0.0))
        with open("calls", "a") as file:
            file.write(f"{atoms.info.get('name', '')}\\n")

class Stressless(EMT):
    implemented_properties = ["energy", "forces"]

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results.pop("stress", None)

def no_calculator():
    return 7
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with the faulty calculators."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty.py").write_text(FAULTY)
    (tmp_path / "faulty.yaml").write_text("_target_: faulty.Faulty\n")
    (tmp_path / "emt.yaml").write_text("_target_: ase.calculators.emt.EMT\n")
    return tmp_path


def copper(n=4, **info):
    frames = []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.info = {"name": f"copper {seed}", **{name: values[seed] for name, values in info.items()}}
        frames.append(atoms)
    return frames


def test_labels_are_the_calculators(here):
    slab = fcc111("Cu", (1, 1, 3), vacuum=5.0)
    frames = [*copper(), slab, molecule("CO"), bulk("CuAu", "rocksalt", a=5.0)]
    ase.io.write("in.xyz", frames)
    assert main(["label", "in.xyz", "--calculator", "emt.yaml", "--jobs", "2", "--out", "out.xyz"]) == 0
    found = ase.io.read("out.xyz", ":")
    assert len(found) == len(frames)
    for atoms, labelled in zip(frames, found):
        atoms.calc = EMT()
        assert labelled.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        assert labelled.get_forces() == pytest.approx(atoms.get_forces(), abs=1e-7)
        assert ("stress" in labelled.calc.results) == bool(atoms.pbc.all())
        if atoms.pbc.all():
            assert labelled.get_stress() == pytest.approx(atoms.get_stress(), abs=1e-7)
        assert labelled.info["calculator"] == "ase.calculators.emt.EMT"
    assert found[0].info["name"] == "copper 0"
    # the journal is gone, and so is the log
    assert {path.name for path in here.iterdir()} == {"faulty.py", "faulty.yaml", "emt.yaml", "in.xyz", "out.xyz"}


def test_labels_of_a_file_are_ignored(here):
    atoms = copper(1)[0]
    atoms.calc = EMT()
    forces = atoms.get_forces()
    atoms.info["energy"], atoms.arrays["forces"] = 99.0, forces + 1
    atoms.calc = None
    ase.io.write("in.xyz", atoms)
    label_structures("in.xyz", "emt.yaml", here / "out.xyz")
    assert ase.io.read("out.xyz").get_forces() == pytest.approx(forces, abs=1e-7)


def test_failures_are_listed_and_left_out(here, capsys):
    frames = [*copper(6, fault=["forces", "none", "energy", "raises", "dies", "hangs"]), bulk("Ge", "diamond", a=5.7)]
    ase.io.write("in.xyz", frames)
    options = ["--calculator", "faulty.yaml", "--jobs", "2", "--time-limit", "5", "--out", "out.xyz"]
    assert main(["label", "in.xyz", *options]) == 0
    text = capsys.readouterr().out
    assert "out.xyz: 1 structures" in text
    for sentence in (
        "structure 0 is left out: the forces are not finite",
        "structure 2 is left out: the energy is not finite",
        "structure 3 is left out: RuntimeError: did not converge",
        "structure 4 is left out: the calculator ended its process with exit code 7",
        "structure 5 is left out: it took longer than the 5 s of the time limit",
        "structure 6 is left out: NotImplementedError: No EMT-potential for Ge",
    ):
        assert sentence in text
    assert [atoms.info["name"] for atoms in ase.io.read("out.xyz", ":")] == ["copper 1"]
    assert main(["label", "in.xyz", *options]) == 2
    assert "out.xyz exists already" in capsys.readouterr().err


def test_failures_are_tried_again_when_asked(here):
    frames = copper(2, fault=["none", "raises"])
    ase.io.write("in.xyz", frames)
    first = label_structures("in.xyz", "faulty.yaml", here / "out.xyz")
    assert set(first.failed) == {1} and first.journal.exists()
    (here / "faulty.py").write_text(FAULTY.replace("RuntimeError(", "RuntimeWarning(").replace("raise ", "str; "))
    again = label_structures("in.xyz", "faulty.yaml", here / "out.xyz", force=True)
    assert set(again.failed) == {1}
    mended = label_structures("in.xyz", "faulty.yaml", here / "out.xyz", force=True, retry=True)
    assert mended.failed == {} and mended.labelled == 2 and mended.journal is None
    assert (here / "calls").read_text().splitlines().count("copper 0") == 1


def test_a_calculator_without_stress(here, capsys):
    (here / "stressless.yaml").write_text("_target_: faulty.Stressless\n")
    ase.io.write("in.xyz", copper(2))
    assert main(["label", "in.xyz", "--calculator", "stressless.yaml", "--out", "out.xyz"]) == 0
    assert "The calculator has no stress of 2 of them." in capsys.readouterr().out
    assert "stress" not in ase.io.read("out.xyz").calc.results


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_command_goes_on(here, number):
    """Each structure is calculated once, though the command is killed between them."""
    ase.io.write("in.xyz", copper(6, seconds=[0.0, 0.0, 60.0, 60.0, 0.0, 0.0]))
    script = "import sys; from nequip_elemtransfer.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "label", "in.xyz", "--calculator", "faulty.yaml", "--out", "out.xyz"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    journal = here / "out.xyz.journal"
    deadline = time.monotonic() + 120
    while not (journal.exists() and len(journal.read_text().splitlines()) == 3):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, number)
    process.wait()
    assert not (here / "out.xyz").exists()
    journal.write_text(journal.read_text() + '{"structure": 2, "lab')  # cut off while it was written
    (here / "faulty.py").write_text(FAULTY.replace("time.sleep(atoms", "str(atoms"))
    result = label_structures("in.xyz", "faulty.yaml", here / "out.xyz")
    assert result.labelled == 6 and not journal.exists()
    calls = (here / "calls").read_text().splitlines()
    assert sorted(calls) == [f"copper {i}" for i in range(6)]
    assert [atoms.info["name"] for atoms in ase.io.read("out.xyz", ":")] == [f"copper {i}" for i in range(6)]


def test_a_journal_of_something_else_is_refused(here):
    ase.io.write("in.xyz", copper(2))
    (here / "out.xyz.journal").write_text(json.dumps({"calculator": {"_target_": "other"}, "structures": "0"}) + "\n")
    with pytest.raises(ValueError, match="was begun with other structures or another calculator"):
        label_structures("in.xyz", "emt.yaml", here / "out.xyz")
    assert (here / "out.xyz.journal").read_text().count("\n") == 1 and not (here / "out.xyz").exists()


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("_target_: no_such_package.Model\n", "No module named 'no_such_package'"),
        ("_target_: ase.calculators.emt.NoSuch\n", "cannot be made from"),
        ("_target_: faulty.no_calculator\n", "makes no ASE calculator but 7"),
        ("EMT\n", "must describe an ASE calculator, as in {_target_: ase.calculators.emt.EMT}, found 'EMT'"),
        ("a: [1\n", "is not YAML"),
        (None, "does not exist: give a YAML file"),
    ],
)
def test_calculators_that_cannot_be_made(here, capsys, text, sentence):
    if text is not None:
        (here / "bad.yaml").write_text(text)
    ase.io.write("in.xyz", copper(2))
    assert main(["label", "in.xyz", "--calculator", "bad.yaml", "--out", "out.xyz"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("nequip-elemtransfer: ") and sentence in error
    assert not (here / "out.xyz").exists() and not (here / "out.xyz.journal").exists()


def test_a_calculator_that_lacks_the_element(here, capsys):
    ase.io.write("in.xyz", [bulk("Ge", "diamond", a=5.7), Atoms("Ge2", np.eye(3)[:2] * 2.4)])
    assert main(["label", "in.xyz", "--calculator", "emt.yaml", "--out", "out.xyz"]) == 2
    assert "labels none of the 2 structures; the first, no. 0: NotImplementedError: No EMT-potential for Ge" in (
        capsys.readouterr().err
    )
    assert not (here / "out.xyz").exists()


@pytest.mark.parametrize("option, sentence", [(["--jobs", "0"], "--jobs is 0"), (["--time-limit", "0"], "above zero")])
def test_numbers_out_of_range(here, capsys, option, sentence):
    ase.io.write("in.xyz", copper(1))
    assert main(["label", "in.xyz", "--calculator", "emt.yaml", "--out", "out.xyz", *option]) == 2
    assert sentence in capsys.readouterr().err
