"""Options of an architecture that training or a modifier may have changed, read back from the built model.

Energy scales and shifts and Lennard-Jones parameters are numbers in the configuration and tensors in the model; whether
there are forces is a switch. They are carried through the configuration, so that it says the truth about the target.
"""

import numpy as np
import torch

from nequip_elemtransfer.architecture import Architecture
from nequip_elemtransfer.nequip_names import ENERGIES, FORCES, LENNARD_JONES, modules, the_module


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
