"""Structures, labels that a model makes for them, and transfers to them."""

import numpy as np
import torch
from ase import Atoms
from nequip.data import AtomicDataDict, from_ase

from nequip_elemtransfer.architecture.builders import build, pair_cutoffs
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.transfer.transfer import Transfer


def structure(types, names, seed=0, n_atoms=12, scale=1.0):
    """A periodic frame with random positions, at most `scale` times 7 Å wide, of the given types in turn."""
    rng = np.random.default_rng(seed)
    cell = 7.0 * scale * (np.eye(3) + 0.05 * np.random.default_rng(99).uniform(-1, 1, (3, 3)))
    # a jittered grid keeps atoms apart
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)[:n_atoms] / 3
    atoms = Atoms("X" * n_atoms, scaled_positions=grid + rng.uniform(0, 0.12, (n_atoms, 3)), cell=cell, pbc=True)
    frame = from_ase(atoms)
    frame[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor([types[i % len(types)] for i in range(n_atoms)])
    return frame


def evaluate(model, architecture, frame):
    out = model(with_neighbors(frame, pair_cutoffs(architecture).max()))
    return out[AtomicDataDict.TOTAL_ENERGY_KEY].item(), out[AtomicDataDict.FORCE_KEY].detach().numpy()


def stress(model, architecture, frame):
    out = model(with_neighbors(frame, pair_cutoffs(architecture).max()))
    return out[AtomicDataDict.STRESS_KEY].detach().numpy()[0]


def labelled_by(model, architecture, types, scale=1.0, n_frames=6):
    """Frames with a model's own energies, forces and stresses."""
    frames = []
    for i in range(n_frames):
        frame = with_neighbors(structure(types, None, seed=i, scale=scale * (1 + 0.01 * i)), 12.0)
        energy, forces = evaluate(model, architecture, frame)
        frame[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[energy]])
        frame[AtomicDataDict.FORCE_KEY] = torch.tensor(forces)
        frame[AtomicDataDict.STRESS_KEY] = torch.tensor(stress(model, architecture, frame))[None]
        frames.append(frame)
    return frames


def labelled(n_types, seed=5):
    """Frames of all types with arbitrary labels, for settings that fit nothing to them."""
    frames = []
    for i in range(2):
        frame = with_neighbors(structure(list(range(n_types)), None, seed + i), 12.0)
        frame[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[-10.0 * i]])
        frame[AtomicDataDict.FORCE_KEY] = torch.full((12, 3), 0.1)
        frames.append(frame)
    return frames


def transfer(source, elements, **key):
    config = TransferConfig.from_mapping({"source": "source", "elements": elements, **key})
    result = Transfer(config, source, lambda r_max: labelled(len(elements))).run()
    model = build(result.architecture)
    model.load_state_dict(result.state)
    return model.eval(), result
