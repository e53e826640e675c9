"""The end of a training: its last step is validated."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class ValidateLastStep(Callback):
    """Validate after the last step of ``max_steps``, wherever in an epoch it falls.

    Lightning validates at the ends of epochs, of every n-th with ``check_val_every_n_epoch: n``. What lies between the
    last of these and ``max_steps`` is the end of the schedule, where the learning rate is lowest, and no checkpoint of
    it could be the best.

    .. code-block:: yaml

        callbacks:
          - _target_: nequip_elemtransfer.ValidateLastStep

    A checkpoint that is to see it is saved with ``save_on_train_epoch_end: true``: the training's end ends the epoch.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """"""
        if 0 < trainer.max_steps <= trainer.global_step:
            # Lightning validates before it stops early, in an epoch in which it may
            trainer.check_val_every_n_epoch = 1
            trainer.should_stop = True
