"""The models in ``fixtures/``, and what NequIP 0.5.6 and 0.6.1 said with them (see ``make_fixtures.py``)."""

import copy
from pathlib import Path

import numpy as np
import torch
import yaml
from ase import Atoms
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import NeighborListTransform

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = sorted(path.parent.name for path in FIXTURES.glob("*/config.yaml"))
TYPES = {"si": (14,), "hco": (1, 6, 8), "sic": (6, 14)}  # atomic numbers in the order of the types
QUANTITIES = {
    "energy": AtomicDataDict.TOTAL_ENERGY_KEY,
    "forces": AtomicDataDict.FORCE_KEY,
    "stress": AtomicDataDict.STRESS_KEY,
}


def config_of(name):
    """The configuration of a fixture, tensors and all."""
    return yaml.unsafe_load((FIXTURES / name / "config.yaml").read_text(encoding="utf-8"))


def state_of(name):
    """The weights of a fixture."""
    return torch.load(FIXTURES / name / "best_model.pth", weights_only=True)


def write_folder(folder, config, state):
    """A training folder."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.dump(copy.deepcopy(config)), encoding="utf-8")
    torch.save(state, folder / "best_model.pth")
    return folder


def changed(folder, name, **options):
    """A copy of a fixture with other options in its configuration."""
    return write_folder(folder, config_of(name) | options, state_of(name))


def in_precision(folder, name, precision):
    """A copy of a fixture with its network in ``float32`` or ``float64``.

    As the old predictions were made: 0.5 has one precision, 0.6 keeps energies in float64 around its network.
    """
    config, dtype = config_of(name), getattr(torch, precision)
    config["model_dtype" if config["nequip_version"] == "0.6.1" else "default_dtype"] = precision
    return write_folder(folder, config, {n: t.to(dtype) for n, t in state_of(name).items()})


def references(name, precision):
    """Structures of a fixture and the old predictions of a network in a precision, (atoms, {quantity: array}) each."""
    stored = np.load(FIXTURES / name / "reference.npz")
    for i in range(len([key for key in stored if key.startswith("positions_")])):
        kinds = ("numbers", "positions", "cell", "pbc")
        atoms = Atoms(**{kind: stored[f"{kind}_{i}"] for kind in kinds})
        keys = {quantity: f"{quantity}_{i}_{precision}" for quantity in QUANTITIES}
        yield atoms, {quantity: stored[key] for quantity, key in keys.items() if key in stored}


def predict(model, name, atoms, r_max):
    """Energy (eV), forces (eV/Å), and in a crystal stress (eV/Å³) of a model of today."""
    numbers = TYPES[name.split("_")[1]]
    data = from_ase(atoms)
    data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor([numbers.index(number) for number in atoms.numbers])
    out = model(NeighborListTransform(r_max)(data))
    shapes = {"energy": (), "forces": (len(atoms), 3), "stress": (3, 3)}
    return {q: out[key].detach().numpy().reshape(shapes[q]) for q, key in QUANTITIES.items() if key in out}
