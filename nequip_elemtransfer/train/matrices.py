"""The matrices inside the weights of linear layers."""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import torch
from e3nn.o3 import Linear, TensorProduct
from nequip.nn import GraphModel
from nequip.nn.mlp import ScalarLinearLayer


class Matrix(NamedTuple):
    """A matrix from inputs to outputs that is stored in a weight, row by row from ``offset`` on."""

    offset: int
    rows: int
    columns: int

    def of(self, weight: torch.Tensor) -> torch.Tensor:
        """The matrix as a view of the weight, shape (rows, columns)."""
        return (
            weight.detach().view(-1)[self.offset : self.offset + self.rows * self.columns].view(self.rows, self.columns)
        )


def matrices(model: GraphModel) -> dict[torch.nn.Parameter, tuple[str, list[Matrix]]]:
    """Name and matrices of each weight of a linear layer.

    These are the linear layers of e3nn, with one matrix for each pair of an irrep's channels in and out; its tensor
    products that mix all channels of both inputs, a matrix from pairs of channels; and layers of scalars.
    """
    found = {}
    for name, weight in model.named_parameters():
        owner, _, kind = name.rpartition(".")
        module = model.get_submodule(owner)
        if kind == "weight" or isinstance(module, torch.nn.ParameterList):
            blocks = list(_blocks(module, weight))
            if blocks:
                found[weight] = (name, blocks)
    return found


def _blocks(module: torch.nn.Module, weight: torch.nn.Parameter) -> Iterator[Matrix]:
    if isinstance(module, (ScalarLinearLayer, torch.nn.Linear, torch.nn.ParameterList)):
        if weight.ndim == 2:
            yield Matrix(0, *weight.shape)
        return
    if isinstance(module, Linear):
        shapes = [i.path_shape for i in module.instructions if i.i_in != -1]  # -1 is a bias
    elif isinstance(module, TensorProduct) and all(i.connection_mode == "uvw" for i in module.instructions):
        shapes = [i.path_shape for i in module.instructions if i.has_weight]
    else:
        return
    offset = 0
    for shape in shapes:  # (channels in,), perhaps (channels of the second input,), (channels out)
        if prod(shape):
            yield Matrix(offset, prod(shape[:-1]), shape[-1])
        offset += prod(shape)
