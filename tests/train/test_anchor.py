import pytest
import torch
from fitting import Fit, Recorder, assert_same, groups
from nequip.train.lightning import _SOLE_MODEL_KEY

from nequip_elemtransfer import AnchorToStart
from nequip_elemtransfer.architecture import builders as arch

LR = 0.01
EMBEDDING = "sole_model.model.func.type_embed.embed_module.weight"
READOUT = "sole_model.model.func.per_atom_energy_readout.mlp_module.mlp.0.weight"


def anchor(decay):
    return {"_target_": "nequip_elemtransfer.AnchorToStart", "decay": decay}


@pytest.fixture
def architecture(nequip_architecture):
    return nequip_architecture("Ge")


def fit(tmp_path, architecture, decay=None, **options):
    callbacks = [] if decay is None else [anchor(decay)]
    return Fit(tmp_path, architecture, **{"optimizer": groups(), "callbacks": callbacks} | options)


def test_it_is_weight_decay_about_the_start(tmp_path, architecture):
    """AdamW with the decay d, on weights counted from their start, makes the same steps."""
    decay = 3.0
    anchored = Recorder()
    fit(tmp_path, architecture, decay).run(4, watch=[anchored])
    start = anchored.weights[0]

    class Shifted(Recorder):
        """Lets AdamW decay the distance from the start: the weights are moved there and back around its step."""

        def on_fit_start(self, trainer, pl_module):
            optimizer = trainer.optimizers[0]
            optimizer.register_step_post_hook(lambda *_: self.move(pl_module, 1))

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            self.move(pl_module, -1)

        def move(self, pl_module, sign):
            with torch.no_grad():
                for name, parameter in pl_module.model.named_parameters():
                    parameter.add_(start[name], alpha=sign)

    shifted = Shifted()
    adamw = groups(optimizer="torch.optim.AdamW", weight_decay=decay)
    fit(tmp_path, architecture, optimizer=adamw).run(4, watch=[shifted])
    for one, other in zip(anchored.weights, shifted.weights):
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-14, msg=name)


def test_without_gradients_the_distance_decays_as_said(tmp_path, architecture):
    """By 1 - lr · d a step, with the learning rate of each role, and not where there is no anchor."""
    optimizer = groups(lr=LR, optimizer="torch.optim.SGD", roles={"readout": 0.5}, momentum=0.0)
    shifts = []

    class Displace(Recorder):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 0:
                with torch.no_grad():
                    for parameter in pl_module.model.parameters():
                        parameter.add_(1.0)
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            for parameter in pl_module.model.parameters():
                parameter.grad.zero_()

        def on_train_start(self, trainer, pl_module):
            shifts.append({n: p.detach().clone() for n, p in pl_module.model.named_parameters()})

    record = Displace()
    fit(tmp_path, architecture, {"readout": 20.0, "type_rows": 10.0}, optimizer=optimizer).run(3, watch=[record])
    for name, rate, decay in ((READOUT, LR / 2, 20.0), (EMBEDDING, LR, 10.0)):
        distances = [float((weights[name] - shifts[0][name]).mean()) for weights in record.weights]
        assert distances == pytest.approx([(1 - rate * decay) ** step for step in range(3)])
    untouched = "sole_model.model.func.layer0_convnet.conv.linear_2.weight"
    assert torch.equal(record.weights[0][untouched], record.weights[2][untouched])


@pytest.mark.parametrize("module", ["EMALightningModule", "NequIPLightningModule"])
def test_a_restart_goes_on_with_the_anchor_of_the_checkpoint(tmp_path, architecture, module):
    """The process of the restart knows no start: there, the model is NaN before the checkpoint is loaded."""
    training = fit(tmp_path, architecture, 5.0, module=module)
    whole = training.run(4)
    for step in (1, 2, 3):
        assert_same(whole, training.run(4, ckpt_path=training.checkpoint(step)))
    saved = torch.load(training.checkpoint(3), weights_only=True)
    start = arch.build(architecture).state_dict()
    assert_same(
        saved["callbacks"]["AnchorToStart"]["start"],
        {name: start[name] for name in saved["callbacks"]["AnchorToStart"]["start"]},
    )
    assert "start" not in str(list(saved["state_dict"]))


def test_any_optimizer_with_one_decay(tmp_path, architecture):
    """No roles are needed for one decay, and a strong one keeps the weights nearer."""
    adam = {"_target_": "torch.optim.Adam", "lr": LR}
    free = fit(tmp_path, architecture, optimizer=adam).run(4)
    held = fit(tmp_path, architecture, 50.0, optimizer=adam).run(4)
    start = arch.build(architecture).state_dict()
    for name, value in held.items():
        begin = start[name.removeprefix(f"{_SOLE_MODEL_KEY}.")]
        assert (value - begin).norm() < (free[name] - begin).norm()


def test_a_frozen_role_stays(tmp_path, architecture):
    weights = fit(tmp_path, architecture, 5.0, optimizer=groups(roles={"readout": "frozen"})).run(2)
    start = arch.build(architecture).state_dict()
    assert torch.equal(weights[READOUT], start[READOUT.removeprefix(f"{_SOLE_MODEL_KEY}.")])


@pytest.mark.parametrize("decay", [-1.0, "strong", float("nan"), {"readout": -0.1}])
def test_decay_is_a_number_from_zero(decay):
    with pytest.raises(ValueError, match=r"`decay(\.readout)?` must be a number of at least 0"):
        AnchorToStart(decay)


def test_an_anchor_without_a_start(tmp_path, architecture):
    """A model that was not transferred, and a checkpoint that was trained without an anchor."""
    adam = {"_target_": "torch.optim.Adam", "lr": LR}
    with pytest.raises(ValueError, match="was not made by a transfer, so it has no start"):
        fit(tmp_path, architecture, 1.0, optimizer=adam, model=architecture).run(2)
    training = fit(tmp_path, architecture)
    training.run(1)
    training.callbacks = [anchor(1.0)]
    with pytest.raises(ValueError, match="was trained without an anchor and does not say where it started"):
        training.run(2, ckpt_path=training.checkpoint(1))


@pytest.mark.parametrize(
    "options, decay, message",
    [
        ({}, {"raedout": 1.0}, "`decay` names 'raedout', which is no role here; did you mean 'readout'"),
        ({}, 200.0, r"`decay` 200 times the learning rate 0\.01 is above 1"),
        (
            {"optimizer": {"_target_": "torch.optim.Adam", "lr": LR}},
            {"readout": 1.0},
            "`decay` by role of nequip_elemtransfer.AnchorToStart needs parameters grouped by role",
        ),
        (
            {
                "optimizer": groups(optimizer="schedulefree.AdamWScheduleFree"),
                "module": "ScheduleFreeLightningModule",
            },
            1.0,
            "AnchorToStart cannot be combined with AdamWScheduleFree",
        ),
    ],
)
def test_what_cannot_be_anchored_is_refused_before_the_first_step(tmp_path, architecture, options, decay, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, architecture, decay, **options).run(2)
    assert not list(tmp_path.rglob("*.ckpt"))
