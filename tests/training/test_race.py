"""``nequip-elemtransfer race`` with real trainings: a tiny race, what it says and writes, interruptions."""

import io
import json
import shutil
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
import torch
import yaml
from commands import Forked, run

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.race import result as results
from nequip_elemtransfer.race.course import HALF, MARKS, SHORT, STOP_MARK
from nequip_elemtransfer.race.lineup import Lineup
from nequip_elemtransfer.study.grid import checkpoint_of, read_json, run_folder
from nequip_elemtransfer.study.run import tasks
from nequip_elemtransfer.study.run.results import validations
from nequip_elemtransfer.study.run.training_configs import compose_config

FOLDS = 3


def race(source, data, out, *options) -> tuple[int, str, str]:
    """Exit code, output and errors of the command, its trainings forked from a process that has imported NequIP."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(io.StringIO()) as printed,
        redirect_stderr(io.StringIO()) as errors,
    ):
        patch.setattr(tasks, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": Forked}))
        common = ["--out", str(out), "--budget", "12", "--folds", str(FOLDS), "--jobs", "2"]
        code = main(["race", str(source), str(data), *common, *options])
    return code, printed.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def finished(data, source, made_once):
    """The folder of a finished race, and what it printed."""

    def fill(folder):
        code, printed, errors = race(source, data / "Ge_train.xyz", folder / "out")
        assert code == 0, errors
        (folder / "printed").write_text(printed)

    folder = made_once("race", fill)
    return folder / "out", (folder / "printed").read_text()


def test_what_it_says(finished):
    """A tiny model that knows silicon against one that knows nothing, on folds of six structures."""
    out, printed = finished
    said = json.loads((out / "race.json").read_text())
    assert said["winner"] == "transfer" and said["told_apart"] and set(said["stopped"]) == {"scratch"}
    assert sorted(np.concatenate(said["folds"])) == list(range(6)) and said["budget"]["steps"] == 12
    assert printed.count("scratch was stopped after 4 steps") == 2  # after each part that shows how starts stand
    assert "transfer wins, told apart from scratch" in printed and f"-cp {out} -cn train" in printed
    curves = said["curves"]["forces"]
    assert [mark["steps"] for mark in curves["transfer"]] == list(range(MARKS + 1))
    assert [mark["steps"] for mark in curves["scratch"]] == list(range(STOP_MARK + 1))
    assert all(0 < mark["low"] < mark["middle"] < mark["high"] for mark in curves["transfer"])
    for found in said["expected"].values():
        assert 0 < found["mae"]["low"] < found["mae"]["middle"] < found["mae"]["high"]
        assert found["mae_of_all"]["middle"] <= found["mae"]["middle"] and found["one_more"]["middle"] <= 1
        assert found["mae"]["middle"] <= found["rmse"]["middle"] and found["mae"]["count"] == 6
    assert all(len(line) <= 80 for line in printed.splitlines() if str(out) not in line)
    html = (out / "race.html").read_text()
    assert html.count("<svg") == 1 and "prefers-color-scheme: dark" in html and "transfer wins" in html


def test_the_last_state_is_tested_and_no_fold_chooses_it(finished):
    """The errors to expect come from the predictions of the models with which the curves end."""
    out, _ = finished
    lineup = Lineup.read(out)
    for leg in lineup.of("transfer"):
        (last,) = validations(run_folder(out, leg.name))[-1:]
        errors = results._errors(lineup, out, lineup.of("transfer"), "forces")
        own = errors.folds == leg.fold
        assert errors.absolute[own].sum() / errors.weights[own].sum() == pytest.approx(last.force_mae, rel=1e-5)
        state = torch.load(checkpoint_of(out, leg.name), weights_only=False)
        assert state["global_step"] == 12 and state["lr_schedulers"][0]["_last_lr"] == pytest.approx([0.0])
    for schedule in (SHORT, HALF):
        for leg in lineup.of("transfer", schedule):
            assert validations(run_folder(out, leg.name))[-1].steps == leg.marks * leg.every == 4
    assert not run_folder(out, "scratch-short-fold0").exists()


def test_nothing_that_is_held_out_is_trained_on_or_fitted_to(finished):
    """Files, λ, α and μ of each fold; the scale and the shift of a start from scratch have closed forms."""
    out, _ = finished
    lineup = Lineup.read(out)
    for leg in (leg for leg in lineup.legs if leg.start == "scratch"):
        train, held_out = (ase.io.read(file, ":") for file in leg.files(out))
        assert len(train) == len(leg.train) and len(held_out) == 2
        assert not {atoms.get_potential_energy() for atoms in train} & {a.get_potential_energy() for a in held_out}
        model = yaml.safe_load((out / "grid" / "training" / f"{leg.name}.yaml").read_text())["training_module"]["model"]
        forces = np.concatenate([atoms.get_forces() for atoms in train])
        assert model["per_type_energy_scales"]["Ge"] == pytest.approx(np.sqrt(np.mean(forces**2)))
        energies = [atoms.get_potential_energy() / len(atoms) for atoms in train]
        assert model["per_type_energy_shifts"]["Ge"] == pytest.approx(np.mean(energies), abs=1e-5)
    shifts = {
        yaml.safe_load((out / "grid" / "training" / f"transfer-fold{fold}.yaml").read_text())["element_transfer"][
            "energy_shifts"
        ]["Ge"]
        for fold in range(FOLDS)
    }
    assert len(shifts) == FOLDS


def test_it_goes_on(finished, data, source, tmp_path):
    """Ended in the middle of a training, the same command finishes it, and says what it would have said."""
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    said = json.loads((out / "race.json").read_text())
    folder = run_folder(out, "transfer-half-fold2")
    (folder / "finished.json").unlink()
    (folder / "held_out_dataset0.xyz").unlink()
    for name in ("race.json", "train.yaml"):
        (out / name).unlink()
    for path in (out / "grid" / "training").glob("*.yaml"):
        path.write_text(path.read_text().replace(str(finished[0]), str(out)))
    code, printed, errors = race(source, data / "Ge_train.xyz", out)
    assert code == 0, errors
    assert (folder / "metrics" / "metrics.before_1.csv").exists()  # continued, not begun anew
    assert json.loads((out / "race.json").read_text()) == said
    assert (out / "train.yaml").read_text() == (finished[0] / "train.yaml").read_text()
    code, _, errors = race(source, data / "Ge_train.xyz", out, "--seed", "1")
    assert code == 2 and "holds a race of other seed (0, now 1)" in errors


def test_the_config_trains_the_winner_on_all_structures(finished, data, tmp_path):
    out, _ = finished
    run("nequip-train", "-cp", out, "-cn", "train", f"hydra.run.dir={tmp_path}/run", cwd=tmp_path)
    config = yaml.safe_load((out / "train.yaml").read_text())
    said = json.loads((out / "race.json").read_text())
    assert config["data"]["train_file_path"] == str(data / "Ge_train.xyz") and config["max_steps"] == said["steps"]
    state = torch.load(tmp_path / "run" / "best.ckpt", weights_only=False)
    assert state["global_step"] == said["steps"] and state["lr_schedulers"][0]["_last_lr"] == pytest.approx([0.0])


def test_what_cannot_be_raced_is_refused(data, source, tmp_path):
    """Before anything is written."""
    ase.io.write(tmp_path / "two.xyz", ase.io.read(data / "Ge_train.xyz", ":2"))
    for file, options, sentence in (
        (tmp_path / "two.xyz", [], "needs 3 groups of structures"),
        (data / "Ge_train.xyz", ["--starts", "transfr", "scratch"], "did you mean 'transfer'"),
        (data / "Ge_train.xyz", ["--starts", "transfer"], "needs two starts"),
        (data / "Ge_train.xyz", ["--budget", "soon"], "600, or time of the race as 20min"),
        (data / "Ge_train.xyz", ["--group-by", "trajectory"], "--group-by is 'trajectory'"),
    ):
        code, _, errors = race(source, file, tmp_path / "out", *options)
        assert code == 2 and sentence in errors and not (tmp_path / "out").exists()


def test_other_starts_are_made_ready(data, source, tmp_path):
    """The map alone, and a transfer from another model: their configs on folds and on all, which Hydra composes."""
    out = tmp_path / "out"
    starts = ["--starts", "map", f"same={source}", "scratch", "--prepare", "--elements", "Ge=Si"]
    code, printed, errors = race(source, data / "Ge_train.xyz", out, *starts)
    assert code == 0, errors
    assert printed.startswith("9 trainings are ready") and "--multirun" in printed
    keys = {}
    for name in ("map", "same"):
        for path in (out / "starts" / f"{name}.yaml", out / "grid" / "training" / f"{name}-fold0.yaml"):
            keys[name, path.stem] = compose_config(path, ()).element_transfer
    assert keys["map", "map"].length_scale == keys["map", "map"].energy_scale == {"Ge": 1.0}
    assert keys["map", "map-fold0"].length_scale == {"Ge": 1.0}
    assert keys["map", "map"].energy_shifts != keys["map", "map-fold0"].energy_shifts
    assert keys["same", "same"].source == str(source) and keys["same", "same"].length_scale.Ge != 1.0
    said = read_json(out / "plan" / "report.json")
    assert keys["same", "same"].length_scale.Ge == pytest.approx(said["length_scale"]["Ge"], abs=1e-6)
    assert "element_transfer" not in compose_config(out / "starts" / "scratch.yaml", ())
