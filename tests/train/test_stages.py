import pytest
import torch
from fitting import Fit, Recorder, assert_same, groups

from nequip_elemtransfer import Stages

STAGES = {2: {"readout": 0.5, "interactions": "frozen"}, 4: {"interactions": {"lr_factor": 0.1, "weight_decay": 0.2}}}
CALLBACK = {"_target_": "nequip_elemtransfer.Stages", "stages": STAGES}


@pytest.fixture
def architecture(nequip_architecture):
    return nequip_architecture("Ge")


def fit(tmp_path, architecture, **options):
    roles = {"readout": "frozen", "type_rows": 2.0}
    return Fit(tmp_path, architecture, **{"optimizer": groups(roles=roles), "callbacks": [CALLBACK]} | options)


def test_factors_change_and_roles_freeze_and_unfreeze(tmp_path, architecture):
    record = Recorder()
    fit(tmp_path, architecture).run(6, watch=[record])
    assert [rates["interactions.0"] for rates in record.rates] == pytest.approx([0.01] * 4 + [0.001] * 2)
    assert [rates["readout"] for rates in record.rates] == pytest.approx([0.01] * 2 + [0.005] * 4)
    assert {rates["type_rows"] for rates in record.rates} == {0.02}
    moves = {
        role: [not torch.equal(a[name], b[name]) for a, b in zip(record.weights, record.weights[1:])]
        for role, name in {
            "readout": "sole_model.model.func.per_atom_energy_readout.mlp_module.mlp.0.weight",
            "interactions": "sole_model.model.func.layer0_convnet.conv.linear_2.weight",
        }.items()
    }
    assert moves == {"readout": [False, False, True, True, True], "interactions": [True, True, False, False, True]}


COSINE = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 8}
WARM_UP = {"_target_": "torch.optim.lr_scheduler.LinearLR", "start_factor": 0.1, "total_iters": 3}
BOTH = {"_target_": "torch.optim.lr_scheduler.SequentialLR", "milestones": [3], "schedulers": [WARM_UP, COSINE]}


@pytest.mark.parametrize("scheduler", [COSINE, BOTH])
def test_schedulers_go_on_with_the_new_factor(tmp_path, architecture, scheduler):
    """At each step, the rate of a role is its factor times that of another whose factor is one."""
    record = Recorder()
    stages = {2: {"readout": 0.5}, 5: {"readout": 3.0}}
    callback = {"_target_": "nequip_elemtransfer.Stages", "stages": stages}
    fit(tmp_path, architecture, scheduler=scheduler, callbacks=[callback]).run(7, watch=[record])
    ratios = [rates["readout"] / rates["interactions.0"] for rates in record.rates]
    assert ratios == pytest.approx([1, 1, 0.5, 0.5, 0.5, 3, 3])
    assert len({rates["interactions.0"] for rates in record.rates}) == 7


@pytest.mark.parametrize("module", ["EMALightningModule", "NequIPLightningModule", "ScheduleFreeLightningModule"])
def test_a_restart_at_any_step_changes_nothing(tmp_path, architecture, module):
    options = {"module": module}
    if module == "ScheduleFreeLightningModule":
        pytest.importorskip("schedulefree")
        options["optimizer"] = groups(optimizer="schedulefree.AdamWScheduleFree", roles={"readout": "frozen"})
    training = fit(tmp_path, architecture, **options)
    whole = training.run(6)
    for step in (1, 2, 3, 4, 5):
        assert_same(whole, training.run(6, ckpt_path=training.checkpoint(step)))


def test_a_restart_may_change_later_stages_only(tmp_path, architecture):
    training = fit(tmp_path, architecture)
    training.run(4)
    training.callbacks = [CALLBACK | {"stages": STAGES | {4: {"interactions": 0.2}}}]
    training.run(5, ckpt_path=training.checkpoint(4))
    training.callbacks = [CALLBACK | {"stages": STAGES | {2: {"readout": 0.6}}}]
    with pytest.raises(ValueError, match="up to step 4 the checkpoint has passed the stages {2: .*'readout': 0.5"):
        training.run(6, ckpt_path=training.checkpoint(4))


@pytest.mark.parametrize(
    "stages, message",
    [
        ({3: {"raedout": 1.0}}, "`stages.3` names 'raedout', which is no role here; did you mean 'readout'"),
        ({3: {"readout": -1}}, "`stages.3.readout` must be a number of at least 0, found -1"),
        (
            {3: {"readout": "frozen"}, 5: dict.fromkeys(["type_rows", "radial_networks", "interactions"], "frozen")},
            "`stages.5` leaves every parameter frozen",
        ),
    ],
)
def test_bad_stages_are_refused_before_the_first_step(tmp_path, architecture, stages, message):
    callback = {"_target_": "nequip_elemtransfer.Stages", "stages": stages}
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, architecture, callbacks=[callback]).run(6)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    "stages, message",
    [
        ({}, "`stages` must map steps to settings"),
        ([100], "`stages` must map steps to settings"),
        ({"late": {"readout": 1.0}}, "`stages` has 'late' where a number of optimizer steps is expected"),
        ({-1: {"readout": 1.0}}, "`stages` has -1 where a number of optimizer steps is expected"),
    ],
)
def test_steps_are_numbers(stages, message):
    with pytest.raises(ValueError, match=message):
        Stages(stages)


def test_other_parameter_groups_are_refused(tmp_path, architecture):
    optimizer = {"_target_": "torch.optim.Adam", "lr": 0.01}
    with pytest.raises(ValueError, match="Stages needs parameters grouped by role, which those of Adam are not"):
        fit(tmp_path, architecture, optimizer=optimizer).run(2)
