"""What a source file may make this process do; the files users have are in ``training/test_sources.py``."""

import pytest
import torch

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


def test_optimizer_of_schedule_free_calls_nothing(checkpoint, tmp_path):
    """NequIP needs that optimizer to evaluate, and has Hydra call what its parameter groups name."""
    marker = tmp_path / "ran"
    call = {"_target_": "nequip.model.modify", "x": {"_target_": "os.mkdir", "path": str(marker)}}
    optimizer = {"_target_": "schedulefree.AdamWScheduleFree", "lr": 0.001, "param_groups": call}
    path = checkpoint(tmp_path / "evil.ckpt", "nequip.train.ScheduleFreeLightningModule", optimizer)
    with pytest.raises(ValueError, match="only if its optimizer has no `param_groups`"):
        load_source(path)
    assert not marker.exists()


def test_optimizer_must_be_of_the_schedulefree_package(checkpoint, tmp_path):
    optimizer = {"_target_": "evil.AdamWScheduleFree", "lr": 0.001}
    path = checkpoint(tmp_path / "evil.ckpt", "nequip.train.ScheduleFreeLightningModule", optimizer)
    with pytest.raises(ValueError, match="'evil.AdamWScheduleFree' is not one of the schedulefree package"):
        load_source(path)


def test_optimizer_of_schedule_free_is_used(checkpoint, tmp_path):
    pytest.importorskip("schedulefree")
    optimizer = {"_target_": "schedulefree.AdamWScheduleFree", "lr": 0.001}
    path = checkpoint(tmp_path / "si.ckpt", "nequip.train.ScheduleFreeLightningModule", optimizer)
    assert load_source(path).type_names == ["Si"]


def test_optimizer_of_other_training_modules_is_not_looked_at(checkpoint, tmp_path):
    marker = tmp_path / "ran"
    optimizer = {"_target_": "os.mkdir", "path": str(marker), "param_groups": {"_target_": "os.mkdir"}}
    path = checkpoint(tmp_path / "si.ckpt", "nequip.train.NequIPLightningModule", optimizer)
    assert load_source(path).r_max == 4.0
    assert not marker.exists()
