"""All that ``nequip-train`` does with a config before it trains, by its own code, and no training."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from lightning import LightningModule, Trainer
from nequip.data.datamodule import NequIPDataModule
from nequip.scripts.train import main as nequip_train
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from nequip_elemtransfer.key.training_checks import StartCheck

# What is printed of the log, and what is not.
_OURS = "nequip_elemtransfer"
_OTHERS = ("nequip", "lightning.pytorch.utilities.rank_zero", "pytorch_lightning.utilities.rank_zero")


def check(config: DictConfig) -> None:
    """Make the data, the trainer and the model of a config; the receipt and what there is to say of it go to stdout.

    Args:
        config: of a Hydra job

    Raises:
        ValueError: with the one sentence of what is wrong, whatever of NequIP, Lightning and Hydra is around it
    """
    with _log(), patch.multiple(Trainer, fit=_fit, validate=_evaluate, test=_evaluate):
        try:
            nequip_train.__wrapped__(config)
        except Exception as error:  # whatever NequIP, Lightning and Hydra raise
            raise ValueError(_sentence(error)) from error
    print("The config goes with its transfer. No training was done.")


def _fit(trainer: Trainer, model: LightningModule, datamodule: NequIPDataModule, **_: Any) -> None:
    """In place of a training."""
    datamodule.setup("fit")
    trainer.datamodule = datamodule  # as Lightning does
    StartCheck().setup(trainer, model, "fit")


def _evaluate(trainer: Trainer, model: LightningModule, datamodule: NequIPDataModule, **_: Any) -> None:
    """In place of a validation or a test."""
    StartCheck().setup(trainer, model, "validate")


def _sentence(error: BaseException) -> str:
    """What is wrong, on one line: the innermost of the errors that were raised from one another."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    if isinstance(error, OmegaConfBaseException):  # which puts its own words around those of a look-up
        text = text.partition("raised while resolving interpolation: ")[2].partition("\n    full_key: ")[0] or text
    return " ".join(text.split()) or type(error).__name__


@contextmanager
def _log() -> Iterator[None]:
    """Show what this package says in the log, and of others what is wrong."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours, others = logging.getLogger(_OURS), [logging.getLogger(name) for name in _OTHERS]
    levels = [logger.level for logger in others]
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    for logger in others:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        for logger, level in zip(others, levels):
            logger.setLevel(level)
