"""``nequip-elemtransfer study`` with real trainings: a tiny grid, interruptions, failures, Hydra's launchers."""

import json
import os
import shutil
import signal
import subprocess
import time

import ase.io
import pytest
import torch
from commands import run, script
from studies import run_study

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.study.grid import Grid, State
from nequip_elemtransfer.study.run import tasks
from nequip_elemtransfer.study.run.results import read_results
from nequip_elemtransfer.study.study import all_tasks

NAMES = [f"{start}-n{n}-seed0" for start in ("scratch", "corresponding_states") for n in (3, 6)]


def test_grid(grid):
    _, out = grid
    report = json.loads((out / "report.json").read_text())
    assert [entry["name"] for entry in report["runs"]] == NAMES
    for entry in report["runs"]:
        assert entry["state"] == "finished" and set(entry["tests"]) == {"all", "cold", "hot"}
        whole, *parts = (entry["tests"][name]["forces_mae"] for name in ("all", "cold", "hot"))
        assert whole == pytest.approx(sum(parts) / 2)  # equally many atoms in both
        steps = 2 * entry["settings"]["size"] // 3  # two epochs, batches of 3
        assert [v["steps"] for v in entry["validations"]] == [0, steps // 2, steps]
        seconds = [v["seconds"] for v in entry["validations"]]
        assert seconds[0] == 0 < seconds[1] < seconds[2]


def test_report(grid):
    _, out = grid
    curves = {curve["start"]: curve for curve in json.loads((out / "report.json").read_text())["curves"]}
    points = {start: curve["test_sets"]["all"] for start, curve in curves.items()}
    assert [point["size"] for point in points["scratch"]] == [3, 6]
    # the transfer is better after two epochs, so its 3 structures are worth more than all from scratch
    assert (
        points["corresponding_states"][0]["errors"]["forces_mae"]["mean"]
        < points["scratch"][1]["errors"]["forces_mae"]["mean"]
    )
    (machine,) = json.loads((out / "report.json").read_text())["machines"]
    assert machine["torch"] == torch.__version__ and int(machine["cores"]) >= 1 and machine["processor"]
    first = curves["corresponding_states"]["efficiency"][0]
    assert first["equivalent"] == {"size": 6, "bound": "more than", "factor": 2.0}
    # and better before the first step than scratch ever is
    assert curves["corresponding_states"]["speed"][0]["start"]["steps"] == 0
    html = (out / "report.html").read_text()
    assert html.count("<svg") == 2 and "prefers-color-scheme: dark" in html and "Gaps" not in html
    for outside in ("src=", "<link", "@import", "url(http"):
        assert outside not in html
    assert (out / "learning_curves.png").read_bytes()[:4] == b"\x89PNG"


def test_training_sets_are_the_first_structures(grid, labelled):
    _, out = grid
    frames = ase.io.read(labelled / "train.xyz", ":")
    for n in (3, 6):
        written = ase.io.read(out / "structures" / f"train-default-n{n}.xyz", ":")
        assert [a.get_potential_energy() for a in written] == [a.get_potential_energy() for a in frames[:n]]


def test_finished_runs_are_never_repeated(grid, capsys):
    file, out = grid
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/**/*")}
    assert main(["study", "run", str(file), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("4 tasks finished")
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/**/*")} == before


def test_gap_is_named(grid, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(grid[1], out)
    shutil.rmtree(out / "runs" / NAMES[0])
    (out / "runs" / NAMES[3] / "finished.json").unlink()
    assert main(["study", "report", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert [entry["state"] for entry in report["runs"]] == ["not started", "finished", "finished", "interrupted"]
    scratch, transferred = (curve["test_sets"]["all"] for curve in report["curves"])
    assert scratch[0]["errors"] == {} and scratch[0]["missing"] == [NAMES[0]]
    assert transferred[1]["missing"] == [NAMES[3]]
    html = (out / "report.html").read_text()
    assert f"<code>{NAMES[0]}</code>: not started" in html and f"<code>{NAMES[3]}</code>: interrupted" in html


def test_other_settings_are_refused(grid, study, capsys):
    """A finished run is not taken for one with other settings."""
    file = study("changed", sizes=[3], starts=["scratch"], overrides=["trainer.max_epochs=3"])
    assert main(["study", "run", str(file), "--out", str(grid[1])]) == 2
    assert f"the run {NAMES[0]} was made with other settings" in capsys.readouterr().err


def test_interruption_and_failure(study, tmp_path, capfd):
    """A study stopped by Ctrl-C becomes what it would have become, bit for bit; a failed run does not stop the rest."""
    starts = {
        "corresponding_states": None,
        "broken": {"config": "transfer", "overrides": ["element_transfer.elements={Ge: Sn}"]},
    }
    epochs = "trainer.max_epochs=15"
    one = study("uninterrupted", starts=["corresponding_states"], overrides=[epochs])
    both = study("interrupted", starts=starts, overrides=[epochs])
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run_study(one, whole)[0] == 0

    process = begin(both, stopped)
    folder = stopped / "runs" / "corresponding_states-n6-seed0"
    while not (folder / "restart.ckpt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1].endswith("nequip-elemtransfer: stopped.\n") and process.returncode == 130
    assert [result.state for result in read_results(Grid.read(stopped), stopped)][0] is State.INTERRUPTED
    assert 0 < torch.load(folder / "restart.ckpt", weights_only=True)["global_step"] < 30

    capfd.readouterr()
    assert run_study(both, stopped, "--jobs", "2")[0] == 1 and "Traceback" not in capfd.readouterr().err
    resumed, broken = read_results(Grid.read(stopped), stopped)
    assert [resumed.state, broken.state] == [State.FINISHED, State.FAILED]
    assert "starts 'Ge' from 'Sn'" in (broken.folder / "nequip-train.log").read_text()
    assert "starts 'Ge' from 'Sn'" in broken.reason
    assert f"<code>{broken.run.name}</code>: failed" in (stopped / "report.html").read_text()

    (uninterrupted,) = read_results(Grid.read(whole), whole)
    assert (resumed.folder / "metrics" / "metrics.before_1.csv").exists() and resumed.tests == uninterrupted.tests
    errors = [[(v.steps, v.force_mae, v.energy_mae) for v in r.validations] for r in (resumed, uninterrupted)]
    assert len(errors[0]) == 16 and errors[0] == errors[1]
    states = [torch.load(r.folder / "restart.ckpt", weights_only=True)["state_dict"] for r in (resumed, uninterrupted)]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, states[1][key], rtol=0, atol=0)


def begin(file, out):
    """Start a study as a user does."""
    command = [script("nequip-elemtransfer"), "study", "run", str(file), "--out", str(out)]
    return subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # where the tests run in a shell's background, Ctrl-C is ignored, and they would pass that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_hydras_launchers_and_atomic_energies(study, labelled, tmp_path, capsys):
    """The prepared grid runs through ``--multirun``, a process for each job; a study takes over what it finds."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    metric = "{name: atomic_energy_NAME, field: atomic_energy, metric: {_target_: nequip.train.CLASS}, coeff: 1.0}"
    loss = metric.replace("NAME", "mse").replace("CLASS", "MeanSquaredError")
    test = metric.replace("NAME", "mae").replace("CLASS", "MeanAbsoluteError").replace("1.0", "null")
    file = study(
        "launched",
        starts=["scratch"],
        seeds=[0, 1],
        overrides=[f"data.val_file_path={labelled / 'test.xyz'}"],
        axes={
            "labels": {
                "atomic": [
                    f"+training_module.loss.extra_metrics=[{loss}]",
                    f"+training_module.val_metrics.extra_metrics=[{test}]",
                ]
            }
        },
    )
    out = tmp_path / "out"
    assert main(["study", "run", str(file), "--out", str(out), "--prepare"]) == 0
    assert "--multirun" in capsys.readouterr().out and not (out / "runs").exists()
    jobs = ["--multirun", "hydra/launcher=submitit_local", "+training=glob(*,exclude=*-seed1)"]
    run("nequip-train", "-cp", out / "grid", "-cn", "grid", *jobs, cwd=tmp_path)
    assert main(["study", "report", str(out)]) == 0
    first, second = read_results(Grid.read(out), out)
    assert second.state is State.NOT_STARTED
    outcome = tasks.run_tasks(all_tasks(Grid(runs=(first.run,)), out), out)
    assert [task.name for task in outcome.finished] == [first.run.name]
    (first,) = read_results(Grid(runs=(first.run,)), out)
    assert first.run.name == "scratch-atomic-n6-seed0" and first.state is State.FINISHED
    (errors,) = first.tests.values()
    # the mean of absolute errors of atoms is no less than the absolute mean
    assert errors["atomic_energy_mae"] > (1 - 1e-6) * errors["per_atom_energy_mae"] > 0
    assert "train_loss_epoch/atomic_energy_mse" in (first.folder / "metrics" / "metrics.csv").read_text()


@pytest.mark.parametrize(
    "entries, sentence",
    [
        ({"sizes": [3, 7]}, "`sizes` has 7, but"),
        ({"sizes": []}, "`sizes` must be a list with at least one entry"),
        ({"starts": []}, "the grid has no runs"),
        ({"overrides": ["trainer.max_epoch=3"]}, "is refused by Hydra"),
        ({"scratch": "nowhere.yaml"}, "'nowhere.yaml', which does not exist"),
        ({"train_on": {"cold": {"group": "freezing"}}}, "holds 0 structures with {'group': 'freezing'}"),
    ],
)
def test_bad_input_is_one_sentence(study, tmp_path, capsys, entries, sentence):
    out = tmp_path / "out"
    assert main(["study", "run", str(study("bad", **entries)), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nequip-elemtransfer: ") and error.count("\n") == 1 and sentence in error
    assert not any(out.glob("*"))


def test_full_disk_and_unwritable_folder(study, tmp_path, capsys, monkeypatch):
    file = study("one", starts=["scratch"])
    (tmp_path / "file").write_text("")
    assert main(["study", "run", str(file), "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    monkeypatch.setattr(tasks, "LEAST_FREE_BYTES", 10**18)
    assert main(["study", "run", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "MB left" in capsys.readouterr().err and not (tmp_path / "out" / "runs").exists()


def test_two_studies_in_one_folder(study, tmp_path, capsys):
    file = study("one", starts=["scratch"])
    out = tmp_path / "out"
    assert main(["study", "run", str(file), "--out", str(out), "--prepare"]) == 0
    with tasks.only_one_study(out):
        assert main(["study", "run", str(file), "--out", str(out)]) == 2
    assert "is at work in" in capsys.readouterr().err


def test_report_of_another_folder(tmp_path, capsys):
    assert main(["study", "report", str(tmp_path)]) == 2
    assert "is no folder of a study" in capsys.readouterr().err
