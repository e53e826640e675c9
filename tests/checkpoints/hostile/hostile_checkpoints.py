"""Checkpoints that would run code in whoever loads them as NequIP does, and one honest checkpoint to make them from.

Each would leave a canary, an empty file, if its payload ran.
"""

import os
import pickle
import random
import subprocess
from pathlib import Path

import ase.io
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from nequip.train import NequIPLightningModule

MODEL = ("hyper_parameters", "model")
INFO = ("hyper_parameters", "info_dict")

# where a section of a configuration stands; the payload takes its place
PLACES = [
    MODEL,
    (*MODEL, "pair_potential"),
    (*MODEL, "type_embed_num_features"),
    (*MODEL, "architecture"),
    ("hyper_parameters", "num_datasets"),
    ("hyper_parameters", "optimizer"),
    ("hyper_parameters", "optimizer", "param_groups"),
    ("hyper_parameters", "optimizer", "betas"),
    ("hyper_parameters", "lr_scheduler"),
    ("hyper_parameters", "lr_scheduler", "scheduler"),
    ("hyper_parameters", "loss"),
    ("hyper_parameters", "loss", "extra_metrics"),
    ("hyper_parameters", "train_metrics"),
    ("hyper_parameters", "val_metrics"),
    ("hyper_parameters", "val_metrics", "coeffs"),
    ("hyper_parameters", "test_metrics"),
    ("hyper_parameters", "something_else"),
    INFO,
    (*INFO, "training_module"),
    (*INFO, "training_module", "_target_"),
    (*INFO, "training_module", "model"),
    (*INFO, "data"),
    (*INFO, "data", "train_file_path"),
    (*INFO, "data", "transforms"),
    (*INFO, "data", "transforms", 0),
    (*INFO, "data", "train_dataloader"),
    (*INFO, "data", "train_dataloader", "collate_fn"),
    (*INFO, "data", "stats_manager"),
    (*INFO, "trainer"),
    (*INFO, "trainer", "callbacks"),
    (*INFO, "trainer", "callbacks", 0),
    (*INFO, "trainer", "logger"),
    (*INFO, "runs"),
    (*INFO, "versions"),
    (*INFO, "global_options"),
    ("callbacks",),
    ("loops",),
    ("hparams", "loss"),
]


def calls(canary, folder):
    """Sections that Hydra turns into the canary, by name."""
    canary = str(canary)
    touch = ["touch", canary]
    code = f"open({canary!r}, 'w')"
    evil = folder / f"{Path(canary).name}.pkl"
    evil.write_bytes(pickle.dumps(Pickled("open", canary)))
    return {
        "os.system": {"_target_": "os.system", "command": f"touch {canary}"},
        "os.system, positional": {"_target_": "os.system", "_args_": [f"touch {canary}"]},
        "os.mkdir": {"_target_": "os.mkdir", "path": canary},
        "subprocess.run": {"_target_": "subprocess.run", "args": touch},
        "subprocess.Popen": {"_target_": "subprocess.Popen", "args": touch},
        "builtins.open": {"_target_": "builtins.open", "file": canary, "mode": "w"},
        "builtins.eval": {"_target_": "builtins.eval", "_args_": [code]},
        "builtins.exec": {"_target_": "builtins.exec", "_args_": [code], "_convert_": "all"},
        "pathlib": {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": [canary]}]},
        "hydra": {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.mkdir", "path": canary}},
        "torch.load": {"_target_": "torch.load", "f": str(evil), "weights_only": False},
        "pickle.load": {"_target_": "pickle.loads", "_args_": [{"_target_": "pathlib.Path.read_bytes", "self": "x"}]},
        "numpy.load": {"_target_": "numpy.load", "file": str(evil), "allow_pickle": True},
        "partial": {"_target_": "os.mkdir", "path": canary, "_partial_": True},
        "functools": {"_target_": "functools.partial", "_args_": [{"_target_": "os.mkdir", "path": canary}]},
        "not recursive": {"_target_": "os.mkdir", "path": canary, "_recursive_": False},
        "list": {"_target_": ["os", "mkdir"], "path": canary},
        "mapping": {"_target_": {"_target_": "os.mkdir", "path": canary}},
        "number": {"_target_": 3, "path": canary},
        "nothing": {"_target_": None, "path": canary},
        "one word": {"_target_": "open", "file": canary, "mode": "w"},
        "spaces": {"_target_": " os.mkdir", "path": canary},
        "main": {"_target_": "__main__.Evil", "path": canary},
        "interpolation": "${oc.create:{_target_: os.mkdir, path: " + canary + "}}",
        "environment": {"_target_": "${oc.env:EVIL,os.mkdir}", "path": canary},
        "key": {"${oc.env:HOME}": canary},
        "look-up": "${element_transfer:model}",
        "command in a string": {"_target_": "nequip.train.MetricsManager", "metrics": "${oc.env:HOME}"},
    }


class Pickled:
    """Unpickled in full, it leaves the canary."""

    def __init__(self, how, canary):
        self.how, self.canary = how, str(canary)

    def __reduce__(self):
        return {
            "open": (open, (self.canary, "w")),
            "os.system": (os.system, (f"touch {self.canary}",)),
            "os.mkdir": (os.mkdir, (self.canary,)),
            "subprocess.Popen": (subprocess.Popen, (["touch", self.canary],)),
            "exec": (exec, (f"open({self.canary!r}, 'w')",)),
            "eval": (eval, (f"open({self.canary!r}, 'w')",)),
            "nested": (list, ([Pickled("open", self.canary)],)),
        }[self.how]


PICKLES = ["open", "os.system", "os.mkdir", "subprocess.Popen", "exec", "eval", "nested"]


def honest(architecture, data):
    """A checkpoint as ``nequip-train`` writes it; ``data`` is its training file."""
    metrics = {"_target_": "nequip.train.EnergyForceMetrics", "coeffs": {"total_energy_mae": 1.0, "forces_mae": 1.0}}
    training = {
        "_target_": "nequip.train.NequIPLightningModule",
        "loss": {"_target_": "nequip.train.EnergyForceLoss", "coeffs": {"total_energy": 1.0, "forces": 1.0}},
        "val_metrics": metrics,
        "test_metrics": metrics,
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
        "lr_scheduler": {
            "scheduler": {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "patience": 2},
            "monitor": "val0_epoch/weighted_sum",
        },
        "model": architecture,
    }
    info = {
        "versions": {"nequip": "0.19.0"},
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            "train_file_path": str(data),
            "val_file_path": str(data),
            "transforms": [
                {
                    "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                    "model_type_names": architecture["type_names"],
                },
                {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": architecture["r_max"]},
            ],
            "train_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 3},
            "stats_manager": {"_target_": "nequip.data.CommonDataStatisticsManager", "type_names": ["Si"]},
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "max_time": {"_target_": "datetime.timedelta", "hours": 1},
            "callbacks": [{"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "filename": "best"}],
        },
        "global_options": {"allow_tf32": False},
        "runs": ["train"],
        "training_module": training,
    }
    sections = ("optimizer", "lr_scheduler", "loss", "val_metrics", "test_metrics")
    hyper_parameters = {"model": architecture, "num_datasets": {"train": 1, "val": 1, "test": 1, "predict": 0}}
    hyper_parameters |= {name: training[name] for name in sections} | {"train_metrics": None, "info_dict": info}
    module = NequIPLightningModule(**{name: value for name, value in hyper_parameters.items() if name != "info_dict"})
    return {
        "epoch": 1,
        "global_step": 2,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": module.state_dict(),
        "callbacks": {"ModelCheckpoint": {"best_model_path": "", "best_model_score": None}},
        "loops": {"fit_loop": {"state_dict": {}}},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
    }


def structures(file, n=4):
    """Write labelled diamond cells of silicon."""
    frames = []
    for i in range(n):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True)
        atoms.rattle(0.05, seed=i)
        atoms.calc = SinglePointCalculator(atoms, energy=-35.0 + i, forces=atoms.positions * 0.1 - 0.1)
        frames.append(atoms)
    ase.io.write(file, frames)
    return file


def put(section, place, value):
    """The section with a value at a place; what is missing or in the way becomes a mapping.

    Nothing but the way there is copied: to copy a payload is to run it.
    """
    if not place:
        return value
    name, *rest = place
    if isinstance(name, int) and isinstance(section, list):
        return [*section[:name], put(section[name], rest, value), *section[name + 1 :]]
    inner = section if isinstance(section, dict) else {}
    return inner | {name: put(inner.get(name), rest, value)}


def buried(value, random_numbers):
    """The value itself, or some way down in lists and mappings."""
    for _ in range(random_numbers.randrange(4)):
        around = random_numbers.randrange(4)
        value = [
            [value],
            {"x": value},
            {"_target_": "nequip.train.MetricsManager", "metrics": [{"metric": value}]},
            {"_target_": "nequip.nn.pair_potential.ZBL", "units": value},
        ][around]
    return value


# that NequIP's loaders, or those of the sections, call at once
CALLED = [
    MODEL,
    (*MODEL, "model"),  # of `nequip.model.modify`
    (*MODEL, "pair_potential"),
    ("hyper_parameters", "loss"),
    ("hyper_parameters", "val_metrics", "extra_metrics"),
    ("hyper_parameters", "optimizer", "param_groups"),
    ("hyper_parameters", "lr_scheduler", "scheduler"),
    (*INFO, "data"),
    (*INFO, "data", "transforms", 0),
    (*INFO, "data", "train_dataloader", "collate_fn"),
]
WORKING = ["os.system", "os.mkdir", "subprocess.run", "builtins.open", "torch.load", "hydra"]


def generate(contents, folder: Path, n: int, seed: int = 0):
    """Write n different hostile checkpoints; gives (file, canary, what it is) of each.

    First each call that works at once wherever something is called; then anything anywhere, a third of it pickles.
    """
    random_numbers = random.Random(seed)
    direct = [(place, name) for place in CALLED for name in WORKING]
    made = []
    for i in range(n):
        file, canary = folder / f"hostile{i}.ckpt", folder / f"canary{i}"
        payloads = calls(canary, folder)
        if i < len(direct):
            place, name = direct[i]
            payload = payloads[name]
        elif i % 3 == 2:
            place, name = PLACES[i % len(PLACES)], PICKLES[(i // 3) % len(PICKLES)]
            payload = buried(Pickled(name, canary), random_numbers)
        else:
            place, name = PLACES[i % len(PLACES)], list(payloads)[i % len(payloads)]
            payload = buried(payloads[name], random_numbers)
        torch.save(_hostile(contents, place, payload, random_numbers), file)
        made.append((file, canary, f"{name} at {'.'.join(map(str, place))}"))
    return made


def _hostile(contents, place, payload, random_numbers):
    """The contents with a payload at a place; sometimes in the modifiers of an honest model besides."""
    changed = put(contents, place, payload)
    model = changed["hyper_parameters"]["model"]
    if place == (*MODEL, "model"):
        return put(changed, MODEL, model | {"_target_": "nequip.model.modify", "modifiers": []})
    if random_numbers.random() < 0.15:
        modifiers = [{"modifier": "modify_PerTypeScaleShift", "shifts": payload}]
        changed = put(changed, MODEL, {"_target_": "nequip.model.modify", "model": model, "modifiers": modifiers})
    return changed
