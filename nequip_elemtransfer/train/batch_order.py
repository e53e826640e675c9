"""``RestoreBatchOrder``, which makes a restart see the structures in the order of a training without one."""

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback


class RestoreBatchOrder(Callback):
    """Continue the order of batches on a restart.

    NequIP's datamodule saves the state of the generator that shuffles the training set, but Lightning restores it after
    the datamodule has made its generator, so that a restart begins again with the order of the first epoch.

    .. code-block:: yaml

        callbacks:
          - _target_: nequip_elemtransfer.RestoreBatchOrder

    The checkpoint must be one of the end of an epoch, as NequIP's are by default.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        data = trainer.datamodule
        data.train_generator.set_state(data.train_generator_state)
