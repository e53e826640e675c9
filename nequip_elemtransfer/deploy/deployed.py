"""A deployed file, run as its users run it: ASE, or the LAMMPS pair styles with their own inputs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.data.transforms import NeighborListTransform
from nequip.model.inference_models import load_compiled_model
from nequip.model.saved_models import ModelFromPackage
from nequip.utils.aoti_metadata import NEQUIP_AOTI_INPUTS_KEY, parse_aoti_keys

from nequip_elemtransfer.architecture.builders import initialize_nequip
from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.deploy.executable_stack import GLIBC_ADVICE
from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.deploy.mliap import MliapModel, one_rank
from nequip_elemtransfer.uncertainty.module import GRADE_KEY, UNCERTAINTY_KEY

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")

# what the LAMMPS pair styles give to a model
_PERIODIC_INPUTS = (
    AtomicDataDict.POSITIONS_KEY,
    AtomicDataDict.EDGE_INDEX_KEY,
    AtomicDataDict.ATOM_TYPE_KEY,
    AtomicDataDict.CELL_KEY,
    AtomicDataDict.EDGE_CELL_SHIFT_KEY,
)
_GHOST_INPUTS = _PERIODIC_INPUTS[:3]


@dataclass(frozen=True)
class Prediction:
    """What a model says about one structure.

    Args:
        energy: total energy in eV
        forces: in eV/Å, shape (n_atoms, 3)
        virial: −stress × volume in eV, shape (3, 3)
        uncertainty: σ of a force component in eV/Å for each atom, shape (n_atoms,); None if the model does not say
        grades: extrapolation grade of each atom, shape (n_atoms,); None if the model does not say
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    uncertainty: np.ndarray | None = None
    grades: np.ndarray | None = None


class DeployedModel:
    """A deployed file loaded from disk.

    Args:
        path: of the file, with one of the endings of :data:`.info.FILE_KINDS`; loading runs code from it
        device: ``cpu`` or ``cuda``

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it is damaged, was compiled for another device, or asks for an executable stack in vain
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self.info = read_info(path)
        if self.info["device"] not in (None, device):
            raise ValueError(f"{path} was compiled for {self.info['device']} and cannot run on {device}.")
        require_device(device)
        self.device = torch.device(device)
        self._model: Any
        initialize_nequip()
        if self.info["kind"] == "ML-IAP":
            self._model = MliapModel(path)
            self.type_names, self.r_max, metadata = self._model.type_names, self._model.r_max, {}
        elif self.info["kind"] == "package":
            self._model = ModelFromPackage(str(path))[_SOLE_MODEL_KEY].to(self.device).eval()
            metadata = self._model.metadata
            self.type_names, self.r_max = list(self._model.type_names), float(metadata["r_max"])
        else:
            self._model, metadata = _load_compiled(path, self.device)
            self.type_names, self.r_max = metadata["type_names"], metadata["r_max"]
        self._inputs = self._inputs_of(self.info, metadata)
        # LAMMPS gives ML-IAP all pairs within the largest cutoff
        cutoffs = None if self.info["kind"] == "ML-IAP" else self.info["per_edge_type_cutoff"]
        self._neighbors = neighbor_list(self.r_max, cutoffs, self.type_names)

    def graph(self, frame: AtomicDataDict.Type) -> AtomicDataDict.Type:
        """The frame with the neighbour list that the model needs, on its device."""
        return AtomicDataDict.to_(self._neighbors(frame.copy()), self.device)

    def predict(self, graph: AtomicDataDict.Type) -> Prediction:
        """Energy, forces and virial of a frame that carries its neighbour list."""
        if isinstance(self._model, MliapModel):
            return _mliap_prediction(self._model, graph)
        if self._inputs is None:
            return predict_graph(self._model, graph)
        if AtomicDataDict.CELL_KEY in self._inputs:
            return _prediction(self._model({k: graph[k] for k in self._inputs}), graph)
        ghosts, owners = with_ghost_atoms(graph)
        return _prediction(self._model({k: ghosts[k] for k in self._inputs}), graph, owners)

    @staticmethod
    def _inputs_of(info: dict[str, Any], metadata: dict[str, Any]) -> tuple[str, ...] | None:
        if NEQUIP_AOTI_INPUTS_KEY in metadata:
            return tuple(parse_aoti_keys(metadata[NEQUIP_AOTI_INPUTS_KEY]))
        if info["kind"] in ("package", "ML-IAP"):
            return None
        return _GHOST_INPUTS if info["pair_style"] == "allegro" else _PERIODIC_INPUTS


def _load_compiled(path: Path, device: torch.device) -> tuple[Any, dict[str, Any]]:
    try:
        return load_compiled_model(str(path), device)
    except (RuntimeError, OSError) as error:
        if "executable stack" in str(error):
            raise ValueError(f"{path} {GLIBC_ADVICE}.") from error
        raise


def require_device(device: str) -> None:
    """Check that a device is there.

    Raises:
        ValueError: if it is not
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no CUDA device here; use the machine that will run the file.")


def predict_graph(model: torch.nn.Module, graph: AtomicDataDict.Type) -> Prediction:
    """Energy, forces and virial from an eager model.

    Raises:
        ValueError: if the model computes no forces
    """
    return _prediction(model(graph.copy()), graph)


def neighbor_list(
    r_max: float, cutoffs: dict[str, dict[str, float]] | None, type_names: list[str]
) -> NeighborListTransform:
    """NequIP's neighbour list of a model's cutoffs in Å, as its ASE calculator makes it."""
    return NeighborListTransform(r_max=r_max, per_edge_type_cutoff=cutoffs, type_names=type_names)


def with_ghost_atoms(graph: AtomicDataDict.Type) -> tuple[AtomicDataDict.Type, torch.Tensor]:
    """A periodic frame as ``pair_style allegro`` sees it: images of atoms instead of a cell.

    Each image is there once, however many atoms see it.

    Returns:
        the frame without cell, and the index of the atom each atom or image is of
    """
    shift, (center, neighbor) = graph[AtomicDataDict.EDGE_CELL_SHIFT_KEY], graph[AtomicDataDict.EDGE_INDEX_KEY]
    positions, types = graph[AtomicDataDict.POSITIONS_KEY], graph[AtomicDataDict.ATOM_TYPE_KEY]
    outside = shift.abs().sum(dim=1) > 0  # (n_edges,)
    n_atoms = len(positions)
    of_edges = torch.cat([neighbor[outside].unsqueeze(1), shift[outside].round().long()], dim=1)  # (n_outside, 4)
    ghosts_of, number = torch.unique(of_edges, dim=0, return_inverse=True)  # (n_ghosts, 4), (n_outside,)
    cell = graph[AtomicDataDict.CELL_KEY].view(3, 3)
    images = positions[ghosts_of[:, 0]] + ghosts_of[:, 1:].to(positions.dtype) @ cell
    neighbor = neighbor.clone()
    owners = torch.cat([torch.arange(n_atoms, device=positions.device), ghosts_of[:, 0]])  # (n_atoms + n_ghosts,)
    neighbor[outside] = n_atoms + number
    ghosts = {
        AtomicDataDict.POSITIONS_KEY: torch.cat([positions, images]),
        AtomicDataDict.EDGE_INDEX_KEY: torch.stack([center, neighbor]),
        AtomicDataDict.ATOM_TYPE_KEY: types.reshape(-1)[owners],
    }
    return ghosts, owners


def _mliap_prediction(model: MliapModel, graph: AtomicDataDict.Type) -> Prediction:
    rank = one_rank(graph, *with_ghost_atoms(graph))
    model.predict(rank)
    return Prediction(float(rank.energy), rank.forces.numpy(), rank.virial.numpy())


def _prediction(out: AtomicDataDict.Type, graph: AtomicDataDict.Type, owners: torch.Tensor | None = None) -> Prediction:
    """Read a model's output; energies of images count for nothing, forces on them act on their atoms."""
    if AtomicDataDict.FORCE_KEY not in out:
        raise ValueError(
            "the model computes no forces (`do_derivatives: false`, or the modifier disable_ForceStressOutput), which "
            "every use of the file needs."
        )
    n_atoms = len(graph[AtomicDataDict.POSITIONS_KEY])
    energies, forces = out[AtomicDataDict.PER_ATOM_ENERGY_KEY].detach(), out[AtomicDataDict.FORCE_KEY].detach()
    if owners is not None:
        forces = torch.zeros_like(forces[:n_atoms]).index_add(0, owners, forces)
    if AtomicDataDict.VIRIAL_KEY in out:
        virial = out[AtomicDataDict.VIRIAL_KEY].detach()
    else:
        virial = -out[AtomicDataDict.STRESS_KEY].detach() * graph[AtomicDataDict.CELL_KEY].view(3, 3).det().abs()
    return Prediction(
        energy=float(energies[:n_atoms].double().sum()),
        forces=forces.double().cpu().numpy(),
        virial=virial.double().view(3, 3).cpu().numpy(),
        uncertainty=_of_atoms(out, UNCERTAINTY_KEY, n_atoms),
        grades=_of_atoms(out, GRADE_KEY, n_atoms),
    )


def _of_atoms(out: AtomicDataDict.Type, name: str, n_atoms: int) -> np.ndarray | None:
    return out[name].detach()[:n_atoms, 0].double().cpu().numpy() if name in out else None
