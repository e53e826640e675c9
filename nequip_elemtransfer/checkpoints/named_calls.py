"""What a file may name under ``_target_``, which is where Hydra finds what to call.

A checkpoint holds the whole configuration of its training. Most of it is a record that nothing calls: see
:func:`unlike_a_record`. What NequIP's loaders do call must be on a closed list for its kind: see :func:`refused_call`.
"""

import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from numbers import Real
from typing import Any

import nequip.data
import torch
from nequip.data import BaseModifier, datamodule, dataset, transforms
from nequip.train import MetricsManager, metrics_manager
from torchmetrics import Metric

from nequip_elemtransfer.architecture.builders import UnknownTarget, locate, trusted_packages
from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.output.refusal import shortened

_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

# a loop, or a few lists that hold each other many times over, would keep whoever walks through them busy for ever
_DEEPEST, _MOST_ITEMS = 64, 300_000

# of Python itself, in the configuration of a trainer
_OF_PYTHON = {"datetime.timedelta"}

# the only functions that may group parameters for an optimizer
PARAMETER_GROUPS = (
    "nequip.train.lightning._default_param_group_factory",
    "nequip.model.MuonParamGroups",
    "allegro.model.MuonParamGroups",
)

# this package's own: named by their lazy names, which importing the package does not resolve
_OWN_PARAMETER_GROUPS, _OWN_LOADER = "nequip_elemtransfer.ParameterGroups", "nequip_elemtransfer.ReplayLoader"

_DATA = (
    datamodule.NequIPDataModule,
    datamodule.ASEDataModule,
    imported("nequip.data.datamodule._base_datamodule._default_collate_fn_factory"),
    dataset.ASEDataset,
    dataset.NPZDataset,
    dataset.HDF5Dataset,
    dataset.EMTTestDataset,
    dataset.SubsetByRandomSlice,
    dataset.RandomSplitAndIndexDataset,
    torch.utils.data.DataLoader,
    *(getattr(transforms, name) for name in transforms.__all__),
    *(getattr(nequip.data, name) for name in nequip.data.__all__ if name[0].isupper() and name != "ABBREV"),
)


def unlike_a_record(record: Any) -> str | None:
    """What keeps plain data of a file from being the record of a training, as the end of a sentence; None if nothing.

    Nothing is imported. An honest record is a finite tree. It holds no interpolation, since NequIP has resolved them
    all, and names classes: NequIP's and its extensions', other packages', the user's own, but none of Python itself.

    Args:
        record: mappings, lists and plain values; other objects are passed over
    """
    trusted = trusted_packages()
    stack: list[tuple[tuple, Any]] = [((), record)]
    n_items = 0
    while stack:
        place, item = stack.pop()
        n_items += 1
        if len(place) > _DEEPEST or n_items > _MOST_ITEMS:
            return "holds data that are nested without end"
        if isinstance(item, str) and "${" in item:
            return f"holds an interpolation, {shortened(item)}{_under(place)}: only plain values are used"
        if isinstance(item, Mapping):
            if "_target_" in item and not _may_be_recorded(item["_target_"], trusted):
                return (
                    f"names {shortened(item['_target_'])}{_under(place)} for something to be called, which no training "
                    "needs. If you trust the file, package it with `nequip-package` and use the package"
                )
            stack.extend(((*place, "a key"), key) for key in item if isinstance(key, str) and "${" in key)
            stack.extend(((*place, key), value) for key, value in item.items())
        elif isinstance(item, (list, tuple, set, frozenset)):
            stack.extend(((*place, i), value) for i, value in enumerate(item))
    return None


def calls(section: Any) -> Iterator[Mapping]:
    """Every mapping in a section of a configuration, at any depth, that names under ``_target_`` what to call."""
    if isinstance(section, Mapping):
        if "_target_" in section:
            yield section
        section = section.values()
    elif not isinstance(section, (list, tuple)):
        return
    for item in section:
        yield from calls(item)


def names(section: Any) -> list[Any]:
    """Every ``_target_`` in a section of a configuration, at any depth."""
    return [call["_target_"] for call in calls(section)]


def refused_call(section: Any, kind: str, vouched: Collection[Mapping] = ()) -> str | None:
    """The first name in a section that must not be called, as Python writes it; None if all may be.

    A call is accepted if its name is on the list of its kind, or if the user's own configuration holds the same call:
    the same name with the same arguments. A name alone would not do, since arguments come from the file. Numbers may
    differ, and where the configuration has an interpolation, which is not resolved here, any value may stand.

    Args:
        section: that :func:`unlike_a_record` has found none in
        kind: ``metrics`` (of losses, too), ``optimizer``, ``scheduler``, ``data``, or ``nothing``
        vouched: the :func:`calls` in a configuration that the user wrote
    """
    for call in calls(section):
        if not _KINDS[kind](call["_target_"]) and not any(_is_as_written(call, own) for own in vouched):
            return shortened(call["_target_"])
    return None


def _is_as_written(stored: Any, own: Any) -> bool:
    if isinstance(own, str) and "${" in own:
        return True
    if isinstance(own, Mapping) and isinstance(stored, Mapping):
        if own.get("_target_") != stored.get("_target_") or own.keys() != stored.keys():
            return False
        return all(_is_as_written(stored[name], own[name]) for name in own)
    if isinstance(own, (list, tuple)) and isinstance(stored, (list, tuple)):
        return len(own) == len(stored) and all(map(_is_as_written, stored, own))
    both_numbers = isinstance(own, Real) and isinstance(stored, Real)
    return both_numbers or (type(own) is type(stored) and own == stored)


def _may_be_recorded(name: Any, trusted: Collection[str]) -> bool:
    if not isinstance(name, str) or not _DOTTED_NAME.fullmatch(name):
        return False
    package, _, last = name.split(".")[0], *name.rpartition(".")[1:]
    if package in trusted or name in _OF_PYTHON:
        return True
    is_class = any(letter.isupper() for letter in last)
    return is_class and package not in sys.stdlib_module_names and package != "__main__"


def _under(place: tuple) -> str:
    return f" under `{'.'.join(map(str, place))}`" if place else ""


def _is_metric(name: str) -> bool:
    part = _found(name, "torchmetrics")
    if inspect.isfunction(part):
        return part.__module__ == metrics_manager.__name__
    if not (inspect.isclass(part) and issubclass(part, (Metric, MetricsManager, BaseModifier))):
        return False
    # others of torchmetrics fetch models
    return part.__module__.split(".")[0] != "torchmetrics" or part.__module__.startswith("torchmetrics.regression.")


def _is_optimizer(name: str) -> bool:
    part = _found(name, "torch.optim", "schedulefree")
    groups = name in (*PARAMETER_GROUPS, _OWN_PARAMETER_GROUPS)
    return groups or (inspect.isclass(part) and issubclass(part, torch.optim.Optimizer))


def _is_scheduler(name: str) -> bool:
    part = _found(name, "torch.optim.lr_scheduler")
    return inspect.isclass(part) and issubclass(part, torch.optim.lr_scheduler.LRScheduler)


def _is_data(name: str) -> bool:
    part = _found(name, "torch.utils.data")
    return name == _OWN_LOADER or any(part is known for known in _DATA)


_KINDS: dict[str, Callable[[str], bool]] = {
    "metrics": _is_metric,
    "optimizer": _is_optimizer,
    "scheduler": _is_scheduler,
    "data": _is_data,
    "nothing": lambda name: False,
}


def _found(name: str, *modules: str) -> Any:
    """What a name stands for in NequIP, in an extension, or below one of some modules; None if in none of them."""
    module, _, attribute = name.rpartition(".")
    try:
        if any(f"{module}.".startswith(f"{known}.") for known in modules):
            return getattr(import_module(module), attribute, None)
        return locate(name)
    except (UnknownTarget, ImportError):
        return None
