"""Makes the checkpoints in ``fixtures/`` with NequIP 0.7, 0.8 and 0.16, and what those versions say of some structures.

    python tests/checkpoints/old_checkpoints/make_fixtures.py --environments FOLDER [--only NAME ...]

Each version gets an environment of its own in FOLDER, from the package registry. These versions unpickle checkpoints in
full, which this PyTorch does only where TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: it is, for these environments alone.

A fixture is a checkpoint as ``nequip-train`` left it without the state of optimizer and callbacks (``best.ckpt``), and
``reference.npz``: structures with their energies (eV), forces (eV/Å) and stresses (eV/Å³) by the code of that version.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"
PACKAGES = ["torch==2.13.0", "setuptools<81"]
VERSIONS = {  # of NequIP, and of Allegro that goes with it
    "0.7.1": "0.4.0",
    "0.8.0": "0.6.0",
    "0.16.2": "0.8.0",
}
N_TRAIN, N_VAL = 4, 2

COMMON = {"seed": 1, "model_dtype": "float64", "r_max": 3.6, "l_max": 2, "avg_num_neighbors": 9.0}
NEQUIP = COMMON | {"_target_": "nequip.model.NequIPGNNModel", "num_layers": 2, "num_features": 2, "num_bessels": 4}
ALLEGRO = COMMON | {
    "_target_": "allegro.model.AllegroModel",
    "l_max": 1,
    "num_layers": 2,
    "num_scalar_features": 4,
    "num_tensor_features": 2,
    "allegro_mlp_hidden_layers_width": 6,
}
PER_TYPE = {
    "per_type_energy_scales": [1.1, 0.7],
    "per_type_energy_shifts": [-1.0, -2.5],
    "per_type_energy_scales_trainable": True,
    "per_type_energy_shifts_trainable": True,
}
ZBL = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["Si", "C"]}

# name: version, EMA, options of the model
CASES = {
    # what the published models of this kind have: lists for each type, and the averages of what was trained
    "v08_allegro": (
        "0.8.0",
        True,
        ALLEGRO
        | PER_TYPE
        | {
            "type_names": ["Si", "C"],
            "radial_chemical_embed": {
                "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
                "num_bessels": 4,
                "polynomial_cutoff_p": 5,
            },
            "scalar_embed_mlp_hidden_layers_width": 6,
            "readout_mlp_hidden_layers_width": 4,
            "pair_potential": ZBL,
        },
    ),
    # irreps of both parities in the order of that time, roots that are trained, the default depth of radial networks
    "v08_nequip": (
        "0.8.0",
        True,
        NEQUIP
        | PER_TYPE
        | {
            "type_names": ["Si", "C"],
            "radial_mlp_width": 5,
            "bessel_trainable": True,
            "num_bessels": 2,
            "per_type_energy_scales": [11000.0, 7000.0],  # the network gives little
        },
    ),
    # even irreps only, an envelope that a pair potential shares, sums that are not normalised
    "v08_nequip_even": (
        "0.8.0",
        False,
        NEQUIP
        | {
            "type_names": ["Si", "C"],
            "parity": False,
            "radial_mlp_depth": 1,
            "radial_mlp_width": 5,
            "polynomial_cutoff_p": 4,
            "avg_num_neighbors": None,
            "per_type_energy_shifts": [-1.0, -2.5],
            "pair_potential": ZBL,
        },
    ),
    # one type, a module that is called differently now, the default width of radial networks, compiled by TorchScript
    "v07_nequip": (
        "0.7.1",
        False,
        NEQUIP
        | {
            "type_names": ["Si"],
            "num_features": 1,
            "radial_mlp_depth": 1,
            "per_type_energy_shifts": [-1.5],
            "compile_mode": "script",
        },
    ),
    # another layout of its options, which is not read
    "v07_allegro": (
        "0.7.1",
        False,
        ALLEGRO
        | {
            "type_names": ["Si"],
            "parity_setting": "o3_restricted",
            "scalar_embed": {
                "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
                "num_bessels": 4,
                "two_body_embedding_dim": 4,
                "two_body_mlp_hidden_layers_depth": 1,
                "two_body_mlp_hidden_layers_width": 6,
            },
            "allegro_mlp_hidden_layers_depth": 1,
            "readout_mlp_hidden_layers_depth": 1,
            "readout_mlp_hidden_layers_width": 4,
            "per_type_energy_shifts": [-1.5],
        },
    ),
    # today's irreps, but neither today's radial networks nor today's envelope of a pair potential
    "v16_nequip": (
        "0.16.2",
        False,
        NEQUIP
        | {
            "type_names": ["Si", "C"],
            "radial_mlp_width": 5,
            "polynomial_cutoff_p": 4,
            "per_type_energy_shifts": {"Si": -1.0, "C": -2.5},
            "pair_potential": ZBL,
        },
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", type=Path, required=True, help="folder for the environments")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="these fixtures (default: all)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in args.only:
        if args.inside:
            make(name)
        else:
            python = environment(args.environments.resolve(), CASES[name][0])
            command = [python, __file__, "--environments", args.environments, "--only", name, "--inside"]
            variables = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}
            subprocess.run(command, check=True, env=os.environ | variables)


def environment(folder: Path, version: str) -> Path:
    """Python of an environment with this version of NequIP, which is made if it is not there."""
    python = folder / f"nequip-{version}" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        models = [f"nequip=={version}", f"nequip-allegro=={VERSIONS[version]}"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES, *models], check=True)
    return python


def make(name: str) -> None:
    """Train and evaluate one model, in the environment of its version."""
    import torch
    import yaml

    version, ema, model = CASES[name]
    out = FIXTURES / name
    out.mkdir(parents=True, exist_ok=True)
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that the configuration names no folder of this machine
        write_data(model["type_names"])
        Path("config.yaml").write_text(yaml.safe_dump(configuration(version, ema, model)), encoding="utf-8")
        program = Path(sys.executable).parent / "nequip-train"
        subprocess.run([program, "-cp", folder, "-cn", "config", "hydra.run.dir=run"], check=True)
        checkpoint = torch.load("best.ckpt", map_location="cpu", weights_only=False)
        os.chdir(start)
    torch.save(checkpoint | {"optimizer_states": [], "lr_schedulers": [], "callbacks": {}}, out / "best.ckpt")
    write_reference(out, model)


def configuration(version: str, ema: bool, model: dict) -> dict:
    """The config of ``nequip-train``."""
    types = model["type_names"]
    names = "model_type_names" if version == "0.16.2" else "chemical_symbols"
    metrics = {"_target_": "nequip.train.EnergyForceMetrics", "coeffs": {"total_energy_mae": 1.0, "forces_mae": 1.0}}
    module = {
        "_target_": f"nequip.train.{'EMA' if ema else 'NequIP'}LightningModule",
        "loss": {"_target_": "nequip.train.EnergyForceLoss", "coeffs": {"total_energy": 1.0, "forces": 1.0}},
        "val_metrics": metrics,
        "test_metrics": metrics,
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.02},
        "model": model,
    }
    best = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": ".",
        "filename": "best",
        "save_on_train_epoch_end": True,
    }
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            "train_file_path": "train.xyz",
            "val_file_path": "val.xyz",
            "transforms": [
                {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", names: types},
                {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": model["r_max"]},
            ],
            "train_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 2},
            "val_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 2},
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": 3,
            "logger": False,
            "enable_progress_bar": False,
            "callbacks": [best],
        },
        "training_module": module | ({"ema_decay": 0.9} if ema else {}),
        "global_options": {"allow_tf32": False},
    }


def write_data(types: list) -> None:
    """Rattled crystals with the energies and forces of a Lennard-Jones potential."""
    import ase.io
    import numpy as np
    from ase.build import bulk
    from ase.calculators.lj import LennardJones
    from ase.calculators.singlepoint import SinglePointCalculator

    random, frames = np.random.default_rng(0), []
    for _ in range(N_TRAIN + N_VAL):
        atoms = bulk("Si", a=5.4, cubic=True)
        atoms.symbols = random.permutation([types[i % len(types)] for i in range(8)])
        atoms.positions += random.normal(0, 0.1, atoms.positions.shape)
        atoms.calc = LennardJones(sigma=2.1, epsilon=0.5, rc=5.0)
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        frames.append(atoms)
    ase.io.write("train.xyz", frames[:N_TRAIN])
    ase.io.write("val.xyz", frames[N_TRAIN:])


def structures(types: list) -> list:
    """A cluster with one atom out of reach of the others, and two crystals, one smaller than the cutoff radius."""
    import numpy as np
    from ase import Atoms

    random = np.random.default_rng(1)
    corners = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], dtype=float)
    cluster = 1.9 * corners + random.normal(0, 0.15, (8, 3))
    cluster[-1] += 20.0
    found = [Atoms(positions=cluster)]
    for cell, n_atoms in (
        ([[4.4, 0.3, 0.0], [-0.5, 4.1, 0.2], [0.4, 0.6, 4.7]], 4),
        ([[2.6, 0.1, 0.2], [0.3, 2.5, 0.0], [0.0, -0.4, 2.8]], 1),
    ):
        sites = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0.0, 0.5], [0.1, 0.5, 0.5]])[:n_atoms]
        sites = sites + random.normal(0, 0.02, sites.shape)
        found.append(Atoms(scaled_positions=sites, cell=cell, pbc=True, numbers=[1] * n_atoms))
    for i, atoms in enumerate(found):
        atoms.symbols = [types[(i + j) % len(types)] for j in range(len(atoms))]
    return found


def write_reference(out: Path, model: dict) -> None:
    """What the old code says with the weights that it evaluates with."""
    import numpy as np
    import torch
    from nequip.data import AtomicDataDict, from_ase
    from nequip.data.transforms import NeighborListTransform
    from nequip.model import ModelFromCheckpoint
    from nequip.utils.global_state import set_global_state

    set_global_state()
    trained, types = ModelFromCheckpoint(str(out / "best.ckpt"))["sole_model"].eval(), model["type_names"]
    found = {}
    for i, atoms in enumerate(structures(types)):
        data = from_ase(atoms)
        data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor([types.index(symbol) for symbol in atoms.symbols])
        said = trained(NeighborListTransform(model["r_max"])(data))
        found |= {f"positions_{i}": atoms.positions, f"numbers_{i}": atoms.numbers}
        found |= {f"cell_{i}": atoms.cell.array, f"pbc_{i}": atoms.pbc}
        values = {"energy": said[AtomicDataDict.TOTAL_ENERGY_KEY], "forces": said[AtomicDataDict.FORCE_KEY]}
        if atoms.pbc.all():
            values["stress"] = said[AtomicDataDict.STRESS_KEY].reshape(3, 3)
        found |= {f"{quantity}_{i}": value.detach().double().numpy() for quantity, value in values.items()}
    np.savez_compressed(out / "reference.npz", **found)


if __name__ == "__main__":
    main()
