"""The complete NequIP config of each run, composed by Hydra, as one option of a config group.

The folder holds a primary config ``grid.yaml`` and ``training/RUN.yaml`` for each run. A run is then

    nequip-train -cp FOLDER -cn grid +training=RUN

and all of them ``--multirun '+training=glob(*)'``, with any of Hydra's launchers.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nequip_elemtransfer.output.atomic import write_text
from nequip_elemtransfer.study.config.study_file import NONE
from nequip_elemtransfer.study.grid import SOURCE, Grid, Run, run_folder, structures_in

_HERE = "${hydra:runtime.output_dir}"
RESTART = "restart.ckpt"
_STEPS_BETWEEN_RESTARTS = 50
_VALIDATE_LAST = {"_target_": "nequip_elemtransfer.ValidateLastStep"}
PRIMARY, GROUP = "grid", "training"
_CALLBACKS = "nequip_elemtransfer.study.run.callbacks."
_FORMER_CALLBACKS = "nequip_elemtransfer.study.training_callbacks."  # in studies begun with an earlier layout


def compose_configs(grid: Grid) -> dict[str, str]:
    """Name -> config, as YAML, of every run.

    Raises:
        ValueError: a config that cannot be composed or does not suit a study
    """
    kinds = dict.fromkeys((run.config, run.overrides) for run in grid.runs)  # sizes and seeds share theirs
    composed = {(config, overrides): compose_config(Path(config), overrides) for config, overrides in kinds}
    configs = {run.name: training_config(run, grid, composed[run.config, run.overrides]) for run in grid.runs}
    return {name: option_text(config) for name, config in configs.items()}


def write_configs(configs: Mapping[str, str], out: Path) -> None:
    """Write the configs of :func:`compose_configs` into the folder of a study.

    Raises:
        ValueError: a run that was made with other settings
    """
    for name, text in configs.items():
        _refuse_other_settings(config_of(out, name), text, run_folder(out, name))
    write_group(out, PRIMARY, GROUP, configs, out / "runs")


def write_group(out: Path, primary: str, group: str, options: Mapping[str, str], folder: Path, **settings: Any) -> None:
    """Write a primary config and a config group of Hydra.

    Args:
        out: folder of the study
        primary, group: their names
        options: name -> YAML, see :func:`option_text`
        folder: that holds one of each option's name for what is run with it
        settings: of the primary config
    """
    (out / PRIMARY / group).mkdir(parents=True, exist_ok=True)
    for name, text in options.items():
        write_text(out / PRIMARY / group / f"{name}.yaml", text)
    sweep = {"dir": str(folder.resolve()), "subdir": "${hydra:runtime.choices." + group + "}"}
    write_text(out / PRIMARY / f"{primary}.yaml", yaml.safe_dump({**settings, "hydra": {"sweep": sweep}}))


def config_of(out: Path, run: str) -> Path:
    """The file of a run's config."""
    return out / PRIMARY / GROUP / f"{run}.yaml"


def option_text(content: Mapping[str, Any]) -> str:
    """YAML of an option of a config group, which stands for the whole config."""
    return "# @package _global_\n" + yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def written_config(out: Path, run: str) -> dict[str, Any]:
    """The config of a run as :func:`write_configs` left it, interpolations as they are written.

    Each start of a study makes it anew from the user's configs, or refuses the folder; so what it calls is what the
    user asked for, wherever the folder came from.
    """
    config: dict[str, Any] = yaml.safe_load(config_of(out, run).read_text(encoding="utf-8"))
    return config


def validation_size(config: Mapping[str, Any]) -> int | None:
    """Labelled structures that a training validates on; None if the config does not tell, or its file is not there."""
    if config["trainer"].get("limit_val_batches") == 0:
        return 0
    data: Any = OmegaConf.create(dict(config)).data
    path, split = (OmegaConf.select(data, key) for key in ("val_file_path", "split_dataset.val"))
    if isinstance(split, int):
        return split
    return len(structures_in(path)) if isinstance(path, str) and Path(path).is_file() else None


def training_config(run: Run, grid: Grid, composed: DictConfig) -> dict[str, Any]:
    """The config of a run: the user's, with the run's overrides, data and seed, and what a study needs besides.

    Besides: validation and test before and after the training, metrics in a CSV file, a clock, and a checkpoint to
    continue from after each validation.

    Args:
        run: the run
        grid: that it belongs to
        composed: its config with its overrides, see :func:`compose_config`

    Raises:
        ValueError: the config does not suit a study
    """
    config: Any = OmegaConf.to_container(composed, resolve=False)
    for section in ("data", "trainer", "training_module"):
        if not isinstance(config.get(section), dict):
            raise ValueError(f"{run.config} has no section `{section}`, so it is no config of nequip-train.")
    _refuse_other_checkpoints(config, run.config)
    trainer = config["trainer"]
    trainer["callbacks"] = _with_own_ending(trainer["callbacks"])
    if run.settings["start"] != SOURCE:
        config["run"] = ["train", "test"] if grid.validation == NONE else ["val", "train", "test"]
        _set_seed(config, run.settings["seed"])
        _set_structures(config, run, grid)
        if grid.validation == NONE:
            _hold_none_back(config, run.config)
        if grid.validate_every is not None and run.settings["size"]:
            epochs = round(grid.validate_every / _steps_per_epoch(run, composed))
            trainer["check_val_every_n_epoch"] = max(1, epochs)
    trainer["logger"] = {
        "_target_": "lightning.pytorch.loggers.CSVLogger",
        "save_dir": _HERE,
        "name": "metrics",
        "version": "",
    }
    trainer["callbacks"] += _callbacks(_epochs_between_restarts(run, composed, trainer))
    trainer["enable_progress_bar"] = False  # of no use in a log
    return config


def compose_config(path: Path, overrides: Sequence[str]) -> DictConfig:
    """A config with overrides, as Hydra composes it for ``nequip-train``; interpolations are left in.

    Raises:
        ValueError: Hydra's message in one sentence
    """
    try:
        with initialize_config_dir(config_dir=str(path.parent), version_base=None):
            return compose(path.stem, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path.name} with {list(overrides)} is refused by Hydra: {reason}") from None


def _refuse_other_checkpoints(config: Mapping[str, Any], path: str) -> None:
    """The best checkpoint must be found by its name, and the first one in the list is the one that is tested."""
    callbacks = config["trainer"].get("callbacks")
    saving = [entry for entry in (callbacks if isinstance(callbacks, list) else []) if _saves(entry)]
    if not saving or saving[0].get("filename") != "best" or saving[0].get("dirpath") != _HERE:
        raise ValueError(
            f"{path} must have a ModelCheckpoint in trainer.callbacks, the first with filename: best and dirpath: "
            f"{_HERE}, so that the study finds the model."
        )


def _set_seed(config: dict[str, Any], seed: int) -> None:
    """The seed of random weights and of the order of batches, wherever the config has them."""
    config["data"]["seed"] = seed
    model = config["training_module"].get("model")
    if isinstance(model, dict) and "seed" in model:
        model["seed"] = seed
    if "seed" in config:
        config["seed"] = seed


def _set_structures(config: dict[str, Any], run: Run, grid: Grid) -> None:
    data = config["data"]
    files = {"train_file_path": run.training_set, "test_file_path": list(grid.test_sets.values())}
    if grid.validation is not None:
        files["val_file_path"] = run.training_set if grid.validation == NONE else grid.validation
    for key, value in files.items():
        if not value:
            continue
        if key not in data:
            raise ValueError(
                f"{run.config} has no data.{key}: `structures` needs configs whose data section names files, as that "
                "of ASEDataModule does; without `structures` the configs bring their own data."
            )
        data[key] = value


def _hold_none_back(config: dict[str, Any], path: str) -> None:
    """Train on all, the last state being the model: ``best.ckpt``, saved at the end of each epoch.

    NequIP asks for a validation set; it is given the training set, of which it then reads no batch.
    """
    trainer = config["trainer"]
    trainer["limit_val_batches"] = 0
    trainer.pop("check_val_every_n_epoch", None)
    others = [entry for entry in trainer["callbacks"] if not _saves(entry) and entry != _VALIDATE_LAST]
    scheduler = config["training_module"].get("lr_scheduler") or {}
    monitors = [str(entry.get("_target_")) for entry in others if "monitor" in entry]
    if monitors or "monitor" in scheduler:
        raise ValueError(
            f"{path} goes by the validation error ({', '.join(monitors) or 'lr_scheduler'}), which is not known with "
            "`structures.validation: none`: take a schedule that ends by itself, or a validation set."
        )
    trainer["callbacks"] = [_saving("best", 1), *others]


def _with_own_ending(callbacks: list[Any]) -> list[Any]:
    """Callbacks that validate the last step, without those that keep the last state, which a study does itself.

    Lightning refuses two that save alike.
    """
    best = next(entry for entry in callbacks if _saves(entry))
    kept = [entry for entry in callbacks if entry is best or not _saves(entry) or "monitor" in entry]
    return [*(entry for entry in kept if entry != _VALIDATE_LAST), _VALIDATE_LAST]


def _epochs_between_restarts(run: Run, composed: DictConfig, trainer: Mapping[str, Any]) -> int:
    """Those between validations; where there are none, about fifty steps, and more than one epoch.

    Lightning tells two callbacks that save by how often they do.
    """
    if trainer.get("limit_val_batches") != 0:
        return trainer.get("check_val_every_n_epoch") or 1
    return max(2, round(_STEPS_BETWEEN_RESTARTS / _steps_per_epoch(run, composed)))


def _steps_per_epoch(run: Run, composed: DictConfig) -> int:
    batch = OmegaConf.select(composed, "data.train_dataloader.batch_size", default=1)
    return math.ceil((run.settings["size"] or 1) / batch)


def _callbacks(every_n_epochs: int) -> list[dict[str, Any]]:
    return [
        {"_target_": _CALLBACKS + "TrainingClock"},
        {"_target_": "nequip_elemtransfer.RestoreBatchOrder"},
        _saving(Path(RESTART).stem, every_n_epochs),
    ]


def _saving(filename: str, every_n_epochs: int) -> dict[str, Any]:
    """A callback that keeps the last state."""
    return {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": _HERE,
        "filename": filename,
        "every_n_epochs": every_n_epochs,
        "save_on_train_epoch_end": True,  # with EMA a checkpoint must not be saved inside a validation
        "enable_version_counter": False,
    }


def _saves(entry: Any) -> bool:
    return isinstance(entry, dict) and str(entry.get("_target_", "")).endswith(".ModelCheckpoint")


def _refuse_other_settings(path: Path, text: str, folder: Path) -> None:
    if not folder.exists() or not path.exists():
        return
    before = path.read_text(encoding="utf-8").replace(_FORMER_CALLBACKS, _CALLBACKS).splitlines()
    # a study that was begun before there was this callback goes on with it
    now = [line for line in text.splitlines() if line in before or not line.endswith(_VALIDATE_LAST["_target_"])]
    if before == now:
        return
    old, new = next((a, b) for a, b in zip([*before, ""], [*now, ""]) if a != b)
    raise ValueError(
        f"the run {folder.name} was made with other settings ({old.strip()!r}, now {new.strip()!r}): give another "
        f"--out, or delete {folder} to make it again."
    )
