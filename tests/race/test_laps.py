"""What the folder of a training says of how far it is."""

import ase.io
import pytest
from ase.build import bulk

from nequip_elemtransfer.race.laps import Lap
from nequip_elemtransfer.study.grid import Run


@pytest.fixture
def training(tmp_path):
    """Makes laps of one training, whose folder has validations up to a step and some predictions."""

    def make(until, validated=(), predicted=0):
        lap = Lap(Run("transfer-fold0", {}, "", ()), tmp_path, until, 2)
        if validated:
            (lap.folder / "metrics").mkdir(parents=True, exist_ok=True)
            lines = [f"{steps},0.5,{steps}" for steps in validated]
            text = "\n".join(["training_steps,training_seconds,step", *lines])
            (lap.folder / "metrics" / "metrics.csv").write_text(text + "\n")
        if predicted:
            ase.io.write(lap.folder / "held_out_dataset0.xyz", [bulk("Ge")] * predicted)
        return lap

    return make


def test_a_lap_is_over_when_its_step_is_tested(training):
    assert training(16).command()[-1] == "trainer.max_steps=16" and not training(16).is_finished()
    assert not training(16, [0, 8, 16]).is_finished()  # ended before its test
    assert not training(16, [0, 8, 16], 1).is_finished()  # or in it
    assert training(16, [0, 8, 16], 2).is_finished()  # by one of Hydra's launchers
    assert not training(48).is_finished() and training(16).is_finished()


def test_an_earlier_lap_of_a_training_that_was_interrupted_later_is_over(training):
    """Else it would be started once more for nothing."""
    later = training(48, [0, 8, 16, 24])
    assert not later.is_finished() and training(16).is_finished()


def test_a_lap_that_goes_on_forgets_the_test_before(training):
    training(16, [0, 16], 2).mark_finished()
    (training(16).folder / "restart.ckpt").touch()
    lap = training(48)
    lap._restart.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty archive
    lap.make_ready()
    assert not (lap.folder / "finished.json").exists() and not (lap.folder / "held_out_dataset0.xyz").exists()
    assert (lap.folder / "metrics" / "metrics.before_1.csv").exists()
