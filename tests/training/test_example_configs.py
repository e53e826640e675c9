"""Each example config runs as it stands, on tiny data, for two epochs; the baselines are fair."""

from pathlib import Path

import ase.io
import pytest
import torch
import yaml
from real_runs import run, script, structures

CONFIGS = Path(__file__).resolve().parents[2] / "example_configs"
SHORT = ["++trainer.max_epochs=2", "++trainer.check_val_every_n_epoch=1", "trainer.log_every_n_steps=1"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder in which the commands in the configs' first lines have been run, with tiny data."""
    folder = tmp_path_factory.mktemp("examples")
    for kind in ("sw", "mlearn"):
        data = folder / "data" / kind
        data.mkdir(parents=True)
        for element in ("Si", "Ge"):
            for seed, part in enumerate(("train", "val", "test", "train_10")):
                ase.io.write(data / f"{element}_{part}.xyz", structures(element, 10 if part == "train_10" else 4, seed))
    return folder


def nequip_train(folder, name):
    out = folder / "runs" / name
    run([script("nequip-train"), "-cp", CONFIGS, "-cn", name, f"hydra.run.dir={out}", *SHORT], folder)
    return torch.load(out / "best.ckpt", weights_only=True)


@pytest.mark.parametrize("kind", ["sw", "mlearn"])
def test_configs_run_in_order(workplace, kind):
    silicon = nequip_train(workplace, f"{kind}_si")
    transfer = nequip_train(workplace, f"{kind}_ge_transfer")
    scratch = nequip_train(workplace, f"{kind}_ge_scratch")
    assert transfer["hyper_parameters"]["model"]["provenance"]["elements"] == {"Ge": "Si"}
    shapes = [
        {name: value.shape for name, value in saved["state_dict"].items() if isinstance(value, torch.Tensor)}
        for saved in (silicon, transfer, scratch)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("kind", ["sw", "mlearn"])
def test_scratch_is_a_fair_baseline(kind):
    """Same data, steps, loss and architecture; only the start and its learning rate differ."""
    silicon, transfer, scratch = (
        yaml.safe_load((CONFIGS / f"{kind}_{name}.yaml").read_text()) for name in ("si", "ge_transfer", "ge_scratch")
    )
    for section in ("run", "trainer", "max_steps", "n_train", "seed", "data_dir"):
        assert transfer[section] == scratch[section]
    assert transfer["data"] == {k: v for k, v in scratch["data"].items() if k != "stats_manager"}
    for section in ("_target_", "ema_decay", "loss", "val_metrics", "lr_scheduler"):
        assert transfer["training_module"][section] == scratch["training_module"][section]
    assert silicon["training_module"]["model"] == scratch["training_module"]["model"]
    assert scratch["cutoff_radius"] > silicon["cutoff_radius"]
