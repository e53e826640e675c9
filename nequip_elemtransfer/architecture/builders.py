"""The plain configuration of a NequIP model builder: checked and built.

An architecture is what a checkpoint stores: ``{_target_: nequip.model.NequIPGNNModel, type_names: [Si], ...}``.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import torch
from nequip.model import override_model_compile_mode
from nequip.nn import GraphModel
from nequip.utils.global_state import global_state_initialized, set_global_state
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.nequip_names import model_builder_code
from nequip_elemtransfer.architecture.options import check_model_options
from nequip_elemtransfer.output.refusal import RefusedFile, shortened

Architecture = dict[str, Any]

logger = RankedLogger(__name__, rank_zero_only=True)


class UnknownTarget(RefusedFile):
    """A name that is none of NequIP's or an extension's."""


def check(architecture: Architecture) -> None:
    """Refuse an architecture that names anything but model builders and modules of NequIP and its extensions.

    A checkpoint is a file from anywhere, and Hydra calls whatever ``_target_`` names.

    Raises:
        RefusedFile: with the offending name, or the option that no model has
    """
    builder = locate(architecture.get("_target_"))
    if getattr(builder, "__code__", None) is not model_builder_code():
        raise RefusedFile(
            f"{architecture.get('_target_')!r} is not a NequIP model builder: "
            "known are nequip.model.NequIPGNNModel and the builders of the installed NequIP extensions."
        )
    for value in nested({k: v for k, v in architecture.items() if k != "_target_"}):
        # Hydra resolves these before it builds a part, and `${oc.create:...}` can make a `_target_`
        if isinstance(value, str) and "${" in value:
            raise RefusedFile(f"the model's configuration holds {value!r}: only plain values are used.")
        if isinstance(value, Mapping) and "_target_" in value:
            _check_part(value["_target_"])
    check_model_options(architecture)


def build(architecture: Architecture) -> GraphModel:
    """The eager model of an architecture, with the random weights of its seed.

    Raises:
        RefusedFile: if :func:`check` refuses it
        ValueError: if the builder lacks an option that a transfer needs
    """
    with override_model_compile_mode("eager"):
        return build_as_configured(architecture)


def build_as_configured(architecture: Architecture) -> GraphModel:
    """Like :func:`build`, in the architecture's own ``compile_mode`` or the one NequIP imposes."""
    check(architecture)
    initialize_nequip()
    options = dict(architecture)
    builder = locate(options.pop("_target_"))
    _require_options(builder, options, architecture["_target_"])
    return builder(**options)


def initialize_nequip() -> None:
    """Set NequIP's global state (float64 data, no TF32) unless the process has set it already."""
    if not global_state_initialized():
        set_global_state()


def locate(name: Any) -> Any:
    """The object behind a dotted name in NequIP or an installed NequIP extension; nothing else is imported.

    Raises:
        UnknownTarget: if it lies elsewhere or does not exist
    """
    trusted = trusted_packages()
    if not isinstance(name, str) or name.split(".")[0] not in trusted or "." not in name:
        raise UnknownTarget(
            f"{shortened(name)} is not part of NequIP or an installed NequIP extension "
            f"(installed: {', '.join(sorted(trusted))}); nothing else is called."
        )
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:  # ValueError: what cannot be a module's name
        raise UnknownTarget(f"{name!r} does not exist in the installed version: {error}.") from error


@cache
def trusted_packages() -> frozenset[str]:
    """NequIP and the installed NequIP extensions."""
    return frozenset({"nequip", *(ep.value.split(".")[0] for ep in entry_points(group="nequip.extension"))})


def pair_cutoffs(architecture: Architecture) -> np.ndarray:
    """Cutoff of each pair of types in Å, center by neighbor, shape (n_types, n_types)."""
    r_max, types = float(architecture["r_max"]), architecture["type_names"]
    table = architecture.get("per_edge_type_cutoff") or {}

    def cutoff(center: str, neighbor: str) -> float:
        row = table.get(center, r_max)
        return float(row.get(neighbor, r_max)) if isinstance(row, Mapping) else float(row)

    return np.array([[cutoff(t, u) for u in types] for t in types])


def pair_table(types: Sequence[str], values: np.ndarray) -> dict[str, dict[str, float]]:
    """A matrix over types as the nested dict NequIP's options take."""
    return {t: {u: float(values[i, j]) for j, u in enumerate(types)} for i, t in enumerate(types)}


def per_type_option(architecture: Architecture, name: str) -> np.ndarray | None:
    """A per-type option such as ``per_type_energy_scales`` as an array of shape (n_types,), or None."""
    value = architecture.get(name)
    if value is None:
        return None
    types = architecture["type_names"]
    return np.array([float(value[t] if isinstance(value, Mapping) else value) for t in types])


@contextmanager
def evaluation_mode(model: GraphModel) -> Iterator[GraphModel]:
    """The model in evaluation mode, as it was afterwards."""
    training = model.training
    try:
        yield model.eval()
    finally:
        model.train(training)


def nested(value: Any) -> Iterator[Any]:
    """The value and every value inside it."""
    yield value
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    for item in inside:
        yield from nested(item)


def _require_options(builder: Callable, options: Mapping, name: str) -> None:
    """A transfer says in options what a source may have left to the defaults; an extension may not have them."""
    parameters = inspect.signature(builder).parameters  # of what NequIP's `model_builder` decorates
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    unknown = set(options) - set(parameters) - {"seed", "model_dtype", "compile_mode"}
    if unknown:
        raise ValueError(
            f"{name} does not take {', '.join(sorted(unknown))}: a transfer needs a model with "
            "`per_type_energy_scales`, `per_type_energy_shifts` and, where `length_scale` differs between types, "
            "`per_edge_type_cutoff`; for want of the last, use `length_scale: none` or one number for every type."
        )


def _check_part(name: Any) -> None:
    part = locate(name)
    is_module = inspect.isclass(part) and issubclass(part, torch.nn.Module)
    # such as allegro.nn.TwoBodyBesselScalarEmbed: like the modules, factories of them live in a package's `nn`
    is_factory = (
        inspect.isfunction(part)
        and part.__module__.split(".")[1:2] == ["nn"]
        and "type_names" in inspect.signature(part).parameters
    )
    if not (is_module or is_factory):
        raise RefusedFile(f"the model's configuration asks for {name!r}, which is not a part of a model.")
