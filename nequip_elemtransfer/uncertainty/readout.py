"""The readout of a model, which makes energies of features, and what it is given for each atom."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.builders import evaluation_mode
from nequip_elemtransfer.architecture.nequip_names import READOUT, modules


@dataclass(frozen=True)
class Readout:
    """The module that makes a model's energies.

    Args:
        module: of NequIP's class ``ScalarMLP``
        field: name of its input
        of_edges: whether that is of edges, as in Allegro, and is summed over those of an atom
    """

    module: torch.nn.Module
    field: str
    of_edges: bool

    @classmethod
    def of(cls, model: GraphModel) -> "Readout":
        """The readout of a model.

        Raises:
            ValueError: it has none, or several
        """
        makes = {AtomicDataDict.PER_ATOM_ENERGY_KEY: False, AtomicDataDict.EDGE_ENERGY_KEY: True}
        found = [module for module in modules(model, READOUT) if module.out_field in makes]
        if len(found) != 1:
            raise ValueError(
                f"the model has {len(found) or 'no'} modules {READOUT.name} that make the energies of atoms or edges, "
                "and the inputs of one are needed: models of NequIP and Allegro have it."
            )
        (module,) = found
        return cls(module, str(module.field), makes[module.out_field])


@dataclass(frozen=True)
class Readings:
    """What a model says of structures, and what its readout was given.

    Args:
        features: the readout's input for each atom of all structures, shape (n_atoms, n_features)
        forces: predicted, in eV/Å, shape (n_atoms, 3)
        n_atoms: of each structure, shape (n_structures,)
    """

    features: np.ndarray
    forces: np.ndarray
    n_atoms: np.ndarray


def take_readings(model: GraphModel, frames: Iterable[AtomicDataDict.Type]) -> Readings:
    """Run a model on structures that carry the neighbour lists it needs, and keep what its readout is given.

    Raises:
        ValueError: as of :meth:`Readout.of`
    """
    readout, given = Readout.of(model), []
    hook = readout.module.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0][readout.field].detach()))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    features, forces = [], []
    try:
        with evaluation_mode(model):
            for frame in frames:
                graph = AtomicDataDict.to_(frame.copy(), device)
                out = model(graph)
                forces.append(out[AtomicDataDict.FORCE_KEY].detach().double().cpu().numpy())
                x = given.pop().double()
                if readout.of_edges:
                    x = _summed(x, graph[AtomicDataDict.EDGE_INDEX_KEY][0], len(forces[-1]))
                features.append(x.cpu().numpy())
    finally:
        hook.remove()
    return Readings(np.concatenate(features), np.concatenate(forces), np.array([len(f) for f in forces]))


def _summed(x: torch.Tensor, center: torch.Tensor, n_atoms: int) -> torch.Tensor:
    """Features of edges summed over those of each atom, (n_edges, n_features) -> (n_atoms, n_features)."""
    return x.new_zeros((n_atoms, x.shape[1])).index_add(0, center, x)
