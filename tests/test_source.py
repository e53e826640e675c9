"""What a source file may make this process do; the files users have are in ``training/test_sources.py``."""

import pytest
import torch

from nequip_elemtransfer.output.refusal import RefusedFile
from nequip_elemtransfer.source import load_source


@pytest.fixture
def checkpoint(nequip_architecture, build):
    """A checkpoint as ``nequip-train`` writes it, its optimizer up to the test."""
    architecture = nequip_architecture("Si")
    state = {f"model.sole_model.{name}": tensor for name, tensor in build(architecture).state_dict().items()}

    def make(path, module, optimizer):
        hyper_parameters = {
            "model": architecture,
            "optimizer": optimizer,
            "info_dict": {"training_module": {"_target_": module}},
        }
        state_dict = state | {"run_stage": torch.zeros(1, dtype=torch.long)}
        torch.save({"state_dict": state_dict, "hyper_parameters": hyper_parameters}, path)
        return str(path)

    return make


@pytest.mark.parametrize(
    "groups",
    [
        {"_target_": "mylab.groups.Groups"},
        {"_target_": "nequip.model.modify", "x": {"_target_": "nequip.model.MuonParamGroups"}},
        {"_target_": "nequip.model.MuonParamGroups", "adam": {}, "muon": {"_target_": "mylab.groups.Groups"}},
        {"x": [{"_target_": "mylab.groups.Groups"}]},
        [{"lr": 0.1}],
    ],
)
def test_optimizer_of_schedule_free_calls_only_functions_that_group_parameters(checkpoint, tmp_path, groups):
    """NequIP needs that optimizer to evaluate, and has Hydra call what its parameter groups name."""
    optimizer = {"_target_": "schedulefree.AdamWScheduleFree", "lr": 0.001, "param_groups": groups}
    path = checkpoint(tmp_path / "evil.ckpt", "nequip.train.ScheduleFreeLightningModule", optimizer)
    with pytest.raises(RefusedFile, match="`param_groups` .* may call one of .*MuonParamGroups and nothing else"):
        load_source(path)


@pytest.mark.parametrize("name", ["mylab.AdamWScheduleFree", "schedulefree.algoperf.AdamWScheduleFree"])
def test_optimizer_must_be_of_the_schedulefree_package(checkpoint, tmp_path, name):
    path = checkpoint(tmp_path / "si.ckpt", "nequip.train.ScheduleFreeLightningModule", {"_target_": name, "lr": 0.001})
    with pytest.raises(RefusedFile, match=f"{name}'.* (not one of the schedulefree package|no optimizer)"):
        load_source(path)


def test_optimizer_of_schedule_free_is_used(checkpoint, tmp_path):
    pytest.importorskip("schedulefree")
    optimizer = {"_target_": "schedulefree.AdamWScheduleFree", "lr": 0.001}
    path = checkpoint(tmp_path / "si.ckpt", "nequip.train.ScheduleFreeLightningModule", optimizer)
    assert load_source(path).type_names == ["Si"]


def test_optimizer_of_other_training_modules_is_not_needed(checkpoint, tmp_path):
    """A user's own, in a package that is not here."""
    optimizer = {"_target_": "mylab.optimizers.Best", "param_groups": {"_target_": "mylab.optimizers.Groups"}}
    path = checkpoint(tmp_path / "si.ckpt", "nequip.train.NequIPLightningModule", optimizer)
    assert load_source(path).r_max == 4.0


def test_folder_is_not_a_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"source '{tmp_path}' is a folder: give the path of a .ckpt file"):
        load_source(str(tmp_path))


@pytest.mark.parametrize("trained_with", [True, False])
def test_derivatives_switched_by_a_modifier(checkpoint, nequip_architecture, tmp_path, trained_with):
    """The target has forces if and only if the trained model had."""
    path = checkpoint(tmp_path / "si.ckpt", "nequip.train.NequIPLightningModule", {})
    saved = torch.load(path, weights_only=True)
    saved["hyper_parameters"]["model"] = {
        "_target_": "nequip.model.modify",
        "modifiers": [{"modifier": f"{'enable' if trained_with else 'disable'}_ForceStressOutput"}],
        "model": nequip_architecture("Si", do_derivatives=not trained_with),
    }
    torch.save(saved, path)
    source = load_source(path)
    assert source.architecture["do_derivatives"] is trained_with
    assert source.build().model.do_derivatives is trained_with
