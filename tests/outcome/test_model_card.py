"""What is read of a training from its checkpoint, its metrics and its log."""

import math

import pytest

from nequip_elemtransfer.key.training_summary import TrainingSummary
from nequip_elemtransfer.outcome.errors import by_set, means, quantity
from nequip_elemtransfer.outcome.metrics import test_errors as errors_of_tests
from nequip_elemtransfer.outcome.metrics import validations
from nequip_elemtransfer.outcome.model_card import ModelCard, card_of_checkpoint, loss_coefficients
from nequip_elemtransfer.outcome.training_log import CALLBACK, TrainingLog, log_in
from nequip_elemtransfer.output.refusal import RefusedFile

SECTIONS = {
    "loss": {"_target_": "nequip.train.EnergyForceLoss", "coeffs": {"total_energy": 0.1, "forces": 1.0}},
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.002},
    "model": {"_target_": "nequip.model.NequIPGNNModel", "type_names": ["Ge"]},
    "info_dict": {
        "versions": {"nequip": "0.19.1", "allegro": None},
        "data": {"split_dataset": {"file_path": "ge.xyz", "train": 9, "val": 1, "test": 0.1}},
    },
}


@pytest.mark.parametrize(
    "metric, name, unit",
    [
        ("forces_mae", "forces MAE", "meV/Å"),
        ("per_atom_energy_rmse", "energy RMSE", "meV/atom"),
        ("total_energy_mae", "total energy MAE", "meV"),
        ("stress_mae", "stress MAE", "meV/Å³"),
        ("forces_mae_Ge", "forces MAE of Ge", "meV/Å"),
    ],
)
def test_metrics_have_units(metric, name, unit):
    assert (quantity(metric).name, quantity(metric).unit) == (name, unit)


@pytest.mark.parametrize("metric", ["weighted_sum", "forces_mse", "forces_maxabserr", "dipole_mae"])
def test_what_is_in_no_known_unit_has_none(metric):
    assert quantity(metric) is None


def test_errors_by_set_and_which_are_shown():
    logged = {"val0_epoch/forces_mae": 1.0, "val1_epoch/forces_mae": 2.0, "train_loss_epoch/forces_mse": 3.0}
    assert by_set(logged, "val") == {0: {"forces_mae": 1.0}, 1: {"forces_mae": 2.0}}
    names = ["stress_mae", "per_atom_energy_mae", "total_energy_mae", "forces_rmse", "forces_mae"]
    assert list(means(names)) == ["forces_mae", "per_atom_energy_mae", "stress_mae"]
    assert list(means(["forces_rmse"])) == ["forces_rmse"]


@pytest.mark.parametrize(
    "loss, weights",
    [
        (SECTIONS["loss"], {"total_energy": 0.1, "forces": 1.0}),
        ({"_target_": "nequip.train.EnergyForceStressLoss"}, dict.fromkeys(("total_energy", "forces", "stress"))),
        ({"_target_": "nequip.train.EnergyOnlyLoss"}, {"total_energy": None}),
        ({"coeffs": {"forces": 1, "stress": 0}}, {"forces": 1.0}),
        (
            {
                "metrics": [
                    {"field": "forces", "coeff": 2.0},
                    {"field": {"_target_": "nequip.data.PerAtomModifier", "field": "total_energy"}, "coeff": 1},
                    {"field": "stress", "coeff": 0},
                ]
            },
            {"total_energy": 1.0, "forces": 2.0},
        ),
        (None, {}),
        ({"_target_": "my.Loss"}, {}),
    ],
)
def test_what_a_loss_is_of(loss, weights):
    assert loss_coefficients(loss) == weights


def checkpoint(**more):
    return {"hyper_parameters": SECTIONS, "global_step": 40, "callbacks": {}} | more


def test_a_model_of_nequip_s_own_has_the_card_that_its_checkpoint_gives():
    card = card_of_checkpoint(checkpoint())
    assert dict(card.rows()) == {
        "started from": "random weights",
        "trained on": "9 structures of ge.xyz; 1 for validation",
        "labels": "energies, forces",
        "loss": "EnergyForceLoss, energy 0.1, forces 1",
        "optimizer": "Adam, lr 0.002",
        "steps": "40",
        "trained with": "nequip 0.19.1",
    }
    assert ModelCard.from_dict(card.to_dict()) == card
    assert max(map(len, card.text().splitlines())) <= 80


def test_a_log_gives_the_errors_of_the_checkpoint(tmp_path):
    log = TrainingLog(structures={"train": 8, "val0": 2}, saved="2026-01-31")
    log.add(20, {"val0_epoch/forces_mae": 0.2, "val0_epoch/weighted_sum": 1.0})
    log.add(40, {"val0_epoch/forces_mae": 0.1234, "val0_epoch/weighted_sum": 2.0})
    assert log.best == (20, log.validations[0][1])
    held = checkpoint(callbacks={"TrainingSummary": log.to_dict()})
    rows = dict(card_of_checkpoint(held).rows())
    assert rows["trained on"] == "8 structures of ge.xyz; 2 for validation"
    assert rows["validation errors"] == "forces MAE 123.4 meV/Å" and rows["saved"] == "2026-01-31"
    later = dict(card_of_checkpoint(held | {"global_step": 50}).rows())
    assert later["validation at step 40 errors"] == "forces MAE 123.4 meV/Å"


def test_a_long_training_keeps_its_best_and_every_second_validation():
    log = TrainingLog()
    for step in range(1000):
        log.add(step, {"val0_epoch/weighted_sum": abs(step - 701.0)})
    assert log.best == (701, {"val0_epoch/weighted_sum": 0.0})
    steps = [step for step, _ in log.validations]
    assert len(steps) <= 400 and steps[0] == 0 and steps == sorted(steps)


def test_the_state_has_the_name_that_lightning_gives_it():
    assert CALLBACK == TrainingSummary().state_key


def test_a_restart_goes_on_with_the_log():
    log = TrainingLog(mode="max", start={"val0_epoch/forces_mae": 1.0})
    log.add(5, {"val0_epoch/weighted_sum": 3.0})
    again = TrainingLog.from_dict(log.to_dict())
    assert again == log
    again.add(10, {"val0_epoch/weighted_sum": 2.0})
    assert again.best[0] == 5


@pytest.mark.parametrize(
    "change",
    [
        {"validations": [[1]]},
        {"validations": [[-1, {}]]},
        {"start": {"val0_epoch/forces_mae": "small"}},
        {"structures": {"train": 1.5}},
        {"best": 3},
        {"monitor": None},
    ],
)
def test_a_log_that_no_training_wrote_is_refused(change):
    with pytest.raises(RefusedFile, match="the log of its training"):
        log_in({"callbacks": {"TrainingSummary": TrainingLog().to_dict() | change}})
    assert log_in({"callbacks": {}}) is None


@pytest.mark.parametrize(
    "change", [{"steps": -1}, {"loss": 3}, {"trained_on": "x"}, {"errors": {"test": {"forces_mae": "low"}}}]
)
def test_a_card_that_no_training_wrote_is_refused(change):
    with pytest.raises(RefusedFile, match=f"`{next(iter(change))}` of its model card"):
        ModelCard.from_dict(ModelCard().to_dict() | change)


def test_metrics_before_and_after_an_interruption(tmp_path):
    """Lightning counts from zero the last step before a validation; a study's clock says how many were done."""
    folder = tmp_path / "lightning_logs" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.before_1.csv").write_text("step,val0_epoch/forces_mae\n4,0.5\n9,0.4\n")
    (folder / "metrics.csv").write_text(
        "step,val0_epoch/forces_mae,test0_epoch/forces_mae,training_steps\n9,0.3,,10\n14,nan,,\n0,,0.2,\n"
    )
    found = validations(tmp_path)
    assert found == [(5, {"val0_epoch/forces_mae": 0.5}), (10, {"val0_epoch/forces_mae": 0.3})]
    assert errors_of_tests(tmp_path) == {0: {"forces_mae": 0.2}} and math.isfinite(found[0][1]["val0_epoch/forces_mae"])
