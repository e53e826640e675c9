import pytest
import torch
from omegaconf import OmegaConf

from nequip_elemtransfer.key.look_ups import fit_device


@pytest.fixture
def four_gpus(monkeypatch):
    """A machine as Lightning would find it."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def device(**trainer):
    return str(fit_device(OmegaConf.create({"trainer": trainer})))


@pytest.mark.parametrize("accelerator", ["cpu", "mps", "tpu"])
def test_another_accelerator_fits_on_the_cpu(four_gpus, accelerator):
    assert device(accelerator=accelerator, devices=1) == "cpu"


@pytest.mark.parametrize("accelerator", ["gpu", "cuda", "auto", None])
def test_no_gpu_fits_on_the_cpu(monkeypatch, accelerator):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert device(accelerator=accelerator, devices=1) == "cpu"


def test_config_without_a_trainer(four_gpus):
    assert str(fit_device(OmegaConf.create({}))) == "cuda:0"


@pytest.mark.parametrize(
    ("devices", "of_ranks"),
    [
        (None, [0, 1, 2, 3]),
        ("auto", [0, 1, 2, 3]),
        (-1, [0, 1, 2, 3]),
        (2, [0, 1]),
        ("2", [0, 1]),
        ([3], [3]),
        ([2, 0], [2, 0]),
        ("1,3", [1, 3]),
    ],
)
@pytest.mark.parametrize("variable", ["LOCAL_RANK", "SLURM_LOCALID"])
def test_each_rank_fits_on_its_own_gpu(four_gpus, devices, of_ranks, variable):
    for rank, index in enumerate(of_ranks):
        four_gpus.setenv(variable, str(rank))
        assert torch.device(device(accelerator="gpu", devices=devices)).index == index
