"""Start a NequIP or Allegro model of a new element from a model of a related one.

This module runs inside every ``import nequip`` (entry point ``nequip.extension``), so it only registers
the ``${element_transfer:...}`` look-ups; their code, and what a user's file names, is imported when used.
"""

from importlib import import_module
from typing import Any

from omegaconf import OmegaConf

__version__ = "0.1.0"

# What a file of the user's may name, and the module that holds it. Files name no module, so that modules may move.
EXPORTS = {
    "AnchorToStart": "train.anchor",
    "LabelledSquaredError": "train.partial_labels",
    "LowRankUpdates": "train.lora",
    "ParameterGroups": "train.groups",
    "ReplayLoader": "train.replay",
    "RestoreBatchOrder": "train.replay",
    "Stages": "train.stages",
    "TrainingClock": "study.run.callbacks",
    "TransferredModel": "model",
    "UncertaintyCalculator": "deploy.ase_calculator",
    "ValidateLastStep": "train.last_step",
    "gfn2_calculator": "data.xtb",
    "stillinger_weber_calculator": "data.stillinger_weber",
}


def _element_transfer(*name: Any, _root_: Any) -> Any:
    from nequip_elemtransfer.key.look_ups import look_up

    return look_up(",".join(map(str, name)), _root_)  # a look-up takes one name, and says so itself


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{EXPORTS[name]}"), name)


# as NequIP's register_resolvers does, whose import takes seconds; `data` or `label` have no use for NequIP
OmegaConf.register_new_resolver("element_transfer", _element_transfer)
