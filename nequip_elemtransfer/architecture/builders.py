"""The plain configuration of a NequIP model builder: checked, built, and read back from a built model.

An architecture is what a checkpoint stores: ``{_target_: nequip.model.NequIPGNNModel, type_names: [Si], ...}``. A file
may hold anything, and builders answer a wrong option with whatever error comes first, or with a model that no memory
holds: so the options that have one meaning in all of NequIP are checked here.

Training and modifiers may change what an option says. Energy scales and shifts and Lennard-Jones parameters are numbers
in the configuration and tensors in the model; whether there are forces is a switch. They are carried through the
configuration, so that it says the truth about the target.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from numbers import Real
from typing import Any

import numpy as np
import torch
from nequip.model import override_model_compile_mode
from nequip.nn import GraphModel
from nequip.utils.global_state import global_state_initialized, set_global_state

from nequip_elemtransfer.architecture.nequip_names import (
    ENERGIES,
    FORCES,
    LENNARD_JONES,
    model_builder_code,
    modules,
    the_module,
)
from nequip_elemtransfer.output.refusal import RefusedFile, shortened

Architecture = dict[str, Any]

# lengths and times grow with it; cutoffs are a few Å, or that in another unit of length
_LONGEST_CUTOFF = 100.0

# e3nn knows Wigner matrices up to it
_LARGEST_L = 11

# options that grow a model, and among them those that count modules one behind the other
_SIZE = re.compile(r"num_.*|.*(width|depth|features|dim|layers|bessels|splines|span|irreps).*")
_DEPTH = re.compile(r"num_layers|.*depth")
_IRREPS = re.compile(r"(?:(\d+)x)?(\d+)[eo]")


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
            "`per_edge_type_cutoff`; without the last, use `length_scale: none` or one number for every type."
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


def check_model_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no model has, as far as they are given.

    Raises:
        RefusedFile: with the option's name and value
    """
    if "type_names" in options:
        _check_types(options["type_names"])
    types = options.get("type_names", [])
    for name, is_valid, needed in (
        ("r_max", lambda v: _is_number(v) and 0 < v <= _LONGEST_CUTOFF, f"a length from 0 to {_LONGEST_CUTOFF:g} Å"),
        ("model_dtype", ("float32", "float64").__contains__, "float32 or float64"),
        ("seed", lambda v: _is_whole(v) and abs(v) < 2**63, "a whole number"),
        ("compile_mode", ("eager", "compile", None).__contains__, "eager or compile"),
        ("l_max", lambda v: _is_whole(v) and 0 <= v <= _LARGEST_L, f"a whole number from 0 to {_LARGEST_L}"),
        ("num_layers", lambda v: _is_whole(v) and v > 0, "a whole number from 1 on"),
        ("per_edge_type_cutoff", lambda v: v is None or _is_cutoffs(v, types), "a length in Å for pairs of types"),
        ("per_type_energy_scales", lambda v: _is_per_type(v, types), "a number, or one for each type"),
        ("per_type_energy_shifts", lambda v: _is_per_type(v, types), "a number, or one for each type"),
        ("avg_num_neighbors", lambda v: _is_per_type(v, types, above=0.0), "a number above 0, or one for each type"),
        ("pair_potential", lambda v: v is None or isinstance(v, Mapping), "a mapping"),
    ):
        if name in options and not is_valid(options[name]):
            raise RefusedFile(f"`{name}` is {shortened(options[name])}; {needed} is needed.")


def check_size(options: Mapping[str, Any], n_tensors: int, n_numbers: int) -> None:
    """Refuse sizes that cannot be those of a model with so many weights, before somebody tries to build it.

    Args:
        n_tensors: in the model's state
        n_numbers: in all of them

    Raises:
        RefusedFile: with the option's name and value
    """
    for name, size in _sizes(options):
        most = n_tensors if _DEPTH.fullmatch(name) else n_numbers
        if name == "num_features":
            most = 4 * math.isqrt(n_numbers)  # a layer holds matrices of features by features
        if size > most:
            raise RefusedFile(
                f"`{name}` is {size}, but the weights in the file, {n_numbers} numbers in {n_tensors} tensors, are not "
                "those of such a model."
            )


def _check_types(types: Any) -> None:
    if not isinstance(types, (list, tuple)) or not types:
        raise RefusedFile(f"`type_names` is {shortened(types)}; a list of names is needed.")
    for name in types:
        if not isinstance(name, str) or not name.isalnum():
            raise RefusedFile(f"`type_names` holds {shortened(name)}; a type name holds only letters and digits.")
    if len(set(types)) < len(types):
        raise RefusedFile(f"`type_names` is {shortened(types)}; each type has one name.")


def _sizes(options: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Name and value of each whole number in options, multiplicities in irreps such as ``32x0e`` among them."""
    for name, value in options.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, Mapping):
                yield from _sizes(item)
            elif not _SIZE.fullmatch(str(name)):
                continue
            elif _is_whole(item):
                yield name, item
            elif isinstance(item, str):
                for multiplicity, degree in _IRREPS.findall(item):
                    if len(multiplicity + degree) > 9 or int(degree) > _LARGEST_L:
                        raise RefusedFile(f"`{name}` is {shortened(item)}, which is larger than any model.")
                    yield name, int(multiplicity or 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_per_type(value: Any, types: list[str], above: float = -math.inf) -> bool:
    if isinstance(value, Mapping) and set(value) != set(types):
        return False
    values = value.values() if isinstance(value, Mapping) else [value]
    return value is None or all(_is_number(v) and v > above for v in values)


def _is_cutoffs(value: Any, types: list[str]) -> bool:
    """Whether it maps centers to a length, or to a length for each neighbour."""
    if not isinstance(value, Mapping) or not set(value) <= set(types):
        return False
    rows = [row if isinstance(row, Mapping) else dict.fromkeys(types, row) for row in value.values()]
    return all(set(row) <= set(types) and all(map(_is_cutoff, row.values())) for row in rows)


def _is_cutoff(value: Any) -> bool:
    return _is_number(value) and 0 < value <= _LONGEST_CUTOFF


def with_trained_options(architecture: Architecture, model: torch.nn.Module) -> Architecture:
    """The architecture with these options as they are in a trained model.

    Args:
        architecture: what the model was built from
        model: its modules are known by class name, since those of a package are copies of NequIP's

    Raises:
        UnknownName: if it has not one module of energy scales and shifts
    """
    updated = dict(architecture)
    energies = the_module(model, ENERGIES)
    for kind in ("scales", "shifts"):
        tensor = getattr(energies, kind)
        updated[f"per_type_energy_{kind}"] = _per_type(tensor, energies.type_names)
        option, trainable = f"per_type_energy_{kind}_trainable", isinstance(tensor, torch.nn.Parameter)
        if trainable != bool(updated.get(option)):  # a modifier made or unmade a parameter of it
            updated[option] = trainable
    for module in modules(model, LENNARD_JONES):
        upper = {f"lj_{name}": getattr(module, name) for name in ("epsilon", "sigma", "delta")}
        updated["pair_potential"] = dict(updated["pair_potential"]) | {
            name: (tensor.triu() + tensor.triu(1).T).tolist() for name, tensor in upper.items() if tensor.numel()
        }
    for module in modules(model, FORCES):
        do_derivatives = getattr(module, "do_derivatives", True)
        if do_derivatives != updated.get("do_derivatives", True):  # a modifier switched them on or off
            updated["do_derivatives"] = do_derivatives
    return updated


def configured_parameters(model: torch.nn.Module) -> frozenset[str]:
    """Names of the parameters whose values are options."""
    configured = [the_module(model, ENERGIES), *modules(model, LENNARD_JONES)]
    of_modules = {id(parameter) for module in configured for parameter in module.parameters(recurse=False)}
    return frozenset(name for name, parameter in model.named_parameters() if id(parameter) in of_modules)


def set_energies(model: torch.nn.Module, scales: np.ndarray, shifts: np.ndarray) -> None:
    """Set the energy scales and shifts of a built model that has both for each type.

    Args:
        scales: σ, shape (n_types,)
        shifts: μ in eV, shape (n_types,)

    Raises:
        UnknownName: if it has not one module that holds them
    """
    energies = the_module(model, ENERGIES)
    with torch.no_grad():
        for tensor, values in ((energies.scales, scales), (energies.shifts, shifts)):
            tensor.copy_(torch.as_tensor(values).reshape(tensor.shape))


def _per_type(tensor: torch.Tensor, types: list[str]) -> dict[str, float] | float | None:
    values = tensor.detach().reshape(-1).tolist()
    if not values:
        return None
    return dict(zip(types, values)) if len(values) == len(types) else values[0]
