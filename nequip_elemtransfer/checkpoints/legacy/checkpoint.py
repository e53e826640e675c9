"""A checkpoint of today's NequIP with a model in it that ``nequip-train`` did not train."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from nequip.model import override_model_compile_mode
from nequip.train import NequIPLightningModule
from nequip.utils import get_current_code_versions
from nequip.utils.global_state import get_latest_global_state

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture
from nequip_elemtransfer.architecture.nequip_names import imported

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")


def write_checkpoint(
    path: Path, architecture: Architecture, state: Mapping[str, torch.Tensor], origin: Mapping[str, Any]
) -> None:
    """Write a model as Lightning writes NequIP's, to package, compile, run, or fine-tune.

    There is no optimizer in it, so no training can be continued from it.

    Args:
        path: of the file
        architecture: of the model
        state: its parameters and buffers
        origin: plain data on where it is from, kept as ``imported_from``
    """
    arch.initialize_nequip()
    target = f"{NequIPLightningModule.__module__}.{NequIPLightningModule.__qualname__}"
    info = {
        "versions": get_current_code_versions(verbose=False),
        "data": _structures(architecture),
        "trainer": {},
        "global_options": get_latest_global_state(),
        "runs": [],
        "training_module": {"_target_": target, "model": dict(architecture)},
        "imported_from": dict(origin),
    }
    with override_model_compile_mode("eager"):
        module = NequIPLightningModule(
            model=dict(architecture), num_datasets={"train": 1, "val": 0, "test": 0, "predict": 0}, info_dict=info
        )
    module.model[_SOLE_MODEL_KEY].load_state_dict(state)
    checkpoint = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": module.state_dict(),
        module.CHECKPOINT_HYPER_PARAMS_NAME: "kwargs",
        module.CHECKPOINT_HYPER_PARAMS_KEY: dict(module.hparams),
    }
    torch.save(checkpoint, path)


def _structures(architecture: Architecture) -> dict[str, Any]:
    """A ``data:`` section for what NequIP asks the training data of a checkpoint for: any structure at all.

    ``nequip-package`` and the compilers take one to try the model on. The old structures may be gone, so it is copper
    from NequIP's own test data, whose atoms are called the model's first type.
    """
    types = list(architecture["type_names"])
    copper = {
        "_target_": "nequip.data.dataset.EMTTestDataset",
        "supercell": [2, 2, 2],
        "num_frames": 1,
        "transforms": [
            {
                "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                "model_type_names": types,
                "chemical_species_to_atom_type_map": {"Cu": types[0]},
            },
            {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": architecture["r_max"]},
        ],
    }
    return {
        "_target_": "nequip.data.datamodule.NequIPDataModule",
        "seed": 0,
        "train_dataset": copper,
        "val_dataset": copper,
        "train_dataloader": {"_target_": "torch.utils.data.DataLoader", "batch_size": 1},
    }
