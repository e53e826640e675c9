"""Hydra's ``--multirun``: NequIP registers its resolvers once in a process, so each job needs one of its own."""

import pytest
import torch
import yaml
from commands import run
from real_runs import transfer_config

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")

SCALES = (1.05, 1.08)


def test_sweep_over_length_scales(data, source, tmp_path):
    config = transfer_config(data, source, length_scale="covalent_radii")
    config["trainer"]["max_epochs"] = 1
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    sweep = ["hydra/launcher=submitit_local", f"hydra.sweep.dir={tmp_path}/sweep"]
    scales = "element_transfer.length_scale=" + ",".join(map(str, SCALES))
    run("nequip-train", "-cp", tmp_path, "-cn", "config", "--multirun", *sweep, scales, cwd=tmp_path)
    for job, scale in enumerate(SCALES):
        saved = torch.load(tmp_path / "sweep" / str(job) / "last.ckpt", weights_only=True)
        model = saved["hyper_parameters"]["model"]
        assert model["provenance"]["length_scale"]["per_type"] == {"Ge": scale}
        assert model["architecture"]["r_max"] == pytest.approx(4.0 * scale)
        assert saved["global_step"] == 2
        assert all(torch.isfinite(v).all() for v in saved["state_dict"].values() if isinstance(v, torch.Tensor))
