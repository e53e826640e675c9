"""How a training ends: its last step is validated, and its last state kept."""

import csv

import torch
from nequip_train import nequip_train
from real_runs import MODEL, training_config

SAVING = {
    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
    "dirpath": "${hydra:runtime.output_dir}",
    "save_on_train_epoch_end": True,
}


def test_the_last_step_is_validated_wherever_it_falls(data, tmp_path):
    """Five steps in epochs of two, validated every second epoch: after four steps, and after the last.

    The best is chosen among both, and the last state is that of the last step.
    """
    config = training_config(data, "Si", MODEL)
    trainer = config["trainer"]
    del trainer["max_epochs"]
    trainer |= {"max_steps": 5, "check_val_every_n_epoch": 2, "num_sanity_val_steps": 0}
    folder = str(tmp_path / "metrics")
    trainer["logger"] = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": folder, "version": ""}
    trainer["callbacks"] = [
        SAVING | {"filename": "best", "monitor": "val0_epoch/weighted_sum"},
        SAVING | {"filename": "last"},
        {"_target_": "nequip_elemtransfer.ValidateLastStep"},
    ]
    nequip_train(tmp_path, config)
    (file,) = (tmp_path / "metrics").rglob("metrics.csv")
    with open(file, newline="") as rows:
        errors = [(int(row["step"]) + 1, row["val0_epoch/weighted_sum"]) for row in csv.DictReader(rows)]
    validated = {step: float(error) for step, error in errors if error}
    assert sorted(validated) == [4, 5]
    best, last = (torch.load(tmp_path / "out" / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    assert best["global_step"] == min(validated, key=validated.get) and last["global_step"] == 5
