"""Fine-tuning that keeps what was learned: what a config may name in its ``optimizer`` and ``callbacks`` sections."""

from nequip_elemtransfer.train.groups import ParameterGroups

__all__ = ["ParameterGroups"]
