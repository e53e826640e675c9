"""What is said of a config that is wrong for a transfer, and that nothing is said of one that is right."""

import math
import re

import pytest

from nequip_elemtransfer.key.advice import Setting, advice

# as `plan` and the example configs have it
RIGHT = {
    "steps": 600.0,
    "labels": ("energy", "forces", "stress"),
    "validated": 16,
    "patience": (300.0,),
    "memory": 100.0,
    "rate": 0.002,
}


def test_nothing_is_said_of_what_is_right():
    assert advice(Setting(**RIGHT)) == []
    assert advice(Setting(**RIGHT | {"metrics": None, "validated": None, "patience": ()})) == []
    assert advice(Setting(**RIGHT | {"steps": math.inf})) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"loss": ("energy", "forces")}, "have stresses and `training_module.loss` does not"),
        ({"loss": ("energy",)}, "have forces and stresses and `training_module.loss` does not"),
        ({"metrics": ("energy", "forces")}, "the checkpoint is chosen without stresses"),
        ({"validated": 1}, "1 structure alone chooses the checkpoint, which is chance: validate on 3 or more"),
        ({"validated": 2}, "2 structures alone choose the checkpoint"),
        ({"patience": (40.0,)}, "ends the training after 40 steps without .* set `patience` to 8 times what it is"),
        ({"rate": 0.005}, "the learning rate, 0.005, is one for random weights .* `training_module.optimizer.lr` to"),
        ({"plateau": 10.0}, "the learning rate falls after 10 steps without an improvement, since `ReduceLROnPlateau`"),
        ({"memory": 1000.0}, "averages the weights over 1000 steps, and the training has 600: set it to 0.967"),
        ({"compiled": True, "step_seconds": 0.1}, "the whole training takes about 60 s without: set `element_transfer"),
    ],
)
def test_each_wrong_is_named(wrong, sentence):
    (said,) = advice(Setting(**RIGHT | wrong))
    assert re.search(sentence, said)


def test_what_stops_with_the_training_stops_nothing():
    """A patience beyond the last step."""
    assert advice(Setting(**RIGHT | {"steps": 50.0, "memory": 10.0, "patience": (60.0,)})) == []


def test_a_long_training_is_worth_compiling():
    """Half the time of 3000 steps of 0.1 s is more than the two minutes that compiling takes."""
    assert advice(Setting(**RIGHT | {"steps": 3000.0, "compiled": True, "step_seconds": 0.1})) == []
    assert advice(Setting(**RIGHT | {"compiled": True, "step_seconds": None})) == []
