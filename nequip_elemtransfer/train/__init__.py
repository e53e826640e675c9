"""Fine-tuning that keeps what was learned: what a config may name in its ``optimizer``, ``callbacks`` and ``data``."""

from nequip_elemtransfer.train.anchor import AnchorToStart
from nequip_elemtransfer.train.groups import ParameterGroups
from nequip_elemtransfer.train.last_step import ValidateLastStep
from nequip_elemtransfer.train.lora import LowRankUpdates
from nequip_elemtransfer.train.replay import ReplayLoader, RestoreBatchOrder
from nequip_elemtransfer.train.stages import Stages

__all__ = [
    "AnchorToStart",
    "LowRankUpdates",
    "ParameterGroups",
    "ReplayLoader",
    "RestoreBatchOrder",
    "Stages",
    "ValidateLastStep",
]
