"""A Lightning callback of a study's trainings: steps and seconds in the metrics."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from nequip_elemtransfer.outcome.metrics import STEPS

SECONDS = "training_seconds"


class TrainingClock(Callback):
    """Log the optimizer steps done and the seconds spent in them with every validation, as ``training_steps`` and
    ``training_seconds``; without validation, at the end of the training.

    Time for validation, checkpoints and start-up is not counted; a restart continues the count.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """"""
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """"""
        self.seconds += time.perf_counter() - self._began

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        if not trainer.sanity_checking:
            pl_module.log_dict({STEPS: float(trainer.global_step), SECONDS: self.seconds})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        if not trainer.enable_validation and 0 < trainer.max_steps <= trainer.global_step:
            pl_module.log_dict({STEPS: float(trainer.global_step), SECONDS: self.seconds})

    def state_dict(self) -> dict[str, float]:
        """"""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """"""
        self.seconds = state_dict["seconds"]
