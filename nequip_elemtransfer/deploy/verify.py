"""Is a deployed file the model it was made from? Compare the two where deployed files go wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from nequip.data import AtomicDataDict, get_field_type
from nequip.nn import GraphModel

from nequip_elemtransfer.deploy.calibration import graphs_of
from nequip_elemtransfer.deploy.deployed import DeployedModel, Prediction, predict_graph
from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.uncertainty.mahalanobis import Uncertainty
from nequip_elemtransfer.uncertainty.readout import take_readings

TrialFrames = dict[str, AtomicDataDict.Type]

_STRAIN = torch.tensor([[0.02, 0.01, -0.015], [0.0, -0.015, 0.01], [0.0, 0.0, 0.01]], dtype=torch.float64)

# TorchScript specialises after the first calls, and a fault may only show then
_CALLS = 3


@dataclass(frozen=True)
class Difference:
    """Largest difference between a deployed file and its model on one structure.

    Args:
        structure: what it is
        n_atoms: in it
        energy: in eV per atom
        forces: of any component in eV/Å
        virial: of any component in eV per atom
        uncertainty: of any atom's, as a part of it; None if the file gives none
    """

    structure: str
    n_atoms: int
    energy: float
    forces: float
    virial: float
    uncertainty: float | None = None

    @property
    def values(self) -> list[float]:
        """All that there are."""
        found = (self.energy, self.forces, self.virial, self.uncertainty)
        return [value for value in found if value is not None]

    def within(self, tolerance: float) -> bool:
        """Whether all are, and are numbers."""
        return all(value <= tolerance for value in self.values)


def tolerance(model_dtype: str, tf32: bool) -> float:
    """Largest force difference in eV/Å; the same number holds for energy and virial, in eV per atom."""
    if tf32:
        return 1e-2  # 10 bits are kept of 23, and which products are rounded depends on the compiler
    return {"float32": 1e-4, "float64": 1e-8}[model_dtype]


def extra_inputs(model: GraphModel) -> list[str]:
    """What a model takes of a whole structure besides its cell, such as a charge."""
    usual = (AtomicDataDict.CELL_KEY, AtomicDataDict.PBC_KEY, AtomicDataDict.NUM_NODES_KEY)
    fields = [f for f in model.model_input_fields if get_field_type(f, error_on_unregistered=False) == "graph"]
    return [f for f in fields if f not in usual]


def check_structures(example: AtomicDataDict.Type, cutoffs: np.ndarray, extra: Sequence[str] = ()) -> TrialFrames:
    """A structure of the training data and three made from it or from nothing, without neighbour lists.

    Args:
        example: of the training data
        cutoffs: of each pair of types in Å, shape (n_types, n_types)
        extra: :func:`extra_inputs` of the model, kept from the training structure
    """
    kept = {name: example[name] for name in extra if name in example}
    frame = kept | _frame(
        example[AtomicDataDict.POSITIONS_KEY],
        example[AtomicDataDict.CELL_KEY].view(3, 3),
        example[AtomicDataDict.ATOM_TYPE_KEY].reshape(-1),
        example.get(AtomicDataDict.PBC_KEY, torch.zeros(3, dtype=torch.bool)).view(3),
    )
    periodic = bool(frame[AtomicDataDict.PBC_KEY].any())
    return {
        "training structure": frame,
        "dimer": kept | dimers(cutoffs),
        "strained cell" if periodic else "strained structure": _strained(frame),
        "doubled cell" if periodic else "two copies": _doubled(frame, float(cutoffs.max())),
    }


def made_up_crystal(cutoffs: np.ndarray) -> AtomicDataDict.Type:
    """A rattled diamond lattice of all types in turn, for when the training data cannot be read."""
    n_types, length = len(cutoffs), 0.45 * cutoffs.mean() * 4 / np.sqrt(3)
    sites = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4
    copies = -(-n_types // len(sites))
    sites = np.concatenate([sites + [i, 0, 0] for i in range(copies)])
    positions = length * sites + np.random.default_rng(0).normal(0, 0.02 * length, sites.shape)
    types = torch.arange(len(sites)) % n_types
    cell = torch.diag(torch.tensor([copies * length, length, length], dtype=torch.float64))
    return _frame(torch.as_tensor(positions), cell, types, torch.ones(3, dtype=torch.bool))


def dimers(cutoffs: np.ndarray) -> AtomicDataDict.Type:
    """One pair for each type, of it and the next, at half its cutoff; the pairs do not see each other."""
    n_types, reach = len(cutoffs), 2.5 * cutoffs.max()
    positions, types = [], []
    for t in range(n_types):
        u = (t + 1) % n_types
        start, direction = np.array([t * reach, 0.0, 0.0]), np.array([0.6, 0.64, 0.48])
        positions += [start, start + 0.5 * cutoffs[t, u] * direction]
        types += [t, u]
    cell = torch.diag(torch.tensor([n_types * reach, reach, reach], dtype=torch.float64))
    return _frame(torch.as_tensor(np.array(positions)), cell, torch.tensor(types), torch.ones(3, dtype=torch.bool))


def beyond_cutoffs(cutoffs: np.ndarray) -> AtomicDataDict.Type:
    """For each type a pair within reach and an atom that its own cutoff leaves out; the triples do not see each other.

    A model that is given all pairs within the longest cutoff must make nothing of that atom.
    """
    n_types, longest = len(cutoffs), cutoffs.max()
    positions, types = [], []
    for t in range(n_types):
        u = int(cutoffs[t].argmin())
        start, direction = np.array([5 * t * longest, 0.0, 0.0]), np.array([0.48, 0.6, 0.64])
        near, far = 0.5 * cutoffs[t, u], 0.5 * (cutoffs[t, u] + longest)
        positions += [start, start + near * np.array([-1.0, 0.0, 0.0]), start + far * direction]
        types += [t, u, u]
    cell = torch.diag(torch.tensor([5 * n_types, 5, 5]) * torch.tensor(longest, dtype=torch.float64))
    return _frame(torch.as_tensor(np.array(positions)), cell, torch.tensor(types), torch.ones(3, dtype=torch.bool))


def expected(
    model: GraphModel, frames: TrialFrames, device: str, uncertainty: Uncertainty | None = None
) -> dict[str, Prediction]:
    """What the eager model says of each structure; ask before an export, which scripts the model in place.

    Args:
        uncertainty: of the model, if the file shall give it; computed from what the readout is given, without the
            module that is exported
    """
    model, found = model.to(device), {}
    for name, graph in zip(frames, graphs_of(model, list(frames.values()))):
        found[name] = predict_graph(model, AtomicDataDict.to_(graph, torch.device(device)))
        if uncertainty is not None:
            features = take_readings(model, [graph]).features
            sigma, grades = uncertainty.forces_uncertainty(features), uncertainty.grades(features)
            found[name] = replace(found[name], uncertainty=sigma, grades=grades)
    return found


def compare_predictions(
    deployed: DeployedModel, frames: TrialFrames, expected: Mapping[str, Prediction]
) -> list[Difference]:
    """Run a deployed file on each structure, with the neighbour list it asks for, and compare."""
    return [
        _difference(name, [deployed.predict(deployed.graph(frame)) for _ in range(_CALLS)], expected[name])
        for name, frame in frames.items()
    ]


def report(differences: Sequence[Difference], tolerance: float) -> str:
    """The differences as a table."""
    rows = [[d.structure, str(d.n_atoms), *(f"{value:.1e}" for value in d.values)] for d in differences]
    header = ["structure", "atoms", "energy (eV/atom)", "forces (eV/Å)", "virial (eV/atom)", "σ (relative)"]
    header = header[: len(rows[0])]
    rows.append(["tolerance", "", *[f"{tolerance:.0e}"] * (len(header) - 2)])
    return table(header, rows, [False] + [True] * (len(header) - 1))


def _difference(name: str, found: Sequence[Prediction], expected: Prediction) -> Difference:
    n_atoms = len(expected.forces)

    def largest(quantity: str) -> float:
        # a NaN stays a NaN
        return float(np.max([np.abs(getattr(f, quantity) - getattr(expected, quantity)) for f in found]))

    parts = [_relative(found, expected, name) for name in ("uncertainty", "grades")]
    given = [part for part in parts if part is not None]
    energy, forces, virial = largest("energy") / n_atoms, largest("forces"), largest("virial") / n_atoms
    return Difference(name, n_atoms, energy, forces, virial, float(np.max(given)) if given else None)


def _relative(found: Sequence[Prediction], expected: Prediction, quantity: str) -> float | None:
    """Largest difference of an atom as a part of what is expected; infinite if the file does not give it."""
    values = getattr(expected, quantity)
    if values is None:
        return None
    given = [getattr(f, quantity) for f in found]
    return float(np.max([np.inf if g is None else np.max(np.abs(g - values) / values) for g in given]))


def _strained(frame: AtomicDataDict.Type) -> AtomicDataDict.Type:
    deformation = torch.eye(3, dtype=torch.float64) + _STRAIN
    return frame | {
        AtomicDataDict.POSITIONS_KEY: frame[AtomicDataDict.POSITIONS_KEY] @ deformation,
        AtomicDataDict.CELL_KEY: frame[AtomicDataDict.CELL_KEY] @ deformation,
    }


def _doubled(frame: AtomicDataDict.Type, r_max: float) -> AtomicDataDict.Type:
    """Twice the cell along a periodic direction; without one, a copy beside the atoms, half a cutoff away."""
    positions, cell = frame[AtomicDataDict.POSITIONS_KEY], frame[AtomicDataDict.CELL_KEY].view(3, 3)
    periodic = frame[AtomicDataDict.PBC_KEY].view(3).nonzero().flatten().tolist()
    factors = torch.ones((3, 1), dtype=torch.float64)
    if periodic:
        factors[periodic[0]] = 2.0
        shift = cell[periodic[0]]
    else:
        width = positions[:, 0].max() - positions[:, 0].min()
        shift = torch.tensor([float(width) + 0.5 * r_max, 0.0, 0.0], dtype=torch.float64)
    return frame | {
        AtomicDataDict.POSITIONS_KEY: torch.cat([positions, positions + shift]),
        AtomicDataDict.ATOM_TYPE_KEY: frame[AtomicDataDict.ATOM_TYPE_KEY].repeat(2),
        AtomicDataDict.CELL_KEY: (factors * cell).view(1, 3, 3),
    }


def _frame(positions: torch.Tensor, cell: torch.Tensor, types: torch.Tensor, pbc: torch.Tensor) -> AtomicDataDict.Type:
    return {
        AtomicDataDict.POSITIONS_KEY: positions.double(),
        AtomicDataDict.CELL_KEY: cell.double().view(1, 3, 3),
        AtomicDataDict.ATOM_TYPE_KEY: types,
        AtomicDataDict.PBC_KEY: pbc.view(1, 3),
    }
