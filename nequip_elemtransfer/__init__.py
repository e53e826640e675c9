"""Start a NequIP or Allegro model of a new element from a model of a related one.

This module runs inside every ``import nequip`` (entry point ``nequip.extension``), so it only registers
the ``${element_transfer:...}`` look-ups; their code, and what a config names of ``train``, is imported when used.
"""

from typing import Any

from omegaconf import OmegaConf

__version__ = "0.1.0"


def _element_transfer(*name: Any, _root_: Any) -> Any:
    from nequip_elemtransfer.key.look_ups import look_up

    return look_up(",".join(map(str, name)), _root_)  # a look-up takes one name, and says so itself


# what a config's `_target_` may name
_TRAIN = ("AnchorToStart", "LowRankUpdates", "ParameterGroups", "ReplayLoader", "RestoreBatchOrder", "Stages")


def __getattr__(name: str) -> Any:
    if name not in _TRAIN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nequip_elemtransfer import train

    return getattr(train, name)


# as NequIP's register_resolvers does, whose import takes seconds; `data` or `label` have no use for NequIP
OmegaConf.register_new_resolver("element_transfer", _element_transfer)
