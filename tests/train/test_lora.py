import copy

import numpy as np
import pytest
import torch
from ase.build import bulk
from e3nn.o3 import angles_to_matrix
from fitting import Fit, Recorder, assert_same, groups

from nequip_elemtransfer import LowRankUpdates
from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.train.lora import matrices

CALLBACK = {"_target_": "nequip_elemtransfer.LowRankUpdates", "ranks": {"interactions": 2, "radial_networks": 3}}
PREFIX = "sole_model."
LINEAR = "model.func.layer0_convnet.conv.linear_2.weight"


@pytest.fixture
def architecture(nequip_architecture):
    """Two layers, so that there is a self-connection too."""
    return nequip_architecture("Ge", num_layers=2)


def fit(tmp_path, architecture, callbacks=(CALLBACK,), **options):
    return Fit(tmp_path, architecture, **{"optimizer": groups(), "callbacks": list(callbacks)} | options)


def test_matrices_of_nequip(build, architecture):
    """Together they are the whole of each weight, one for each irrep: 4 channels of 0e and 1o after layer 0."""
    model = build(architecture)
    found = {name.removeprefix("model.func."): blocks for name, blocks in matrices(model).values()}
    for weight, (_, blocks) in matrices(model).items():
        assert sum(b.rows * b.columns for b in blocks) == weight.numel()
        assert [b.offset for b in blocks] == np.cumsum([0, *(b.rows * b.columns for b in blocks)])[:-1].tolist()
    assert set(found) == {name.removeprefix("model.func.") for name, _ in model.named_parameters()} - {
        "type_embed.embed_module.weight"
    }
    shapes = {name: [(b.rows, b.columns) for b in blocks] for name, blocks in found.items()}
    assert shapes["layer1_convnet.conv.linear_1.weight"] == [(4, 4), (4, 4)]
    assert shapes["layer1_convnet.conv.sc.weight"] == [(16, 4)]  # pairs of a feature and a type feature
    assert shapes["layer0_convnet.conv.linear_2.weight"] == [(4, 8), (4, 4)]  # 4 scalars and 4 gates; vectors


def test_matrices_of_allegro(build, allegro_architecture):
    """Weights of a tensor product's paths are no matrices."""
    model = build(allegro_architecture("Ge", num_layers=2))
    left = {name for name, _ in model.named_parameters()} - {name for name, _ in matrices(model).values()}
    assert {name.removeprefix("model.func.") for name in left} == {
        "radial_chemical_embed.type_embed.center_embed.weight",
        "radial_chemical_embed.type_embed.neighbor_embed.weight",
        "allegro.tps.0.weights",
        "allegro.tps.1.weights",
    }


def test_a_matrix_maps_the_channels_of_one_irrep(build, architecture):
    """It is what the layer does to them, up to e3nn's norm of one over the square root of the channels."""
    layer = build(architecture).model.func.layer0_convnet.conv.linear_2
    _, blocks = matrices(layer)[layer.weight]
    assert [str(ir) for _, ir in layer.irreps_in] == [str(ir) for _, ir in layer.irreps_out] == ["0e", "1o"]
    with torch.no_grad():
        out = layer(torch.eye(layer.irreps_in.dim, dtype=torch.float64))
    for block, (channels, ir), rows, columns in zip(
        blocks, layer.irreps_in, layer.irreps_in.slices(), layer.irreps_out.slices()
    ):
        mixing = out[rows, columns][:: ir.dim, :: ir.dim]
        torch.testing.assert_close(mixing, block.of(layer.weight) / channels**0.5)


def test_changes_have_the_rank_and_their_gradients_follow_the_chain_rule(tmp_path, architecture):
    """One step of plain gradient descent against automatic differentiation through the factors."""
    rate = 0.1
    gradients = {}

    class Gradients(Recorder):
        def on_after_backward(self, trainer, pl_module):
            if trainer.global_step == 1:
                gradients.update({n: p.grad.clone() for n, p in pl_module.model.named_parameters()})
                gradients["factors"] = copy.deepcopy(callback(trainer).state_dict()["updates"])

    record = Gradients()
    training = fit(tmp_path, architecture, optimizer=groups(lr=rate, optimizer="torch.optim.SGD"))
    weights = training.run(2, watch=[record])
    linear = {name: blocks for name, blocks in matrices(training.fitted.model["sole_model"]).values()}
    for name, saved in gradients["factors"].items():
        for block, down, up in zip(linear[name], saved["factors"][::2], saved["factors"][1::2]):
            a, b = down.clone().requires_grad_(), up.clone().requires_grad_()
            (block.of(gradients[PREFIX + name]) * (a @ b)).sum().backward()
            expected = block.of(saved["start"]) + (a - rate * a.grad) @ (b - rate * b.grad)
            torch.testing.assert_close(block.of(weights[PREFIX + name]), expected.detach(), rtol=0, atol=1e-12)
            change = block.of(weights[PREFIX + name]) - block.of(saved["start"])
            rank = 2 if "edge_mlp" not in name else 3
            assert torch.linalg.matrix_rank(change, rtol=1e-8) == min(rank, *change.shape)


def callback(trainer):
    return next(c for c in trainer.callbacks if isinstance(c, LowRankUpdates))


def test_the_start_is_the_start(tmp_path, architecture):
    """To the last bit: the factors' product is zero. Other roles are trained as ever."""
    record = Recorder()
    fit(tmp_path, architecture).run(1, watch=[record])
    start = arch.build(architecture)
    assert_same(record.weights[0], {PREFIX + name: p.detach() for name, p in start.named_parameters()})


def test_the_first_step_of_adam_is_about_the_learning_rate(tmp_path, nequip_architecture):
    architecture = nequip_architecture("Ge", num_features=32, radial_mlp_width=64)
    ranks = {"interactions": 8, "radial_networks": 8}
    optimizer = groups(lr=0.01, roles={"radial_networks": 0.5})
    training = fit(tmp_path, architecture, [CALLBACK | {"ranks": ranks}], optimizer=optimizer)
    weights = training.run(1)
    start = dict(arch.build(architecture).named_parameters())
    for name, rate in ((LINEAR, 0.01), ("model.func.layer0_convnet.conv.edge_mlp.mlp.2.weight", 0.005)):
        change = weights[PREFIX + name] - start[name].detach()
        assert change.square().mean().sqrt().item() == pytest.approx(rate, rel=0.2)


def test_the_model_is_stock_and_equivariant(tmp_path, architecture, graph):
    training = fit(tmp_path, architecture)
    training.run(3)
    stock = arch.build(architecture)
    saved = torch.load(training.checkpoint(3), weights_only=True)
    state = {k.removeprefix("model.sole_model."): v for k, v in saved["state_dict"].items() if k.startswith("model.")}
    assert state.keys() == stock.state_dict().keys()
    stock.load_state_dict(state)
    atoms = bulk("Ge", "diamond", a=5.6, cubic=True)
    atoms.rattle(0.2, seed=3)
    rotation = angles_to_matrix(*torch.tensor([0.3, 1.1, 2.0], dtype=torch.float64))
    turned = atoms.copy()
    turned.set_cell(atoms.cell @ rotation.numpy().T)
    turned.positions = atoms.positions @ rotation.numpy().T
    one, other = (stock.eval()(graph(a, ["Ge"], architecture["r_max"])) for a in (atoms, turned))
    torch.testing.assert_close(other["total_energy"], one["total_energy"], rtol=0, atol=1e-10)
    torch.testing.assert_close(other["forces"], one["forces"] @ rotation.T, rtol=0, atol=1e-10)
    trained = training.fitted.model["sole_model"].eval()(graph(atoms, ["Ge"], architecture["r_max"]))
    torch.testing.assert_close(trained["forces"], one["forces"], rtol=0, atol=0)


@pytest.mark.parametrize("module", ["EMALightningModule", "NequIPLightningModule"])
def test_a_restart_at_any_step_changes_nothing(tmp_path, architecture, module):
    """With a stage in between that unfreezes a role with low-rank updates."""
    stage = {"_target_": "nequip_elemtransfer.Stages", "stages": {2: {"interactions": 1.0}}}
    optimizer = groups(roles={"interactions": "frozen"})
    training = fit(tmp_path, architecture, [CALLBACK, stage], optimizer=optimizer, module=module)
    record = Recorder()
    whole = training.run(4, watch=[record])
    linear = [weights[PREFIX + LINEAR] for weights in record.weights]
    moved = [not torch.equal(a, b) for a, b in zip(linear, linear[1:])]
    assert moved == [False, False, True]
    for step in (1, 2, 3):
        assert_same(whole, training.run(4, ckpt_path=training.checkpoint(step)))


@pytest.fixture
def process_group(monkeypatch):
    """Ends what a strategy for several processes leaves in this one, and what it tells later processes."""
    names = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", "RANK")
    for name in names:  # remembered, and put back or deleted afterwards
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def test_a_restart_of_several_gpus_strategy(tmp_path, architecture, process_group):
    """It reads the checkpoint at another time, and restarts to rounding only, with low-rank updates or without."""
    strategy = {"_target_": "nequip.train.SimpleDDPStrategy", "process_group_backend": "gloo"}
    training = fit(tmp_path, architecture, [CALLBACK], strategy=strategy)
    whole = training.run(3)
    restarted = training.run(3, ckpt_path=training.checkpoint(1))
    for name, weights in whole.items():
        torch.testing.assert_close(restarted[name], weights, rtol=1e-14, atol=1e-15, msg=name)


@pytest.mark.parametrize("ranks", [{}, None, {"interactions": 0}, {"interactions": 1.5}, {"interactions": True}])
def test_ranks_are_whole_numbers(ranks):
    with pytest.raises(ValueError, match="`ranks` must map roles to ranks|must be a whole number of at least 1"):
        LowRankUpdates(ranks)


@pytest.mark.parametrize(
    "ranks, options, message",
    [
        ({"interactions": 5}, {}, "`ranks.interactions` is 5, but model.func.layer0.* 4 by 4, whose rank is at most 4"),
        ({"readout": 2}, {}, "has a matrix of 4 by 1, whose rank is at most 1: give that or less"),
        ({"type_rows": 1}, {}, "type_rows have no linear layers"),
        ({"interaction": 1}, {}, "`ranks` names 'interaction', which is no role here; did you mean 'interactions'"),
        (
            {"interactions": 1},
            {"optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01}},
            "LowRankUpdates needs parameters grouped by role, which those of Adam are not",
        ),
        (
            {"interactions": 1},
            {"optimizer": groups(optimizer="schedulefree.SGDScheduleFree"), "module": "ScheduleFreeLightningModule"},
            "LowRankUpdates cannot be combined with SGDScheduleFree",
        ),
    ],
)
def test_what_has_no_low_rank_is_refused_before_the_first_step(tmp_path, architecture, ranks, options, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, architecture, [CALLBACK | {"ranks": ranks}], **options).run(2)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_restart_keeps_the_ranks(tmp_path, architecture):
    training = fit(tmp_path, architecture)
    training.run(1)
    training.callbacks = [CALLBACK | {"ranks": {"interactions": 1}}]
    with pytest.raises(
        ValueError, match="low-rank updates of the ranks {'interactions': 2, .*, and the config has {'interactions': 1}"
    ):
        training.run(2, ckpt_path=training.checkpoint(1))
    training = fit(tmp_path / "without", architecture, [])
    training.run(1)
    training.callbacks = [CALLBACK]
    with pytest.raises(ValueError, match="was trained with low-rank updates of the ranks none"):
        training.run(2, ckpt_path=training.checkpoint(1))


def test_an_anchor_on_low_rank_updates_is_refused(tmp_path, architecture):
    anchor = {"_target_": "nequip_elemtransfer.AnchorToStart", "decay": 1.0}
    for callbacks in ([CALLBACK, anchor], [anchor, CALLBACK]):
        with pytest.raises(ValueError, match="low-rank updates, where nequip_elemtransfer.AnchorToStart has nothing"):
            fit(tmp_path, architecture, callbacks).run(1)
