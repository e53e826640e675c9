"""What in a config of one's own makes a transfer end worse than it need, or wait: each in a sentence, with the fix.

Configs that train from random weights on many structures are right for that. A transfer starts near its end and trains
on few structures: an epoch is a step or two, so that what counts epochs counts too little.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import EarlyStopping
from nequip.data import AtomicDataDict
from nequip.data.datamodule import NequIPDataModule
from nequip.train import EMALightningModule, MetricsManager
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.builders import nested
from nequip_elemtransfer.architecture.duration import compiling_pays, step_seconds
from nequip_elemtransfer.checkpoints.stored_model import is_transferred
from nequip_elemtransfer.config import KIND_NAMES, LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.labels import labels_of

logger = RankedLogger(__name__, rank_zero_only=True)

_FIELDS: dict[str, LabelKind] = {
    AtomicDataDict.TOTAL_ENERGY_KEY: "energy",
    AtomicDataDict.FORCE_KEY: "forces",
    AtomicDataDict.STRESS_KEY: "stress",
    AtomicDataDict.VIRIAL_KEY: "stress",
}

# Optimizer steps without an improvement after which a training may end, and a learning rate fall.
_PATIENCE, _PLATEAU = 300, 100
# Structures whose error tells one state of a training from another.
_FEWEST_VALIDATED = 3
# An average over more than this share of a training holds what the training began with.
_LARGEST_MEMORY = 0.2
# Examples and `plan` have 0.002; 0.005 and 0.01 are rates of a start from random weights.
_HIGHEST_RATE = 0.003
# Structures that are looked at for labels.
_LOOKED_AT = 20


@dataclass(frozen=True)
class Setting:
    """What a config sets up, in optimizer steps.

    Args:
        steps: of the whole training, infinite where only time ends it
        labels: kinds of label that the training structures have and the model predicts
        loss: kinds of label that the loss has
        metrics: kinds of label that choose the checkpoint; None where nothing is validated
        validated: structures that are validated on, None where nothing is
        patience: without an improvement, of each early stopping
        plateau: without an improvement until the learning rate falls, if that is how it falls
        memory: of the moving average of the weights, 0 if there is none
        rate: learning rate of an optimizer of Adam's kind, else 0
        compiled: whether the model is to be compiled
        step_seconds: that a step takes which is not compiled, None where it is not known
    """

    steps: float
    labels: tuple[LabelKind, ...] = ()
    loss: tuple[LabelKind, ...] = LABEL_KINDS
    metrics: tuple[LabelKind, ...] | None = LABEL_KINDS
    validated: int | None = None
    patience: tuple[float, ...] = ()
    plateau: float | None = None
    memory: float = 0.0
    rate: float = 0.0
    compiled: bool = False
    step_seconds: float | None = None


def give_advice(trainer: Trainer, module: LightningModule, data: NequIPDataModule) -> None:
    """Say in the log what :func:`advice` there is, and that the model will be compiled."""
    setting = setting_of(trainer, module, data)
    for sentence in advice(setting):
        logger.warning(f"element_transfer: {sentence}")
    if setting.compiled:
        logger.info(
            "element_transfer: the first step compiles the model, for one to three minutes on a processor, in which "
            "the training seems to stand still; `element_transfer.compile_mode: eager` does without."
        )


def advice(setting: Setting) -> list[str]:
    """Sentences on what makes the training end worse than it need, or wait."""
    return [*_of_labels(setting), *_of_validation(setting), *_of_optimizer(setting), *_of_compiling(setting)]


def setting_of(trainer: Trainer, module: LightningModule, data: NequIPDataModule) -> Setting:
    """What a config sets up; the data are set up for training."""
    batches = _share(_length(data.train_dataloader()), trainer.limit_train_batches)
    epoch = max(1.0, batches / trainer.accumulate_grad_batches)
    between = _between_validations(trainer, batches) / trainer.accumulate_grad_batches
    stops = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]
    validates = bool(trainer.limit_val_batches) and between < math.inf
    compiled = _compiled(module)
    return Setting(
        steps=_steps(trainer, epoch),
        labels=_labels(module, data),
        loss=_kinds(module.loss),
        metrics=_kinds(module.val_metrics[0]) if validates else None,
        validated=sum(map(len, data.val_dataset)) if validates else None,
        patience=tuple(stop.patience * between for stop in stops),
        plateau=_plateau(module, epoch),
        memory=_memory(module),
        rate=_rate(module),
        compiled=compiled,
        step_seconds=_step_seconds(trainer, module, data) if compiled else None,
    )


def _of_labels(setting: Setting) -> Iterator[str]:
    lost = [kind for kind in setting.labels if kind not in setting.loss]
    if lost:
        names = " and ".join(KIND_NAMES[kind] for kind in lost)
        yield (
            f"the training structures have {names} and `training_module.loss` does not, so the start's are lost again"
            f"{' and stiffness and lattice constants are left to chance' if 'stress' in lost else ''}: take "
            "`nequip.train.EnergyForceStressLoss` with weights as in the train.yaml of `nequip-elemtransfer plan`."
        )
    if setting.metrics is None:
        return
    unseen = [kind for kind in setting.labels if kind not in setting.metrics]
    if unseen:
        names = " and ".join(KIND_NAMES[kind] for kind in unseen)
        yield (
            f"the checkpoint is chosen without {names}, which the structures have: add them with weights to "
            "`training_module.val_metrics`, as in `nequip.train.EnergyForceStressMetrics`."
        )


def _of_validation(setting: Setting) -> Iterator[str]:
    if setting.validated is not None and setting.validated < _FEWEST_VALIDATED:
        several = setting.validated > 1
        yield (
            f"{setting.validated} structure{'s' if several else ''} alone choose{'' if several else 's'} the "
            f"checkpoint, which is chance: validate on {_FEWEST_VALIDATED} or more, or train on all without validation "
            "(`trainer.limit_val_batches: 0`) and take the last state."
        )
    for steps in setting.patience:
        if steps < min(_PATIENCE, setting.steps):
            yield (
                f"early stopping ends the training after {steps:g} steps without an improvement, since it counts "
                f"validations: set `patience` to {math.ceil(_PATIENCE * _times(steps))} times what it is, or leave "
                "early stopping out."
            )


def _of_optimizer(setting: Setting) -> Iterator[str]:
    if setting.rate > _HIGHEST_RATE:
        yield (
            f"the learning rate, {setting.rate:g}, is one for random weights and forgets the start: set "
            "`training_module.optimizer.lr` to 0.002."
        )
    if setting.plateau is not None and setting.plateau < _PLATEAU:
        yield (
            f"the learning rate falls after {setting.plateau:g} steps without an improvement, since "
            "`ReduceLROnPlateau` counts epochs: take `torch.optim.lr_scheduler.CosineAnnealingLR` with `T_max` the "
            "number of steps and `interval: step`."
        )
    if setting.memory > _LARGEST_MEMORY * setting.steps:
        yield (
            f"`ema_decay` averages the weights over {setting.memory:g} steps, and the training has {setting.steps:g}: "
            f"set it to {_decay(setting.steps):g}."
        )


def _of_compiling(setting: Setting) -> Iterator[str]:
    if not setting.compiled or setting.step_seconds is None:
        return
    if not compiling_pays(setting.steps, setting.step_seconds):
        yield (
            "the model is compiled first, for one to three minutes, and the whole training takes about "
            f"{setting.steps * setting.step_seconds:.0f} s without: set `element_transfer.compile_mode: eager`."
        )


def _times(steps: float) -> float:
    return 1 / max(steps, 1e-9)


def _decay(steps: float) -> float:
    """Of an average over a twentieth of the training, and not over more than 100 steps, as the examples have it."""
    return round(1 - 1 / min(100.0, max(2.0, steps / 20)), 3)


def _length(loader: Any) -> float:
    """Batches of an epoch; infinite where a loader does not know, as one of a stream."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return math.inf


def _share(whole: float, part: float | int) -> float:
    """Lightning's limits are numbers of batches, or as floats shares of them."""
    return max(1.0, float(min(whole, part)) if isinstance(part, int) else whole * part)


def _between_validations(trainer: Trainer, batches: float) -> float:
    """Batches from one validation to the next."""
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_interval
    if isinstance(interval, float):
        return interval * batches * (every or 1)
    return float(interval) if every is None else min(float(interval), batches * every)


def _steps(trainer: Trainer, epoch: float) -> float:
    by_steps = trainer.max_steps if trainer.max_steps != -1 else math.inf
    by_epochs = trainer.max_epochs * epoch if trainer.max_epochs not in (None, -1) else math.inf
    return min(by_steps, by_epochs)


def _labels(module: LightningModule, data: NequIPDataModule) -> tuple[LabelKind, ...]:
    dataset = data.train_dataset[0]
    places = np.unique(np.linspace(0, len(dataset) - 1, _LOOKED_AT).round().astype(int))
    kinds = labels_of([dataset[int(i)] for i in places]).kinds
    predicted = all(part["architecture"].get("do_derivatives", True) for part in _transferred(module))
    return kinds if predicted else tuple(kind for kind in kinds if kind == "energy")


def _transferred(module: LightningModule) -> list[dict]:
    return [part for part in nested(module.hparams.get("model")) if is_transferred(part)]


def _kinds(metrics: MetricsManager) -> tuple[LabelKind, ...]:
    """Kinds of label with a weight; all, where a metric takes what it likes."""
    if any(entry.field is None for entry in metrics.entries.values()):
        return LABEL_KINDS
    found = {_FIELDS.get(entry.field.field) for entry in metrics.entries.values() if entry.coeff}
    return tuple(kind for kind in LABEL_KINDS if kind in found)


def _plateau(module: LightningModule, epoch: float) -> float | None:
    section = module.lr_scheduler_config or {}
    scheduler = section.get("scheduler") or {}
    if not str(scheduler.get("_target_")).endswith(".ReduceLROnPlateau"):
        return None
    unit = epoch if section.get("interval", "epoch") == "epoch" else 1.0
    return float(scheduler.get("patience", 10)) * section.get("frequency", 1) * unit


def _memory(module: LightningModule) -> float:
    """Steps over which weights are averaged: the mean age of what an exponential average holds."""
    if not isinstance(module, EMALightningModule) or not 0 < module.ema.decay < 1:
        return 0.0
    return round(1 / (1 - module.ema.decay), 1)


def _rate(module: LightningModule) -> float:
    optimizer = module.optimizer_config or {}
    name = str(optimizer.get("_target_")).rpartition(".")[2]
    return float(optimizer.get("lr", 0.001)) if name.startswith("Adam") and "ScheduleFree" not in name else 0.0


def _compiled(module: LightningModule) -> bool:
    return any(part["architecture"].get("compile_mode") == "compile" for part in _transferred(module))


def _step_seconds(trainer: Trainer, module: LightningModule, data: NequIPDataModule) -> float | None:
    """Of an eager step on the processor; on a GPU it is not known before the model is there."""
    if not isinstance(trainer.accelerator, CPUAccelerator):
        return None
    return step_seconds(module, data.train_dataset[0][0], getattr(data.train_dataloader(), "batch_size", None) or 1)
