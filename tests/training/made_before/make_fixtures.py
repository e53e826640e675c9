"""Makes ``fixtures/``: what users had made with this package before its modules were moved to other folders.

They are of commit 861b721bf6c75dd264e9a47726d02642645848e9, with NequIP 0.19.1 and PyTorch 2.13.0 on a CPU. Made with
any later commit they would prove nothing, so to make them again:

    git worktree add /tmp/before 861b721
    PYTHONPATH=/tmp/before:tests:tests/training OMP_NUM_THREADS=1 python tests/training/made_before/make_fixtures.py

All is done in the folder ``/tmp/fixture``, whose paths the fixtures therefore hold; only real commands make files.

===============  ========================================================================================
``structures/``  silicon, germanium, and germanium whose stresses are not all known
``si/``          a source, of NequIP alone
``plain/``       a transfer by the key, ordinary training
``tuned/``       ``ParameterGroups``, ``LowRankUpdates``, ``AnchorToStart``, ``Stages``, ``RestoreBatchOrder``
``replay/``      two types, ``ReplayLoader``
``plan/``        what ``plan`` wrote, its ``train.yaml`` trained with ``LabelledSquaredError``
``study/``       a study in ``out/``: two trainings finished and evaluated, one interrupted, one not started
``expected``     ``.npz``: energies (eV) and forces (eV/Å) that each model gave ``structures/Ge_val.xyz``, as it is and
                 after its training had gone on to its end; ``.json``: test errors of the two trainings, finished
===============  ========================================================================================

Each checkpoint is of the first of three epochs, beside the config of its training.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import yaml
from ase.calculators.singlepoint import SinglePointCalculator
from real_runs import MODEL, training_config, transfer_config, write_structures

from nequip_elemtransfer.train.replay import label

MADE_IN = Path("/tmp/fixture")
FIXTURES = Path(__file__).parent / "fixtures"
STRUCTURES = Path("structures")
SMALL = MODEL | {"model_dtype": "float64", "num_layers": 1}
EPOCHS = 3

GROUPS = {
    "_target_": "nequip_elemtransfer.ParameterGroups",
    "lr": 0.01,
    "roles": {"radial_networks": "frozen", "interactions": 0.5, "type_rows": {"weight_decay": 0.1}},
}
CALLBACKS = [
    {"_target_": "nequip_elemtransfer.LowRankUpdates", "ranks": {"interactions": 2}},
    {"_target_": "nequip_elemtransfer.AnchorToStart", "decay": {"readout": 1.0}},
    {"_target_": "nequip_elemtransfer.Stages", "stages": {1: {"readout": 0.5}, 3: {"radial_networks": 0.3}}},
    {"_target_": "nequip_elemtransfer.RestoreBatchOrder"},
]
REPLAY = {
    "_target_": "nequip_elemtransfer.ReplayLoader",
    "replay": {
        "_target_": "nequip.data.dataset.ASEDataset",
        "file_path": "structures/Si_train.xyz",
        "transforms": "${data.transforms}",
    },
    "share": 1 / 3,
    "batch_size": 3,
}
STUDY = {
    "source": "si/last.ckpt",
    "scratch": "scratch.yaml",
    "transfer": "transfer.yaml",
    "structures": {"train": "structures/Ge_train.xyz", "test": "structures/Ge_val.xyz"},
    "sizes": [3, "all"],
    "starts": ["scratch", "corresponding_states"],
    "crystal": {"structure": "diamond", "formula": "Ge", "a": 5.654},
    "reference": {
        "calculator": {
            "_target_": "nequip_elemtransfer.data.stillinger_weber.stillinger_weber_calculator",
            "element": "Ge",
        },
    },
    "properties": {"sizes": [3], "supercell": 1, "phonon_supercell": 2, "surfaces": ["111"]},
    "stability": {
        "sizes": [3],
        "starts": ["crystal"],
        "temperatures": [100],
        "runs": 1,
        "time": 0.02,
        "supercell": 1,
        "engine": "eager",
    },
    "plan": {"sizes": [3]},
}
INTERRUPTED, NOT_STARTED = "corresponding_states-n6-seed0", "scratch-n6-seed0"


def main():
    shutil.rmtree(MADE_IN, ignore_errors=True)
    (MADE_IN / STRUCTURES).mkdir(parents=True)
    write_structures(MADE_IN / STRUCTURES, Si=["Si"], Ge=["Ge"])
    without_some_stresses()
    train("si", training_config(STRUCTURES, "Si", SMALL), check=False)
    expected = {}
    for name, config in configs().items():
        train(name, config)
        expected |= predictions(name)
    make_plan()
    expected |= predictions("plan", config="train", overrides=("max_steps=6", "trainer.max_epochs=-1"))
    errors = make_study()
    shutil.rmtree(FIXTURES, ignore_errors=True)
    kept = [p for name in ("structures", "si", *configs(), "plan", "study") for p in (MADE_IN / name).rglob("*")]
    for path in kept:
        if path.is_file() and not unneeded(path):
            to = FIXTURES / path.relative_to(MADE_IN)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    np.savez_compressed(FIXTURES / "expected.npz", **expected)
    (FIXTURES / "expected.json").write_text(json.dumps(errors, indent=1) + "\n")


def configs():
    """Name -> config, of the transfers by the key."""
    plain, tuned = (transfer_config(STRUCTURES, "si/last.ckpt") for _ in range(2))
    tuned["training_module"]["optimizer"] = {"_target_": "torch.optim.AdamW", "param_groups": GROUPS}
    tuned["trainer"]["callbacks"] += CALLBACKS
    replay = transfer_config(STRUCTURES, "si/last.ckpt", elements={"Si": "Si", "Ge": "Si"})
    replay["data"]["train_dataloader"] = REPLAY
    made = {"plain": plain, "tuned": tuned, "replay": replay}
    for config in made.values():
        config["trainer"]["max_epochs"] = EPOCHS
        config["trainer"]["callbacks"][0]["save_on_train_epoch_end"] = True
    return made


def without_some_stresses():
    frames = ase.io.read(MADE_IN / STRUCTURES / "Ge_train.xyz", ":")
    for atoms in frames[::2]:
        known = {name: value for name, value in atoms.calc.results.items() if name in ("energy", "forces")}
        atoms.calc = SinglePointCalculator(atoms, **known)
    ase.io.write(MADE_IN / STRUCTURES / "Ge_some_stresses.xyz", frames)


def train(name, config, check=True):
    """The first epoch; the checkpoint is ``NAME/last.ckpt``."""
    (MADE_IN / name).mkdir()
    (MADE_IN / name / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    nequip_train(name, "config", f"{name}/out", "trainer.max_epochs=1")
    shutil.copy(MADE_IN / name / "out" / "last.ckpt", MADE_IN / name / "last.ckpt")


def nequip_train(folder, config, out, *overrides):
    command("nequip-train", "-cp", MADE_IN / folder, "-cn", config, f"hydra.run.dir={out}", *overrides)


def command(name, *args):
    subprocess.run([Path(sys.executable).parent / name, *map(str, args)], cwd=MADE_IN, check=True)


def predictions(name, config="config", overrides=()):
    """Energies and forces of a model as it is, and after its training has gone on."""
    checkpoint = f"{name}/last.ckpt"
    nequip_train(name, config, f"{name}/ended", f"++ckpt_path={checkpoint}", *overrides)
    found = {}
    for state, path in (("as_it_is", checkpoint), ("ended", f"{name}/ended/last.ckpt")):
        frames = label(str(MADE_IN / path), ase.io.read(MADE_IN / STRUCTURES / "Ge_val.xyz", ":"), ("energy", "forces"))
        found[f"{name}_{state}_energies"] = np.array([atoms.get_potential_energy() for atoms in frames])
        found[f"{name}_{state}_forces"] = np.array([atoms.get_forces() for atoms in frames])
    return found


def make_plan():
    command(
        *("nequip-elemtransfer", "plan", "si/last.ckpt", "structures/Ge_some_stresses.xyz"),
        *("--elements", "Ge=Si", "--out", "plan"),
    )
    nequip_train(
        "plan", "train", "plan/out", "max_steps=6", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"
    )
    shutil.copy(MADE_IN / "plan" / "out" / "last.ckpt", MADE_IN / "plan" / "last.ckpt")


def make_study():
    """The study with two trainings undone; their test errors."""
    folder = MADE_IN / "study"
    folder.mkdir()
    labelled = {"_target_": "nequip_elemtransfer.train.partial_labels.LabelledSquaredError"}
    fields = {
        "forces_mse": "forces",
        "energy_mse": {"_target_": "nequip.data.PerAtomModifier", "field": "total_energy"},
    }
    entries = [
        {"name": name, "field": field, "coeff": 1.0, "ignore_nan": True, "metric": labelled}
        for name, field in fields.items()
    ]
    scratch = training_config(STRUCTURES, "Ge", SMALL | {"type_names": ["Ge"], "r_max": 4.3}, r_max=4.3)
    for name, config in (("scratch", scratch), ("transfer", transfer_config(STRUCTURES, "none"))):
        config["training_module"]["loss"] = {"_target_": "nequip.train.MetricsManager", "metrics": entries}
        config["trainer"]["callbacks"][0] |= {"monitor": "val0_epoch/weighted_sum", "save_on_train_epoch_end": True}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    study = ("nequip-elemtransfer", "study", "run", "study/study.yaml", "--out", "study/out")
    command(*study)
    out = folder / "out"
    errors = {entry["name"]: entry["tests"] for entry in json.loads((out / "report.json").read_text())["runs"]}
    for name in (INTERRUPTED, NOT_STARTED):
        shutil.rmtree(out / "runs" / name)
    one_epoch = ("trainer.max_epochs=1", "run=[val,train]")
    nequip_train("study/out/grid", "grid", out / "runs" / INTERRUPTED, f"+training={INTERRUPTED}", *one_epoch)
    command("nequip-elemtransfer", "study", "report", out)
    return {name: errors[name] for name in (INTERRUPTED, NOT_STARTED)}


def unneeded(path):
    """What a training leaves besides, and what would name this machine's environment."""
    part_of = set(path.relative_to(MADE_IN).parts)
    if part_of & {"ended", ".hydra", "hparams.yaml", "log.txt", ".nequip-elemtransfer.lock"}:
        return True
    if path.suffix in (".log", ".png", ".html"):
        return True
    if "study" in part_of and path.suffix == ".ckpt":
        return path.name == "last.ckpt" or (path.name == "restart.ckpt" and INTERRUPTED not in part_of)
    return "study" not in part_of and ("out" in part_of or path.name == "report.json")


if __name__ == "__main__":
    main()
