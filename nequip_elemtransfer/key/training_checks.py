"""What is checked when a training is set up: that the key did its work, and the same work in every process.

Lightning asks each installed package for callbacks when a trainer is made (entry point
``lightning.pytorch.callbacks_factory``). It is the only place where this package's code runs in a training whose
config never looks anything up, and one where the processes of a training can talk to each other.
"""

import hashlib
import json
from typing import Any

import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf


def callbacks() -> list[Callback]:
    """The check and the summary, in a Hydra job whose config has the key; nothing in any other use of Lightning."""
    if not HydraConfig.initialized() or not GlobalHydra.instance().is_initialized():
        return []
    job = HydraConfig.get()
    overrides = OmegaConf.to_container(job.overrides.task, resolve=False)
    if "element_transfer" not in compose(job.job.config_name, overrides):
        return []
    # at the start of every Lightning trainer, whose own imports are enough
    from nequip_elemtransfer.key.training_summary import TrainingSummary

    return [StartCheck(), TrainingSummary()]


class StartCheck(Callback):
    """Refuses a training whose model the key did not make, or made differently in each process."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before anything is trained, validated or tested.

        Raises:
            ValueError: if no model of the training comes from a transfer, or the processes have different ones
        """
        starts = _starts(pl_module.hparams.get("model"))
        if not starts:
            raise ValueError(
                "the config has the key `element_transfer`, but the model does not come from it, so the key does "
                "nothing: set `training_module.model: ${element_transfer:model}`, or leave the key out."
            )
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            digests = [""] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(digests, hashlib.sha256(json.dumps(starts).encode()).hexdigest())
            require_same(digests)
        if stage == "fit":
            from nequip_elemtransfer.key.advice import give_advice

            give_advice(trainer, pl_module, trainer.datamodule)  # which Lightning has set


def require_same(digests: list[str]) -> None:
    """Refuse starts that differ.

    Args:
        digests: of the start that each process made, in the order of their ranks

    Raises:
        ValueError: with the ranks
    """
    other = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if other:
        raise ValueError(
            f"the processes of this training have made different starts: rank 0 has {digests[0][:8]}…, and "
            f"{', '.join(f'rank {rank} {digests[rank][:8]}…' for rank in other)}. Run the same files and versions on "
            "every machine, and give `length_scale`, `energy_scale` and `energy_shifts` as the numbers that the log "
            "shows."
        )


def _starts(model: Any) -> list[Any]:
    """Architecture and digest of the weights of each transferred model in a ``model:`` section."""
    from nequip_elemtransfer.architecture.builders import nested
    from nequip_elemtransfer.checkpoints.stored_model import is_transferred

    return [[part["architecture"], part["provenance"]["weights"]] for part in nested(model) if is_transferred(part)]
