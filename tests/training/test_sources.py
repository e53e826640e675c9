"""Sources as users have them: EMA or plain, both precisions, compiled or not, saved on a GPU, from every builder."""

import numpy as np
import pytest
import torch
from nequip.integrations.ase import NequIPCalculator
from omegaconf import OmegaConf
from real_runs import MODEL, structures, train, training_config, transfer_config

from nequip_elemtransfer.key.look_ups import look_up
from nequip_elemtransfer.source import load_source

FULL = {
    **{k: v for k, v in MODEL.items() if k not in ("num_layers", "l_max", "num_features", "radial_mlp_width")},
    "_target_": "nequip.model.FullNequIPGNNModel",
    "irreps_edge_sh": "1x0e+1x1o",
    "type_embed_num_features": 6,
    "radial_mlp_depth": [1, 2],
    "radial_mlp_width": [8, 8],
    "feature_irreps_hidden": ["4x0e+4x1o", "4x0e"],
    "readout_mlp_hidden_layers_depth": 1,
    "readout_mlp_hidden_layers_width": 8,
}
PRESET = {**MODEL, "_target_": "nequip.model.PresetNequIPGNNModel", "preset": "S", "num_features": [4, 4]}
TRAINABLE = FULL | {"per_type_energy_scales_trainable": True}
FROZEN_AT_FIRST = {
    "_target_": "torch.optim.Adam",
    "param_groups": {"_target_": "nequip_elemtransfer.ParameterGroups", "lr": 0.01, "roles": {"readout": "frozen"}},
}
CALLBACKS = [
    {"_target_": "nequip_elemtransfer.Stages", "stages": {2: {"readout": 0.5}}},
    {"_target_": "nequip_elemtransfer.AnchorToStart", "decay": {"readout": 0.1, "interactions": 0.1}},
    {"_target_": "nequip_elemtransfer.LowRankUpdates", "ranks": {"radial_networks": 2}},
]
PLAIN = "nequip.train.NequIPLightningModule"
EMA = "nequip.train.EMALightningModule"


@pytest.mark.parametrize(
    ("module", "model"),
    [
        pytest.param(PLAIN, MODEL | {"model_dtype": "float64"}, id="plain-float64"),
        pytest.param(EMA, PRESET | {"model_dtype": "float64"}, id="ema-float64-preset"),
        pytest.param(PLAIN, TRAINABLE, id="plain-float32-full-trainable-scales"),
    ],
)
def test_source_predicts_as_nequip_does(data, tmp_path, module, model):
    """Invariant 1 and 2 from a real checkpoint: relabelled, without scales, it is the model NequIP loads."""
    config = training_config(data, "Si", model)
    config["training_module"]["_target_"] = module
    train(tmp_path, config)
    checkpoint = tmp_path / "out" / "best.ckpt"

    assert_relabelled_as_nequip_loads_it(data, checkpoint, "Si", "Ge")


def assert_relabelled_as_nequip_loads_it(data, checkpoint, element, other):
    before, after = structures("Si", 1, seed=3)[0], structures("Si", 1, seed=3)[0]
    before.symbols[:], after.symbols[:] = element, other
    before.calc = NequIPCalculator._from_saved_model(checkpoint, chemical_species_to_atom_type_map=True)
    key = {"length_scale": "none", "energy_scale": "none", "energy_shifts": "source"}
    after.calc = _calculator(transfer_config(data, checkpoint, other, elements={other: element}, **key), other)
    assert after.get_potential_energy() == before.get_potential_energy()
    np.testing.assert_array_equal(after.get_forces(), before.get_forces())


def test_ema_weights_are_taken_not_the_raw_ones(source):
    saved = torch.load(source, weights_only=True)["state_dict"]
    loaded = load_source(str(source))
    parameters = [name for name, _ in loaded.build().named_parameters()]
    for i, name in enumerate(parameters):
        assert torch.equal(loaded.state[name], saved[f"ema.ema_weight_{i}"])
    assert not torch.equal(loaded.state[parameters[0]], saved[f"model.sole_model.{parameters[0]}"])


def test_checkpoint_saved_on_cuda_loads_on_the_cpu(source, tmp_path, monkeypatch):
    """The file says where its tensors lived; here it says cuda:0 for all."""
    checkpoint = torch.load(source, weights_only=True)
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    torch.save(checkpoint, tmp_path / "cuda.ckpt")
    monkeypatch.undo()
    assert b"cuda:0" in (tmp_path / "cuda.ckpt").read_bytes()
    loaded, original = load_source(str(tmp_path / "cuda.ckpt")), load_source(str(source))
    assert all(tensor.device.type == "cpu" for tensor in loaded.state.values())
    assert all(torch.equal(loaded.state[name], tensor) for name, tensor in original.state.items())


def test_a_compiled_transfer_is_the_eager_one_and_a_source_itself(data, tmp_path):
    """Whatever the source was. After a stage has unfrozen a role, what runs is the code of the new choice."""
    small = MODEL | {"model_dtype": "float64", "num_layers": 1}  # compiled in 60 % of the time of two
    train(tmp_path / "si", training_config(data, "Si", small))
    saved = {}
    for mode in ("eager", "compile"):
        config = transfer_config(data, tmp_path / "si" / "out" / "best.ckpt", compile_mode=mode)
        config["training_module"]["optimizer"] = FROZEN_AT_FIRST
        config["trainer"]["callbacks"] += CALLBACKS
        train(tmp_path / mode, config)
        saved[mode] = torch.load(tmp_path / mode / "out" / "last.ckpt", weights_only=True)
        assert saved[mode]["hyper_parameters"]["model"]["architecture"]["compile_mode"] == mode
        assert saved[mode]["global_step"] == 4
    eager, compiled = (saved[mode]["state_dict"] for mode in ("eager", "compile"))
    weights = [name for name, value in eager.items() if isinstance(value, torch.Tensor) and value.is_floating_point()]
    assert len(weights) > 20
    for name in weights:
        torch.testing.assert_close(compiled[name], eager[name], rtol=1e-8, atol=1e-10)
    assert_relabelled_as_nequip_loads_it(data, tmp_path / "compile" / "out" / "last.ckpt", "Ge", "Si")


def test_a_transferred_model_is_a_source_again(data, source, tmp_path):
    """Si -> Ge -> Si by inverse scales gives the first model back."""
    config = transfer_config(data, source, energy_scale=0.8, energy_shifts={"Ge": -3.9})
    train(tmp_path, config, "trainer.max_epochs=1", "training_module.optimizer.lr=0.0")
    ge = load_source(str(tmp_path / "out" / "last.ckpt"))
    assert ge.provenance["elements"] == {"Ge": "Si"}
    first = load_source(str(source))
    back = OmegaConf.create(
        transfer_config(data, tmp_path / "out" / "last.ckpt", energy_scale=1.25, energy_shifts={"Si": -4.3})
    )
    back.element_transfer.elements = {"Si": "Ge"}
    back.data.train_file_path = back.data.val_file_path = back.data.test_file_path = str(data / "Si_train.xyz")
    result = look_up("model", back)
    assert result["architecture"]["r_max"] == pytest.approx(first.r_max)
    assert result["architecture"]["per_type_energy_scales"]["Si"] == pytest.approx(1.5)


def test_checkpoint_from_inside_a_validation_is_refused(source, tmp_path):
    """NequIP's EMA weights are swapped there, and its own loading refuses the file."""
    checkpoint = torch.load(source, weights_only=True)
    checkpoint["state_dict"]["ema._extra_state"]["is_holding_ema_weights"] = False
    torch.save(checkpoint, tmp_path / "si.ckpt")
    with pytest.raises(ValueError, match="saved inside a validation.*save_on_train_epoch_end"):
        load_source(str(tmp_path / "si.ckpt"))


class _Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def test_malicious_pickle_runs_nothing(source, tmp_path):
    checkpoint = torch.load(source, weights_only=True)
    marker = tmp_path / "ran"
    checkpoint["callbacks"] = _Payload(marker)
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="nothing else is unpickled"):
        load_source(str(tmp_path / "evil.ckpt"))
    assert not marker.exists()
    # unpickled in full the payload does run, so the test would notice
    torch.load(tmp_path / "evil.ckpt", weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("where", ["model", "pair_potential", "training_module", "optimizer"])
def test_malicious_target_runs_nothing(source, tmp_path, where):
    marker = tmp_path / "ran"
    call = {"_target_": "os.mkdir", "path": str(marker)}
    checkpoint = torch.load(source, weights_only=True)
    hyper = checkpoint["hyper_parameters"]
    if where == "model":
        hyper["model"] = call
    elif where == "pair_potential":
        hyper["model"]["pair_potential"] = call
    elif where == "training_module":
        hyper["info_dict"]["training_module"]["_target_"] = "os.mkdir"
    else:
        hyper["optimizer"] = call  # which nothing would call here
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="os.mkdir"):
        load_source(str(tmp_path / "evil.ckpt"))
    assert not marker.exists()


def _calculator(config, element):
    from nequip.integrations.utils import basic_transforms

    from nequip_elemtransfer.model import TransferredModel

    config = look_up("model", OmegaConf.create(config))
    config.pop("_target_")
    config["architecture"]["compile_mode"] = "eager"
    model = TransferredModel(**config).eval()
    transforms = basic_transforms(model.metadata, float(model.metadata["r_max"]), [element], {element: element})
    return NequIPCalculator(model, "cpu", transforms=transforms)
