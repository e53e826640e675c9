"""The ways to fine-tune in ``example_configs/recipe``: each goes with each example transfer, and trains."""

from pathlib import Path

import ase.io
import pytest
import torch
from commands import run
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from real_runs import structures

CONFIGS = Path(__file__).resolve().parents[2] / "example_configs"
RECIPES = sorted(path.stem for path in (CONFIGS / "recipe").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*_transfer.yaml")))
def test_recipes_go_with_every_transfer(name, recipe):
    """The best checkpoint is kept as without, and nothing else is changed than what the recipe says.

    Without validation it is the last state, and the validation data are those of the training.
    """
    with initialize_config_dir(config_dir=str(CONFIGS), version_base=None):
        plain, config = (
            OmegaConf.to_container(compose(name, overrides=overrides), resolve=False)
            for overrides in ([], [f"+recipe={recipe}"])
        )
    best = plain["trainer"]["callbacks"][0]
    if recipe == "none_held_back":
        del best["monitor"]
        best["save_last"] = "link"
        plain["data"]["val_file_path"] = "${data.train_file_path}"
        assert config["trainer"]["limit_val_batches"] == 0 and len(config["trainer"]["callbacks"]) == 1
    assert config["trainer"]["callbacks"][0] == best
    for section in ("data", "element_transfer"):
        assert config[section] == plain[section]
    model, loss = (config["training_module"][key] for key in ("model", "loss"))
    assert (model, loss) == (plain["training_module"]["model"], plain["training_module"]["loss"])
    assert config != plain


@pytest.mark.parametrize("recipe", ["anchor_depth_decay", "converged"])
def test_recipes_train(source, tmp_path, recipe):
    for seed, part in enumerate(("train_10", "val", "test")):
        ase.io.write(tmp_path / f"Ge_{part}.xyz", structures("Ge", 4, seed))
    options = [f"+recipe={recipe}", f"element_transfer.source={source}", f"data_dir={tmp_path}", "max_steps=4"]
    options += ["trainer.check_val_every_n_epoch=1", f"hydra.run.dir={tmp_path}/out"]
    run("nequip-train", "-cp", CONFIGS, "-cn", "sw_ge_transfer", *options, cwd=tmp_path)
    saved = torch.load(tmp_path / "out" / "last.ckpt", weights_only=True)
    (scheduler,) = saved["lr_schedulers"]
    assert ("factor" in scheduler) == (recipe == "converged")  # that of ReduceLROnPlateau
    found = " ".join(saved["callbacks"])
    assert ("EarlyStopping" in found) == (recipe == "converged") != ("AnchorToStart" in found)
