import pytest
import torch
from fitting import Fit, assert_same, groups
from hydra.utils import instantiate
from nequip.train import MuonWithAuxAdam
from omegaconf import OmegaConf

from nequip_elemtransfer import ParameterGroups


@pytest.fixture
def model(started, nequip_architecture):
    return started(nequip_architecture("Si", num_layers=3, per_type_energy_shifts_trainable=True))


def by_name(groups):
    return {group["name"]: group for group in groups}


def step(model, optimizer):
    """One step with gradients of one wherever there is a gradient."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    return {name: p.detach() - before[name] for name, p in model.named_parameters()}


def test_hydra_finds_it_by_its_short_name(model):
    """As ``nequip-train`` calls it."""
    config = {"_target_": "nequip_elemtransfer.ParameterGroups", "lr": 0.01, "roles": {"readout": "frozen"}}
    groups = instantiate(config, model=model)
    assert by_name(groups)["readout"]["frozen"]


def test_each_parameter_is_in_one_group(model):
    groups = ParameterGroups(model, lr=0.01)
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(map(id, model.parameters()))
    assert list(by_name(groups)) == [
        "type_rows", "interactions.0", "radial_networks", "interactions.1", "interactions.2", "readout",
        "energy_shifts",
    ]  # fmt: skip


def test_learning_rates_of_layers(model):
    groups = by_name(ParameterGroups(model, lr=0.01, roles=OmegaConf.create({"interactions": [0.1, 0.5, 2]})))
    assert [groups[f"interactions.{i}"]["lr"] for i in range(3)] == pytest.approx([0.001, 0.005, 0.02])
    assert groups["type_rows"]["lr"] == 0.01


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_parameters_move_by_their_factor_and_frozen_ones_do_not(model, optimizer):
    """The first step of Adam, and any of plain gradient descent with equal gradients, is the learning rate."""
    roles = {"type_rows": 2.0, "readout": "frozen", "interactions": [0, 0.5, 1], "energy_shifts": {"weight_decay": 0.1}}
    moved = step(model, optimizer(ParameterGroups(model, lr=0.01, roles=roles), weight_decay=0.0))
    for name, change in moved.items():
        if "energy" in name and "shift" in name:
            continue
        rate = 0.02 if "type_embed" in name else 0.0 if "readout" in name else 0.01
        if ".linear" in name or ".sc." in name:
            rate = 0.01 * {"layer0": 0.0, "layer1": 0.5, "layer2": 1.0}[name.split("func.")[1].split("_")[0]]
        torch.testing.assert_close(change, torch.full_like(change, -rate), rtol=1e-5, atol=1e-12, msg=name)


def test_weight_decay_of_a_role(model):
    """Decoupled decay: the shift of -4 eV shrinks by lr · decay besides the step of lr."""
    groups = ParameterGroups(model, lr=0.01, roles={"energy_shifts": {"weight_decay": 0.5}})
    moved = step(model, torch.optim.AdamW(groups, weight_decay=0.0))
    shifts = moved["sole_model.model.func.per_type_energy_scale_shift.shifts"]
    assert shifts.item() == pytest.approx(-0.01 + 0.01 * 0.5 * 4.0)


def test_schedule_free(model):
    schedulefree = pytest.importorskip("schedulefree")
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    groups = ParameterGroups(model, lr=0.01, roles={"readout": "frozen", "type_rows": 3.0})
    optimizer = schedulefree.AdamWScheduleFree(groups)
    optimizer.train()
    for _ in range(3):
        step(model, optimizer)
    optimizer.eval()
    moved = {name: (p.detach() - start[name]).abs().max() for name, p in model.named_parameters()}
    assert moved["sole_model.model.func.per_atom_energy_readout.mlp_module.mlp.0.weight"] == 0
    ratio = (
        moved["sole_model.model.func.type_embed.embed_module.weight"]
        / moved["sole_model.model.func.layer0_convnet.conv.linear_1.weight"]
    )
    assert ratio.item() == pytest.approx(3.0)


def test_schedule_free_weights_are_packaged(tmp_path, nequip_architecture):
    """To evaluate, NequIP makes the optimizer anew from the checkpoint's state: its groups must be the same."""
    pytest.importorskip("schedulefree")
    optimizer = groups(optimizer="schedulefree.AdamWScheduleFree", roles={"readout": "frozen", "type_rows": 3.0})
    training = Fit(tmp_path, nequip_architecture("Ge"), optimizer=optimizer, module="ScheduleFreeLightningModule")
    training.run(3)
    training.trainer.optimizers[0].eval()
    expected = {name: p.detach().clone() for name, p in training.fitted.model.named_parameters()}
    saved = torch.load(training.checkpoint(3), weights_only=True)
    module = training.module(restart=True)
    module.load_state_dict(saved["state_dict"])
    module.on_load_checkpoint(saved)
    assert_same(expected, {name: p.detach() for name, p in module.evaluation_model.named_parameters()})


def test_muon_is_refused_by_name(model):
    with pytest.raises(ValueError, match="does not serve Muon.*nequip.model.MuonParamGroups"):
        MuonWithAuxAdam(ParameterGroups(model, lr=0.01))


def test_constants_of_a_pair_potential_stay_constants(started, nequip_architecture):
    potential = {"_target_": "nequip.nn.pair_potential.LennardJones", "lj_sigma": 1.0, "lj_epsilon": 0.1}
    model = started(nequip_architecture("Si", pair_potential=potential))
    assert "pair_potential" not in by_name(ParameterGroups(model, lr=0.01))
    assert not model["sole_model"].get_parameter("model.func.pair_potential.sigma").requires_grad
    with pytest.raises(ValueError, match="names 'pair_potential', which is no role here"):
        ParameterGroups(model, lr=0.01, roles={"pair_potential": 1.0})


def test_bad_input_is_refused_with_its_place_in_the_config(model):
    with pytest.raises(ValueError, match="`param_groups.roles` names 'energy_scales', which is no role here.*Choices:"):
        ParameterGroups(model, lr=0.01, roles={"energy_scales": 1.0})
    with pytest.raises(ValueError, match="`param_groups.lr` must be a number of at least 0, found nan"):
        ParameterGroups(model, lr=float("nan"))


def test_everything_frozen(model):
    roles = ["type_rows", "radial_networks", "interactions", "readout", "energy_shifts"]
    with pytest.raises(ValueError, match="freezes every parameter"):
        ParameterGroups(model, lr=0.01, roles=dict.fromkeys(roles, "frozen"))


def test_a_model_that_no_transfer_made(build, nequip_architecture):
    model = torch.nn.ModuleDict({"sole_model": build(nequip_architecture("Si"))})
    with pytest.raises(ValueError, match="was not made by a transfer"):
        ParameterGroups(model, lr=0.01)
