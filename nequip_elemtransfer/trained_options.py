"""Options of an architecture that training or a modifier may have changed, read back from the built model.

Energy scales and shifts and Lennard-Jones parameters are numbers in the configuration and tensors in the model; whether
there are forces is a switch. They are carried through the configuration, so that it says the truth about the target.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nequip_elemtransfer.architecture import Architecture

_ENERGIES, _LENNARD_JONES, _DERIVATIVES = "PerTypeScaleShift", "LennardJones", "ForceStressOutput"


def with_trained_options(architecture: Architecture, model: torch.nn.Module) -> Architecture:
    """The architecture with these options as they are in a trained model.

    Args:
        architecture: what the model was built from
        model: its modules are known by class name, since those of a package are copies of NequIP's
    """
    updated = dict(architecture)
    for module in _modules(model, _ENERGIES):
        for kind in ("scales", "shifts"):
            tensor = getattr(module, kind)
            updated[f"per_type_energy_{kind}"] = _per_type(tensor, module.type_names)
            option, trainable = f"per_type_energy_{kind}_trainable", isinstance(tensor, torch.nn.Parameter)
            if trainable != bool(updated.get(option)):  # a modifier made or unmade a parameter of it
                updated[option] = trainable
    for module in _modules(model, _LENNARD_JONES):
        upper = {f"lj_{name}": getattr(module, name) for name in ("epsilon", "sigma", "delta")}
        updated["pair_potential"] = dict(updated["pair_potential"]) | {
            name: (tensor.triu() + tensor.triu(1).T).tolist() for name, tensor in upper.items() if tensor.numel()
        }
    for module in _modules(model, _DERIVATIVES):
        if module.do_derivatives != updated.get("do_derivatives", True):  # a modifier switched them on or off
            updated["do_derivatives"] = module.do_derivatives
    return updated


def configured_parameters(model: torch.nn.Module) -> frozenset[str]:
    """Names of the parameters whose values are options."""
    return frozenset(
        f"{name}.{parameter}"
        for name, module in model.named_modules()
        if type(module).__name__ in (_ENERGIES, _LENNARD_JONES)
        for parameter, _ in module.named_parameters(recurse=False)
    )


def set_energies(model: torch.nn.Module, scales: np.ndarray, shifts: np.ndarray) -> None:
    """Set the energy scales and shifts of a built model that has both for each type.

    Args:
        scales: σ, shape (n_types,)
        shifts: μ in eV, shape (n_types,)
    """
    for module in _modules(model, _ENERGIES):
        with torch.no_grad():
            for tensor, values in ((module.scales, scales), (module.shifts, shifts)):
                tensor.copy_(torch.as_tensor(values).reshape(tensor.shape))


def _modules(model: torch.nn.Module, name: str) -> Iterator[Any]:
    return (module for module in model.modules() if type(module).__name__ == name)


def _per_type(tensor: torch.Tensor, types: list[str]) -> dict[str, float] | float | None:
    values = tensor.detach().reshape(-1).tolist()
    if not values:
        return None
    return dict(zip(types, values)) if len(values) == len(types) else values[0]
