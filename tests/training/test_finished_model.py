"""The end of a real transfer: its summary, the log in its checkpoint, `inspect`, and its start made again."""

import json
import os
import re
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from real_runs import MODEL, structures, train, training_config, transfer_config

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.outcome.metrics import validations
from nequip_elemtransfer.outcome.training_log import log_in


@pytest.fixture(scope="module")
def small_source(data, made_once):
    """A Si model of one layer."""
    config = training_config(data, "Si", MODEL | {"num_layers": 1, "model_dtype": "float64"})
    return made_once("look_si", lambda folder: train(folder, config)) / "out" / "best.ckpt"


def looked_at(data, source):
    config = transfer_config(data, source)
    config["run"] = ["train", "test"]
    config["trainer"]["callbacks"][0] |= {"monitor": "val0_epoch/weighted_sum", "save_on_train_epoch_end": True}
    config["trainer"]["logger"] = {
        "_target_": "lightning.pytorch.loggers.CSVLogger",
        "save_dir": "${hydra:runtime.output_dir}",
        "name": "metrics",
    }
    return config


@pytest.fixture(scope="module")
def run_folder(data, small_source, made_once):
    """Output folder of a transfer that was trained and tested."""
    return made_once("look_ge", lambda folder: train(folder, looked_at(data, small_source))) / "out"


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """Labelled structures of two kinds."""
    frames = structures("Ge", 4, seed=5)
    for i, atoms in enumerate(frames):
        atoms.info["group"] = ("cold", "hot")[i % 2]
    file = tmp_path_factory.mktemp("grouped") / "test.xyz"
    ase.io.write(file, frames)
    return file


@pytest.fixture(scope="module")
def page(run_folder, grouped, tmp_path_factory):
    """Folder of the page."""
    out = tmp_path_factory.mktemp("page") / "deep" / "look"
    assert main(["inspect", str(run_folder), "--data", str(grouped), "--out", str(out)]) == 0
    return out


def summary_of(run_folder):
    text = (run_folder / "train.log").read_text(encoding="utf-8")
    return text[text.index("The training has ended") :].split("\n[")[0]


def test_the_log_ends_with_start_best_and_the_next_command(run_folder):
    told = summary_of(run_folder)
    log = log_in(torch.load(run_folder / "best.ckpt", weights_only=True))
    for name, key in (("forces MAE", "forces_mae"), ("energy MAE", "per_atom_energy_mae")):
        start, best = log.start[f"val0_epoch/{key}"], log.best[1][f"val0_epoch/{key}"]
        assert re.search(rf"{name} +meV/\S+ +{1000 * start:.1f} +{1000 * best:.1f}\n", told)
    assert log.structures == {"train": 6, "val0": 3} and "validation (3 structures)" in told
    command = next(line for line in told.splitlines() if "inspect" in line)
    assert command.split()[:3] == ["nequip-elemtransfer", "inspect", str(run_folder / "best.ckpt")]
    others = [line for line in told.splitlines() if str(run_folder) not in line]
    assert max(map(len, others)) <= 80


def test_the_log_in_the_checkpoint_is_that_of_the_metrics(run_folder):
    log = log_in(torch.load(run_folder / "last.ckpt", weights_only=True))
    by_metrics = dict(validations(run_folder))
    assert list(by_metrics) == [step for step, _ in log.validations] and len(by_metrics) == 2
    for step, errors in log.validations:
        assert errors == pytest.approx(by_metrics[step], rel=1e-12)


def test_the_start_that_is_made_again_has_the_errors_it_had(run_folder, data, capsys, tmp_path):
    """What NequIP validated before training and at its best is what `inspect` finds on the same structures."""
    options = ["--data", str(data / "Ge_val.xyz"), "--out", str(tmp_path)]
    assert main(["inspect", str(run_folder / "best.ckpt"), *options]) == 0
    found = json.loads((tmp_path / "model.json").read_text())
    log = log_in(torch.load(run_folder / "best.ckpt", weights_only=True))
    for whose, logged in (("start", log.start), ("model", log.best[1])):
        (errors,) = found[whose]["errors"]["groups"]
        assert errors["force_mae"]["value"] == pytest.approx(logged["val0_epoch/forces_mae"], rel=1e-9)
        assert errors["energy_mae"]["value"] == pytest.approx(logged["val0_epoch/per_atom_energy_mae"], rel=1e-9)
    printed = capsys.readouterr().out
    assert "  its start" in printed and max(map(len, printed.splitlines()[3:-1])) <= 80


def test_errors_by_kind_and_the_card(page, run_folder):
    found = json.loads((page / "model.json").read_text())
    groups = found["model"]["errors"]["groups"]
    assert [(g["group"], g["n_structures"]) for g in groups] == [("cold", 2), ("hot", 2), ("all", 4)]
    # of as many atoms each, so the mean of all is the mean of the groups'
    cold, hot, every = (g["force_mae"]["value"] for g in groups)
    assert (
        every
        == pytest.approx((cold + hot) / 2)
        == pytest.approx(np.mean([s["forces_mae"] for s in found["model"]["structures"]]))
    )
    card = found["card"]
    assert card["labels"] == {"energy": 6, "forces": 6} and card["steps"] == 4
    assert set(card["errors"]) == {"validation", "test"}
    assert card["errors"]["test"] == pytest.approx(card["errors"]["validation"], rel=1e-9)  # the same structures
    assert [point["step"] for point in found["training"]] == [0, 2, 4]


def test_the_page_needs_nothing_else(page):
    html = (page / "model.html").read_text()
    assert html.count("<svg") == 3 and "prefers-color-scheme: dark" in html
    assert html.count("<figure>") == html.count("aria-label") == 3
    for outside in ("<img", "<link", "@import", "url(http", "<script"):
        assert outside not in html


def test_nothing_is_replaced_unasked(page, run_folder, grouped, capsys):
    before = (page / "model.html").read_bytes()
    command = ["inspect", str(run_folder), "--data", str(grouped), "--out", str(page)]
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err and (page / "model.html").read_bytes() == before
    assert main(["inspect", str(run_folder), "--out", str(page)]) == 2
    assert "give --data FILE" in capsys.readouterr().err


def test_a_start_whose_source_is_gone_is_said_and_found_again(
    data, small_source, run_folder, grouped, tmp_path, capsys, monkeypatch
):
    moved = tmp_path / "elsewhere.ckpt"
    shutil.copy(small_source, moved)
    there = os.path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path != small_source and there(path))
    inspect = ["inspect", str(run_folder / "best.ckpt"), "--data", str(grouped)]
    assert main(inspect) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "is not there (any more): `--source FILE` says where it is now." in printed
    assert "Its record has the start's errors on the 6 training structures: forces MAE" in printed
    monkeypatch.undo()
    assert main([*inspect, "--source", str(moved)]) == 0
    assert "  its start" in capsys.readouterr().out
    assert main([*inspect, "--source", str(run_folder / "best.ckpt")]) == 2
    assert "is not the source of this model" in capsys.readouterr().err


def test_without_validation_the_training_structures_are_told(data, small_source, tmp_path):
    config = looked_at(data, small_source)
    config["run"] = ["train"]
    del config["trainer"]["callbacks"][0]["monitor"]
    config["trainer"] |= {"limit_val_batches": 0, "logger": False}
    train(tmp_path, config)
    told = summary_of(tmp_path / "out")
    assert "Nothing was validated" in told and "training (6 structures)" in told
    saved = torch.load(tmp_path / "out" / "best.ckpt", weights_only=True)["hyper_parameters"]["model"]["provenance"]
    start = saved["zero_shot"][-1]
    for name, key in (("forces MAE", "force_mae"), ("energy MAE", "energy_mae"), ("stress MAE", "stress_mae")):
        assert re.search(rf"{name} +meV/\S+ +{1000 * start[key]:.1f} ", told)


def test_a_validation_before_training_that_the_user_sets_is_left_alone(data, small_source, tmp_path):
    config = looked_at(data, small_source)
    config["run"] = ["train"]
    config["trainer"] |= {"num_sanity_val_steps": 1, "logger": False, "max_epochs": 1}
    train(tmp_path, config)
    told = " ".join(summary_of(tmp_path / "out").split())
    assert "not known" in told and "On the 6 training structures it had forces MAE" in told
