"""Pure tensor functions: the target's parameters from the source's, and what was done to each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from nequip_elemtransfer.element_map import ElementMap
from nequip_elemtransfer.per_type import TypeAxes

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
