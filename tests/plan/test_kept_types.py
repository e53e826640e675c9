"""The same element by another method: said with both numbers, and fitted where that is asked for."""

import ase.io
import pytest
import yaml

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.plan import PlanOptions, making
from nequip_elemtransfer.plan.training.train_config import train_config
from nequip_elemtransfer.plan.verdict import RACE


@pytest.fixture
def planned(source, crystals, monkeypatch, tmp_path):
    """The plan for silicon that the source labelled, in other units."""
    monkeypatch.setattr(making, "load_source", lambda path: source)
    monkeypatch.setattr(making, "source_structures", lambda *args: ([], "there are none"))

    def make(options=None, **units):
        path = tmp_path / "si.xyz"
        ase.io.write(path, crystals(source, "Si", 6, 5.43, **{"length": 1.0, "energy": 1.0, "shift": 0.0} | units))
        return making.plan("a source", path, options or PlanOptions())

    return make


def test_the_method_of_the_source(planned):
    plan = planned()
    assert plan.verdict.word == "go" and " on Si" not in plan.verdict.sentence
    assert not any("another method" in warning for warning in plan.warnings)


def test_another_zero_is_said_and_not_called_go(planned):
    plan = planned(shift=-3.7)
    assert plan.verdict.word == RACE
    assert "Si is kept" in plan.verdict.sentence and " on Si" not in plan.verdict.sentence
    assert "μ = -3.7000 eV, where the source has 0.0000" in plan.warnings[0]
    assert plan.ladder[-1].energy_mae.value == pytest.approx(3.7, abs=1e-3)
    for step in plan.ladder[1:]:
        assert step.energy_mae_refitted.value < 1e-3


def test_another_scale(planned):
    assert "α = 0.5, where a kept type has 1" in planned(energy=0.5).warnings[0]


def test_kept_types_are_fitted_where_that_is_asked_for(planned):
    plan = planned(PlanOptions(kept_types="fit"), length=1.02, energy=0.5, shift=-3.7)
    assert plan.verdict.word == "go" and not plan.warnings
    assert plan.length_scale["Si"] == pytest.approx(1.02, abs=0.003)
    assert plan.energy_scale["Si"] == pytest.approx(0.5, abs=0.01)
    assert plan.energy_shifts["Si"] == pytest.approx(-3.7, abs=0.01)
    key = yaml.safe_load(train_config(plan))["element_transfer"]
    assert TransferConfig.from_mapping(key).kept_types == "fit"
    assert "kept_types" not in yaml.safe_load(train_config(planned()))["element_transfer"]


def test_nothing_is_kept_without_a_source(tmp_path, capsys):
    assert main(["plan", "none", str(tmp_path / "no.xyz"), "--kept-types", "fit"]) == 2
    assert "--kept-types mean nothing" in capsys.readouterr().err
