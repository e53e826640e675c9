"""What of a model runs over types, its options and its tensors, and what becomes of each for other types.

Which tensors they are is asked of the architecture itself: the model is built with n and with n + 1 types. An axis that
grows from n to n + 1 runs over types, one that grows from n² to (n + 1)² over pairs of types. No tensor has to be
listed by name, so this holds for the models of NequIP extensions as well, and it works when source and target have
equally many types.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.builders import Architecture, build, pair_cutoffs, pair_table
from nequip_elemtransfer.mapping.element_map import ElementMap

# (axis, 1) for an axis over types, (axis, 2) for one over pairs of types, row-major
TypeAxes = tuple[tuple[int, int], ...]

Action = Literal["copied", "remapped", "remapped, random rows", "rescaled", "from config"]


@dataclass(frozen=True)
class TensorReport:
    """What the transfer did to one parameter or buffer of the target model."""

    name: str
    shape: tuple[int, ...]
    action: Action


def remap_tensor(tensor: torch.Tensor, axes: TypeAxes, weights: np.ndarray) -> torch.Tensor:
    """Build the target's tensor from the source's along its type axes.

    One type axis: ``W'[t] = Σ_s m[t,s] W[s]``. A pair axis, row-major: ``W'[t,u] = Σ_sv m[t,s] m[u,v] W[s,v]``.
    One-hot weights pick rows exactly, without rounding.

    Args:
        tensor: the source's
        axes: its type axes
        weights: convex weights m, shape (n_target, n_source)
    """
    m = torch.as_tensor(weights, dtype=torch.float64)
    n_target, n_source = m.shape
    result = tensor.detach().to(torch.float64)
    for axis, power in axes:
        shape = result.shape
        # (..., n_source**power, ...) -> (..., n_source, n_source, ...) for a pair axis
        result = result.reshape(*shape[:axis], *[n_source] * power, *shape[axis + 1 :])
        for i in range(axis, axis + power):
            result = torch.tensordot(m, result, dims=([1], [i])).movedim(0, i)
        result = result.reshape(*shape[:axis], n_target**power, *shape[axis + 1 :])
    return result.to(tensor.dtype)


def remap_state(
    target: torch.nn.Module,
    source: Mapping[str, torch.Tensor],
    axes: Mapping[str, TypeAxes],
    element_map: ElementMap,
    factors: Mapping[str, float],
    configured: frozenset[str],
) -> tuple[dict[str, torch.Tensor], list[TensorReport]]:
    """The target's state and the report over every one of its tensors.

    Buffers hold what the target's configuration says (cutoffs, norms, atomic numbers, energy scales and shifts),
    so they stay; so do the parameters named in ``configured``.

    Args:
        target: the target model as built from its configuration
        source: the source's state by the same names
        axes: type axes of the tensors that have any
        element_map: target types over source types
        factors: factor of each parameter that a length scale multiplies
        configured: parameters whose values are options of the target's configuration

    Raises:
        ValueError: if a parameter has no counterpart of the right shape
    """
    state, reports = dict(target.state_dict()), []
    for name, parameter in target.named_parameters():
        action: Action = "from config"
        if name not in configured:
            state[name], action = _transferred(
                name, parameter.detach(), source, axes.get(name), element_map, factors.get(name)
            )
            if state[name].shape != parameter.shape:
                raise ValueError(
                    f"parameter {name} has shape {tuple(state[name].shape)} in the source and "
                    f"{tuple(parameter.shape)} in the target."
                )
        reports.append(TensorReport(name, tuple(parameter.shape), action))
    for name, buffer in target.named_buffers():
        reports.append(TensorReport(name, tuple(buffer.shape), "from config"))
    return state, reports


def _transferred(
    name: str,
    initial: torch.Tensor,
    source: Mapping[str, torch.Tensor],
    axes: TypeAxes | None,
    element_map: ElementMap,
    factor: float | None,
) -> tuple[torch.Tensor, Action]:
    if name not in source:
        raise ValueError(f"parameter {name} of the target does not exist in the source.")
    tensor = source[name].detach().clone()
    action: Action = "copied"
    if axes:
        tensor, action = remap_tensor(tensor, axes, element_map.weights), "remapped"
        if element_map.random.any() and tensor.shape == initial.shape:
            tensor = torch.where(_random_entries(tensor, axes, element_map.random), initial, tensor)
            action = "remapped, random rows"
    if factor is not None and factor != 1.0:
        tensor, action = tensor * factor, "rescaled"
    return tensor, action


def _random_entries(tensor: torch.Tensor, axes: TypeAxes, random: np.ndarray) -> torch.Tensor:
    """True where an entry belongs to a random type or to a pair with one, in a shape that broadcasts to the tensor."""
    mask = torch.zeros((1,) * tensor.ndim, dtype=torch.bool)
    for axis, power in axes:
        along = torch.as_tensor(random if power == 1 else np.logical_or.outer(random, random).reshape(-1))
        shape = [1] * tensor.ndim
        shape[axis] = len(along)
        mask = mask | along.reshape(shape)
    return mask


def type_axes(model: GraphModel, architecture: Architecture) -> dict[str, TypeAxes]:
    """The type axes of each parameter and buffer of a model that has any.

    Args:
        model: built from ``architecture``
        architecture: with n types

    Raises:
        ValueError: naming the tensors that depend on the number of types in a way no rule covers
    """
    types = architecture["type_names"]
    species = (architecture.get("pair_potential") or {}).get("chemical_species")
    grown = build(retype(architecture, ElementMap.identity(types, species).extended(_another(types))))
    small, large = dict(named_tensors(model)), dict(named_tensors(grown))
    axes, unknown = {}, sorted(set(small) ^ set(large))
    for name in set(small) & set(large):
        found = _axes(small[name].shape, large[name].shape, len(types))
        if found is None:
            unknown.append(name)
        elif found:
            axes[name] = found
    if unknown:
        raise ValueError(
            f"{architecture['_target_']} cannot be transferred: with one more type, these tensors change in a way "
            f"no rule covers: {', '.join(sorted(unknown))}."
        )
    return axes


def named_tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """All parameters and buffers by name, those left out of the state dict too."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _another(types: Sequence[str]) -> str:
    """A type name that is not among those."""
    name = "Probe"
    while name in types:
        name += "0"
    return name


def _axes(small: torch.Size, large: torch.Size, n: int) -> TypeAxes | None:
    if len(small) != len(large):
        return None
    grown = [(axis, a, b) for axis, (a, b) in enumerate(zip(small, large)) if a != b]
    powers = {(n, n + 1): 1, (n**2, (n + 1) ** 2): 2}
    if any((a, b) not in powers for _, a, b in grown):
        return None
    return tuple((axis, powers[a, b]) for axis, a, b in grown)


def retype(architecture: Architecture, element_map: ElementMap) -> Architecture:
    """The architecture for the target types, every option that carries types mapped along.

    Options that are numbers stay; tables over types become ``Σ_s m[t,s] v[s]``, tables over pairs
    ``Σ_sv m[t,s] m[u,v] v[s,v]``.

    Args:
        architecture: the source's
        element_map: target types over the source's types
    """
    options = {name: _map_table(value, element_map) for name, value in architecture.items()}
    options["type_names"] = list(element_map.target_types)
    if architecture.get("per_edge_type_cutoff") is not None:
        # a blend of cutoffs may round to just above r_max, which NequIP refuses
        cutoffs = np.minimum(element_map.per_pair(pair_cutoffs(architecture)), float(architecture["r_max"]))
        options["per_edge_type_cutoff"] = pair_table(element_map.target_types, cutoffs)
    if architecture.get("pair_potential") is not None:
        options["pair_potential"] = _map_pair_potential(architecture["pair_potential"], element_map)
    return options


def _map_table(value: Any, element_map: ElementMap) -> Any:
    if not (isinstance(value, Mapping) and set(value) == set(element_map.source_types)):
        return value
    if not all(isinstance(v, (int, float)) for v in value.values()):
        return value
    mapped = element_map.per_type(np.array([float(value[s]) for s in element_map.source_types]))
    return dict(zip(element_map.target_types, mapped.tolist()))


def _map_pair_potential(options: Mapping, element_map: ElementMap) -> dict:
    mapped = dict(options)
    if "chemical_species" in mapped:
        mapped["chemical_species"] = list(element_map.target_species)
    for name, value in mapped.items():
        # Lennard-Jones parameters: symmetric (n_types, n_types)
        if name.startswith("lj_") and isinstance(value, (list, tuple)):
            pairs = element_map.per_pair(np.array(value, dtype=float))
            mapped[name] = ((pairs + pairs.T) / 2).tolist()  # NequIP wants them symmetric to the last bit
    return mapped
