"""Every dotted name that a file of a user may hold, or a script of a user import, is still found by Hydra.

A name that is given up leaves this table for a sentence that says what takes its place, and a test of that.
"""

from importlib.metadata import EntryPoint
from importlib.util import find_spec

import pytest
from ase.calculators.calculator import Calculator
from hydra.utils import get_class, get_method, get_object, instantiate
from lightning.pytorch.callbacks import Callback
from nequip.train import MeanSquaredError

ROOT = "nequip_elemtransfer."

# in configs of nequip-train and of studies, in checkpoints, or in calculator files
CALLBACKS = (
    "AnchorToStart",
    "LowRankUpdates",
    "RestoreBatchOrder",
    "Stages",
    "ValidateLastStep",
    "study.run.callbacks.TrainingClock",
)
FUNCTIONS = ("ParameterGroups", "ReplayLoader", "model.TransferredModel")
METRIC = "train.partial_labels.LabelledSquaredError"
CALCULATORS = {
    "data.stillinger_weber.stillinger_weber_calculator": {"element": "Ge"},
    "data.xtb.gfn2_calculator": {},
}

# what the metadata of an installation hold, which in one for development stay as they were
ENTRY_POINTS = {
    "console_scripts": ("nequip_elemtransfer.cli:main", "nequip_elemtransfer.deploy.cli:main"),
    "nequip.extension": ("nequip_elemtransfer",),
    "lightning.pytorch.callbacks_factory": ("nequip_elemtransfer.key.training_checks:callbacks",),
}

# printed for jobs on a cluster: `python -m ...`
MODULES = ("study.measure.job",)

# of scripts; the rest of docs/reference/api.md stands where its room is
INTERFACE = (
    "config.TransferConfig",
    "source.load_source",
    "source.SourceModel",
    "transfer.Transfer",
    "transfer.TransferResult",
    "train.replay.label",
    "plan.plan",
    "plan.Plan",
)


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks(name):
    """A checkpoint holds the state of a callback under the name of its class."""
    found = get_class(ROOT + name)
    assert issubclass(found, Callback) and found.__qualname__ == name.rpartition(".")[2]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    assert get_method(ROOT + name).__name__ == name.rpartition(".")[2]


def test_metric():
    assert isinstance(instantiate({"_target_": ROOT + METRIC}), MeanSquaredError)


@pytest.mark.parametrize("name", CALCULATORS)
def test_calculators(name):
    if "xtb" in name:
        pytest.importorskip("tblite")
    assert isinstance(instantiate({"_target_": ROOT + name, **CALCULATORS[name]}), Calculator)


@pytest.mark.parametrize(("group", "value"), [(group, v) for group, values in ENTRY_POINTS.items() for v in values])
def test_entry_points(group, value):
    assert EntryPoint("name", value, group).load() is not None


@pytest.mark.parametrize("name", MODULES)
def test_modules_that_are_run(name):
    assert find_spec(ROOT + name) is not None


@pytest.mark.parametrize("name", INTERFACE)
def test_interface_for_scripts(name):
    assert get_object(ROOT + name) is not None
