"""The trainings of a race: which start, on which fold, by which schedule; their structures and their configs.

The folder of a race is that of a study as far as its trainings go, so that :mod:`.study.run` runs and continues them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from nequip_elemtransfer.race.entrants import Numbers
from nequip_elemtransfer.race.laps import PREDICTIONS, Lap
from nequip_elemtransfer.race.rule import FRACTION
from nequip_elemtransfer.study.grid import Grid, Run
from nequip_elemtransfer.study.run.training_configs import compose_config, option_text, training_config

# validations of a schedule; the rule's fraction falls on one
MARKS = 12
STOP_MARK = round(MARKS * FRACTION)
# of the schedules: the race's own, that of a third of the steps, and that with half of the structures
FULL, SHORT, HALF = "full", "short", "half"
_HERE = "${hydra:runtime.output_dir}"


@dataclass(frozen=True)
class Leg:
    """One training of a race.

    Args:
        start: name of its start
        fold: number of the fold that is held out
        schedule: ``full``; ``short``, a third of the steps; ``half``, a third of the steps with half of the structures
        train: indices of the structures that are trained on
        held_out: of those that are not
        every: optimizer steps between validations
    """

    start: str
    fold: int
    schedule: str
    train: tuple[int, ...]
    held_out: tuple[int, ...]
    every: int

    @property
    def name(self) -> str:
        """Of the training and its folder."""
        schedule = "" if self.schedule == FULL else f"-{self.schedule}"
        return f"{self.start}{schedule}-fold{self.fold}"

    @property
    def marks(self) -> int:
        """Validations up to the end of its schedule."""
        return MARKS if self.schedule == FULL else STOP_MARK

    @property
    def run(self) -> Run:
        """As the runner of studies knows it."""
        settings = {"start": self.start, "size": None, "seed": self.fold}
        return Run(self.name, settings, "", (), transfers=False)

    def lap(self, out: Path, mark: int) -> Lap:
        """The training up to a validation."""
        return Lap(self.run, out, mark * self.every, len(self.held_out))

    def files(self, out: Path) -> tuple[Path, Path]:
        """Of the structures that it is trained on, and of those that are held out."""
        half = "-half" if self.schedule == HALF else ""
        folder = out / "structures"
        return folder / f"fold{self.fold}{half}-train.xyz", folder / f"fold{self.fold}-held_out.xyz"


def leg(start: str, fold: int, schedule: str, train: np.ndarray, held_out: np.ndarray, budget: "Budget") -> Leg:
    """A training whose validations are as near to a twelfth of the steps apart as its epochs allow."""
    epoch = math.ceil(len(train) / budget.batch)
    every = epoch * max(1, round(budget.steps / MARKS / epoch))
    return Leg(start, fold, schedule, tuple(train.tolist()), tuple(held_out.tolist()), every)


@dataclass(frozen=True)
class Budget:
    """What each training of a race is given.

    Args:
        steps: optimizer steps, as near as whole epochs come to it
        batch: structures in a step
        device: ``cpu`` or ``cuda``
    """

    steps: int
    batch: int
    device: str = "cpu"


def leg_config(leg: Leg, config: Path, numbers: Numbers, species: Sequence[str], out: Path, device: str) -> str:
    """The config of a training, as an option of Hydra's config group.

    Args:
        leg: the training
        config: of its start on all structures
        numbers: that its own structures give
        species: chemical symbol of each type
        out: folder of the race
        device: ``cpu`` or ``cuda``
    """
    composed = compose_config(config, ())
    content: Any = OmegaConf.to_container(composed, resolve=False)
    content["max_steps"], content["device"] = leg.marks * leg.every, device
    for path, value in numbers.items():
        _set(content, path, value)
    _set_eager(content)
    train, held_out = leg.files(out)
    batch = min(int(content["data"]["train_dataloader"]["batch_size"]), len(leg.train))
    for name in ("split_dataset", "key_mapping", "val_dataloader", "test_dataloader"):
        content["data"].pop(name, None)
    whole = {"_target_": "torch.utils.data.DataLoader", "batch_size": 16}
    content["data"] |= {"train_file_path": str(train), "val_file_path": str(held_out), "test_file_path": str(held_out)}
    content["data"] |= {"val_dataloader": whole, "test_dataloader": whole}
    content["data"]["train_dataloader"]["batch_size"] = batch
    content["training_module"]["test_metrics"] = content["training_module"]["val_metrics"]
    epochs = leg.every // math.ceil(len(leg.train) / batch)
    trainer = content["trainer"]
    trainer.pop("limit_val_batches", None)
    trainer["check_val_every_n_epoch"] = epochs
    trainer["callbacks"] = [_last_state(leg.every)]
    finished = training_config(leg.run, Grid((leg.run,)), DictConfig(content))
    finished["trainer"]["callbacks"].append(
        {
            "_target_": "nequip.train.callbacks.TestTimeXYZFileWriter",
            "out_file": f"{_HERE}/{PREDICTIONS}",
            "chemical_symbols": list(species),
        }
    )
    return option_text(finished)


def _last_state(every: int) -> dict[str, Any]:
    """What is tested: no validation error chooses among the states of a training, or it would be too low."""
    return {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": _HERE,
        "filename": "best",
        "every_n_train_steps": every,
        "enable_version_counter": False,
    }


def _set(content: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *parents, last = path
    for name in parents:
        content = content[name]
    content[last] = value


def _set_eager(content: dict[str, Any]) -> None:
    """A few hundred steps take no longer than their compilation, and each fold would be compiled anew."""
    if "element_transfer" in content:
        content["element_transfer"]["compile_mode"] = "eager"
    elif isinstance(model := content["training_module"]["model"], Mapping):
        model["compile_mode"] = "eager"  # type: ignore[index]
