"""The main path, by the notebook of the docs and with its commands: from two files to a deployed model; few steps."""

import json
import shlex
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from commands import run
from real_runs import structures

PROJECT = Path(__file__).parents[2]
NOTEBOOK = PROJECT / "docs" / "tutorial" / "main_path.ipynb"


@pytest.fixture
def commands(monkeypatch):
    """Those that `make path` runs."""
    monkeypatch.syspath_prepend(PROJECT / "demo")
    import path

    yield path.commands()
    del sys.modules["path"]


def code_cells():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_notebook_and_script_have_the_same_commands(commands):
    assert [cell.removeprefix("%%bash\n") for cell in code_cells() if cell.startswith("%%bash\n")] == commands
    assert len(commands) <= 8


def test_from_two_files_to_a_deployed_model(source, tmp_path, monkeypatch):
    """Shell cells run as commands, the others in one process, as a notebook has it."""
    (tmp_path / "si.ckpt").write_bytes(source.read_bytes())
    ase.io.write(tmp_path / "ge.xyz", structures("Ge", 12))
    ase.io.write(tmp_path / "ge_test.xyz", structures("Ge", 2, seed=1))
    monkeypatch.chdir(tmp_path)
    printed, names = [], {}
    for cell in code_cells():
        if not cell.startswith("%%bash\n"):
            exec(cell, names)
            continue
        name, *words = shlex.split(cell.removeprefix("%%bash\n").replace("$PWD", str(tmp_path)))
        if name == "nequip-train":
            words += ["max_steps=4", "trainer.log_every_n_steps=1"]
        printed.append(run(name, *words, cwd=tmp_path).stdout)
    inspected, planned, checked, _, looked, built, told = printed
    assert "Si" in inspected and planned.startswith("Verdict: ")
    assert checked.endswith("The config goes with its transfer. No training was done.\n")
    assert "element_transfer: " not in checked  # the config of a plan needs no advice
    assert (tmp_path / "look" / "model.html").is_file() and "meV/Å" in looked
    assert "Largest differences from the eager model" in built
    assert (tmp_path / "ge.nequip.pth").is_file() and "Element transfer from" in told
    report = json.loads((tmp_path / "plan" / "report.json").read_text())
    assert f"{report['length_scale']['Ge']:.4f}" in told
    for text in (inspected, planned, built):
        assert max((len(line) for line in text.splitlines() if set(line) == {"-"}), default=0) <= 80
    assert len(names["rows"]) == 4 and np.isfinite(names["energies"]).all()
