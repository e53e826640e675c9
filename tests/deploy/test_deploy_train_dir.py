"""Which checkpoint ``--train-dir`` means."""

import shutil

import pytest
import torch

from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.train_dir import best_checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    """Writes a checkpoint that records ``best`` as the best so far."""

    def write(name, step, best=None, score=0.1, monitor="val0_epoch/weighted_sum"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        scored = best is not None and score is not None
        state = {"monitor": monitor, "best_model_path": best or ""}
        state |= {"best_model_score": torch.tensor(score) if scored else None}
        torch.save(
            {
                "state_dict": {},
                "hyper_parameters": {},
                "global_step": step,
                "callbacks": {f"ModelCheckpoint{{'monitor': {monitor!r}}}": state, "Other": {"a": 1}},
            },
            file,
        )
        return file

    return write


def test_real_run(ge_run):
    assert best_checkpoint(ge_run) == ge_run / "best.ckpt"


def test_real_run_that_was_moved(ge_run, tmp_path):
    shutil.copytree(ge_run, tmp_path / "moved")
    assert best_checkpoint(tmp_path) == tmp_path / "moved" / "best.ckpt"


def test_a_chosen_one(ge_run):
    assert best_checkpoint(ge_run, "last.ckpt") == ge_run / "last.ckpt"


def test_the_only_one(checkpoint, tmp_path):
    only = checkpoint("epoch=3.ckpt", 30)
    assert best_checkpoint(tmp_path) == only


def test_recorded_best_of_many(checkpoint, tmp_path):
    for step in (10, 20, 30):
        checkpoint(f"epoch={step}.ckpt", step, best=f"/elsewhere/epoch={min(step, 20)}.ckpt")
    assert best_checkpoint(tmp_path) == tmp_path / "epoch=20.ckpt"


def test_latest_record_counts(checkpoint, tmp_path):
    checkpoint("best.ckpt", 10, best="/run/best.ckpt")
    checkpoint("best-v1.ckpt", 40, best="/run/best-v1.ckpt")
    assert best_checkpoint(tmp_path) == tmp_path / "best-v1.ckpt"


def test_best_by_name_when_nothing_was_monitored(checkpoint, tmp_path):
    checkpoint("best.ckpt", 10)
    checkpoint("last.ckpt", 20)
    assert best_checkpoint(tmp_path) == tmp_path / "best.ckpt"


def test_without_validation_the_best_is_the_last(checkpoint, tmp_path):
    for step in (10, 20, 30):
        checkpoint(f"state-{step}.ckpt", step, best=f"/elsewhere/state-{step}.ckpt", score=None, monitor=None)
    assert best_checkpoint(tmp_path) == tmp_path / "state-30.ckpt"


def test_a_best_that_is_not_known_is_not_the_last(checkpoint, tmp_path):
    """Of a restart in another folder, before a validation."""
    for step in (10, 20):
        checkpoint(f"state-{step}.ckpt", step, best="/elsewhere/state-20.ckpt", score=None)
    with pytest.raises(ValueError, match="does not say which is best"):
        best_checkpoint(tmp_path)


def test_several_candidates(checkpoint, tmp_path):
    checkpoint("a.ckpt", 10)
    checkpoint("b.ckpt", 20)
    with pytest.raises(ValueError, match="a.ckpt, b.ckpt.*--checkpoint"):
        best_checkpoint(tmp_path)


def test_two_runs(checkpoint, tmp_path):
    for run in ("seed0", "seed1"):
        checkpoint(f"{run}/best.ckpt", 10, best=f"/{run}/best.ckpt")
        checkpoint(f"{run}/last.ckpt", 20, best=f"/{run}/best.ckpt")
    with pytest.raises(ValueError, match="seed0/best.ckpt, seed1/best.ckpt"):
        best_checkpoint(tmp_path)
    assert best_checkpoint(tmp_path, "seed1/last.ckpt") == tmp_path / "seed1" / "last.ckpt"


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        best_checkpoint(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: give the output folder of a nequip-train run"):
        best_checkpoint(tmp_path / "nowhere")


def test_no_such_name(checkpoint, tmp_path):
    checkpoint("best.ckpt", 10)
    with pytest.raises(FileNotFoundError, match="'last.ckpt'.*choices: best.ckpt"):
        best_checkpoint(tmp_path, "last.ckpt")


def test_no_folder_is_named(capsys, monkeypatch, ge_run):
    """An unset variable of the shell does not mean the run one happens to be in."""
    monkeypatch.chdir(ge_run)
    assert main(["build", "--train-dir", "", "out.nequip.pth"]) == 2
    assert "the argument after '--train-dir' is empty" in capsys.readouterr().err
