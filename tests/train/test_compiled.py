"""Freezing, stages, anchors and low-rank updates in a training that NequIP compiles."""

import torch
from fitting import Fit, groups

CALLBACKS = [
    {"_target_": "nequip_elemtransfer.LowRankUpdates", "ranks": {"interactions": 2}},
    {"_target_": "nequip_elemtransfer.AnchorToStart", "decay": {"readout": 5.0}},
    {"_target_": "nequip_elemtransfer.Stages", "stages": {2: {"radial_networks": 0.5}}},
]


def test_a_compiled_training_takes_the_same_steps(tmp_path, nequip_architecture):
    """A compiled model reads its weights at each step; what is frozen has no gradient in its graph, later it has."""
    weights = {}
    for mode in ("eager", "compile"):
        architecture = nequip_architecture("Ge", compile_mode=mode, model_dtype="float32")
        optimizer = groups(roles={"radial_networks": "frozen"})
        training = Fit(tmp_path / mode, architecture, optimizer=optimizer, callbacks=CALLBACKS)
        weights[mode] = training.run(4)
        saved = torch.load(training.checkpoint(2), weights_only=True)
        begin = torch.load(training.checkpoint(1), weights_only=True)
        radial = "model.sole_model.model.func.layer0_convnet.conv.edge_mlp.mlp.0.weight"
        assert torch.equal(saved["state_dict"][radial], begin["state_dict"][radial])
        assert not torch.equal(weights[mode][radial.removeprefix("model.")], begin["state_dict"][radial])
    assert training.fitted.model["sole_model"].is_compile_graph_model
    for name, value in weights["eager"].items():
        torch.testing.assert_close(weights["compile"][name], value, rtol=0, atol=1e-5, msg=name)
