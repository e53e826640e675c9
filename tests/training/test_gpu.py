"""The same training on CUDA, compiled."""

import pytest
import torch
from real_runs import MODEL, train, training_config, transfer_config

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_transfer_on_cuda_with_compile(data, tmp_path):
    """Source trained on CUDA, transferred on CUDA; both compiled; the start does not depend on the device."""
    on_cuda = ["trainer.accelerator=cuda", "+trainer.devices=1"]
    train(tmp_path / "si", training_config(data, "Si", MODEL | {"compile_mode": "compile"}), *on_cuda)
    source = tmp_path / "si" / "out" / "best.ckpt"
    provenance = []
    for name, overrides in (("cuda", on_cuda), ("cpu", [])):
        train(tmp_path / name, transfer_config(data, source, compile_mode="compile"), *overrides)
        saved = torch.load(tmp_path / name / "out" / "last.ckpt", weights_only=True, map_location="cpu")
        assert all(torch.isfinite(v).all() for v in saved["state_dict"].values() if isinstance(v, torch.Tensor))
        provenance.append(saved["hyper_parameters"]["model"]["provenance"])
    assert provenance[0]["weights"] == provenance[1]["weights"]
