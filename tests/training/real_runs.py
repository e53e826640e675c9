"""Real ``nequip-train`` runs on tiny data: 8-atom diamond cells labelled with matscipy's Stillinger-Weber."""

import re
import subprocess
from pathlib import Path

import ase.io
import yaml
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from commands import run

from nequip_elemtransfer.data.stillinger_weber import stillinger_weber_calculator

PROJECT = Path(__file__).parents[2]
LATTICE = {"Si": 5.431, "Ge": 5.654}  # Å

MODEL = {
    "_target_": "nequip.model.NequIPGNNModel",
    "seed": 1,
    "model_dtype": "float32",
    "type_names": ["Si"],
    "r_max": 4.0,
    "num_layers": 2,
    "l_max": 1,
    "num_features": 4,
    "radial_mlp_width": 8,
    "avg_num_neighbors": 16.0,
    "per_type_energy_scales": 1.5,
    "per_type_energy_shifts": -4.3,
}


def structures(element, n, seed=0):
    """Rattled, strained conventional cells with energies (eV), forces (eV/Å) and stresses (eV/Å³)."""
    frames = []
    for i in range(n):
        atoms = bulk(element, "diamond", a=LATTICE[element] * (1 + 0.01 * (i % 3 - 1)), cubic=True)
        atoms.rattle(0.12, seed=seed * 1000 + i)
        atoms.calc = stillinger_weber_calculator(element)
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def write_structures(folder, **elements):
    """Fill a folder with NAME_train.xyz and NAME_val.xyz, 6 and 3 structures of each of the name's elements."""
    for name, symbols in elements.items():
        ase.io.write(folder / f"{name}_train.xyz", [a for e in symbols for a in structures(e, 6)])
        ase.io.write(folder / f"{name}_val.xyz", [a for e in symbols for a in structures(e, 3, seed=1)])
    return folder


def training_config(data, element, model, types=None, r_max=4.0):
    """A complete NequIP config; ``types`` and ``r_max`` may be look-ups."""
    return {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            "train_file_path": str(data / f"{element}_train.xyz"),
            "val_file_path": str(data / f"{element}_val.xyz"),
            "test_file_path": str(data / f"{element}_val.xyz"),
            "transforms": [
                {
                    "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                    "model_type_names": types or [element],
                },
                {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": r_max},
            ],
            "train_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 3, "shuffle": True},
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": 2,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "logger": False,
            "callbacks": [
                {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "dirpath": "${hydra:runtime.output_dir}",
                    "filename": "best",
                    "save_last": True,
                }
            ],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "loss": {"_target_": "nequip.train.EnergyForceLoss", "coeffs": {"total_energy": 1.0, "forces": 1.0}},
            "val_metrics": {
                "_target_": "nequip.train.EnergyForceMetrics",
                "coeffs": {"per_atom_energy_mae": 1.0, "forces_mae": 1.0},
            },
            "test_metrics": "${training_module.val_metrics}",
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
            "model": model,
        },
    }


def transfer_config(data, source, system="Ge", **key):
    """A config that starts Ge from a Si source, by default without a search for λ, which takes its time."""
    config = training_config(
        data, system, "${element_transfer:model}", "${element_transfer:type_names}", "${element_transfer:r_max}"
    )
    defaults = {"source": str(source), "elements": {"Ge": "Si"}, "length_scale": "covalent_radii"}
    return {"element_transfer": defaults | key, **config}


def train(folder: Path, config: dict, *overrides: str, check: bool = True, run=run) -> subprocess.CompletedProcess:
    """Run ``nequip-train`` in ``folder`` as ``run`` or ``run_anew`` does; outputs go to ``folder/out``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    options = ["-cp", folder, "-cn", "config", f"hydra.run.dir={folder}/out", *overrides]
    return run("nequip-train", *options, cwd=folder, check=check)


def package(checkpoint: Path, path: Path) -> Path:
    """Run ``nequip-package build``."""
    run("nequip-package", "build", checkpoint, path, cwd=path.parent)
    return path


def install(site: Path) -> Path:
    """Put what ``pip install`` knows of this source tree into a folder for the path, and return it."""
    information = site / "nequip_elemtransfer-0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nequip-elemtransfer\nVersion: 0\n")
    declared = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    groups = re.findall(r'\[project\.entry-points\."(.+)"\]\n((?:.+ = .+\n)+)', declared)
    lines = [f"[{group}]\n{names.replace(chr(34), '')}" for group, names in groups]
    (information / "entry_points.txt").write_text("\n".join(lines))
    return site
