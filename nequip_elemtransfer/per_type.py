"""Which tensors of a model are indexed by type, asked of the architecture itself.

The model is built with n and with n + 1 types: an axis that grows from n to n + 1 runs over types, one that
grows from n² to (n + 1)² over pairs of types. No tensor has to be listed by name, so this holds for the models
of NequIP extensions as well, and it works when source and target have equally many types.
"""

from collections.abc import Iterator, Sequence

import torch
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture import Architecture, build, retype
from nequip_elemtransfer.element_map import ElementMap

# (axis, 1) for an axis over types, (axis, 2) for one over pairs of types, row-major
TypeAxes = tuple[tuple[int, int], ...]


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
