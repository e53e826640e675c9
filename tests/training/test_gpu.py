"""The same training on CUDA, compiled."""

import pytest
import torch
from omegaconf import OmegaConf
from real_runs import MODEL, train, training_config, transfer_config

from nequip_elemtransfer.key.look_ups import fit_device, look_up

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_transfer_on_cuda_with_compile(data, tmp_path):
    """Source trained on CUDA, transferred on CUDA; both compiled; the start is that of the CPU, to rounding."""
    on_cuda = ["trainer.accelerator=cuda", "+trainer.devices=1"]
    train(tmp_path / "si", training_config(data, "Si", MODEL | {"compile_mode": "compile"}), *on_cuda)
    source = tmp_path / "si" / "out" / "best.ckpt"
    provenance = []
    for name, overrides in (("cuda", on_cuda), ("cpu", [])):
        config = transfer_config(data, source, compile_mode="compile", length_scale="covalent_radii")
        train(tmp_path / name, config, *overrides)
        saved = torch.load(tmp_path / name / "out" / "last.ckpt", weights_only=True, map_location="cpu")
        assert all(torch.isfinite(v).all() for v in saved["state_dict"].values() if isinstance(v, torch.Tensor))
        provenance.append(saved["hyper_parameters"]["model"]["provenance"])
    on_gpu, on_cpu = provenance
    for setting, tolerance in (("length_scale", 1e-12), ("energy_scale", 1e-4), ("energy_shifts", 1e-4)):
        assert on_gpu[setting]["per_type"] == pytest.approx(on_cpu[setting]["per_type"], rel=tolerance)


def test_start_on_a_gpu_is_the_same_each_time(data, source):
    """Each process of a data-parallel training makes its own, and a difference in one bit is refused."""
    config = transfer_config(data, source, length_scale="fit")
    config["trainer"]["accelerator"] = "cuda"
    starts = [look_up("model", OmegaConf.create(config | {"attempt": i})) for i in range(3)]
    assert str(fit_device(OmegaConf.create(config))) == "cuda:0"
    assert len({start["provenance"]["weights"] for start in starts}) == 1
