"""The trained model that is to be deployed, with a structure to try it on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nequip.data import AtomicDataDict
from nequip.model.modify_utils import get_all_modifiers, modify
from nequip.model.saved_models.checkpoint import data_dict_from_checkpoint
from nequip.model.saved_models.package import data_dict_from_package
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.nequip_names import ALLEGRO, modules
from nequip_elemtransfer.checkpoints.gate import read_checkpoint, sha256_of
from nequip_elemtransfer.checkpoints.nequip_loader import uncalled_data
from nequip_elemtransfer.checkpoints.stored_model import checkpoint_model, is_package, require_finite
from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.output.refusal import first_line
from nequip_elemtransfer.source import packaged_model

_WHAT = "model"  # a file is in the messages of whoever reads it


@dataclass(frozen=True)
class TrainedModel:
    """A model in evaluation mode and what is known of it.

    Args:
        path: the checkpoint or package it was read from
        sha256: of that file
        model: eager, with the weights NequIP evaluates with
        provenance: of the transfer that made it, if one did
        checkpoint: what the file holds; None of a package
        migrated: what is not as an older NequIP wrote it, in words
    """

    path: Path
    sha256: str
    model: GraphModel
    provenance: dict[str, Any] | None
    checkpoint: dict[str, Any] | None = None
    migrated: tuple[str, ...] = ()

    @property
    def pair_style(self) -> str:
        """The LAMMPS pair style: ``allegro`` if the model is strictly local, else ``nequip``."""
        return "allegro" if modules(self.model, ALLEGRO) else "nequip"


class NoTrainingData(Exception):
    """The training data of a model cannot be read."""


def load_trained(path: Path) -> TrainedModel:
    """Read a checkpoint of ``nequip-train`` or a package of ``nequip-package``.

    A checkpoint is read as data, and its model built from what it says, without NequIP's own loader. Loading a package
    runs code from it.

    Raises:
        FileNotFoundError: if there is no such file
        RefusedFile: if it is damaged or hostile, or holds no model or weights that are not finite
    """
    if is_package(path):
        trained = TrainedModel(path, sha256_of(path), packaged_model(path, _WHAT), read_info(path)["element_transfer"])
    else:
        checkpoint = read_checkpoint(path, _WHAT)
        configuration, model = checkpoint_model(checkpoint, path, _WHAT)
        found = configuration.provenance, checkpoint, configuration.migrated
        trained = TrainedModel(path, sha256_of(path), model, *found)
    require_finite(trained.model, str(path))
    return trained


def modified(trained: TrainedModel, modifiers: Sequence[str]) -> GraphModel:
    """Another model of the file, with NequIP's model modifiers applied as ``nequip-compile --modifiers`` does.

    Raises:
        ValueError: if the model has no such modifier, or it cannot be applied here
    """
    if trained.checkpoint is None:
        model = packaged_model(trained.path, _WHAT)
    else:
        model = checkpoint_model(trained.checkpoint, trained.path, _WHAT)[1]
    available = list(get_all_modifiers(model))
    for modifier in modifiers:
        if modifier not in available:
            raise ValueError(f"the model has no modifier {modifier!r}{suggest(modifier, available)}.")
    try:
        return modify(model, [{"modifier": modifier} for modifier in modifiers])
    except (ImportError, AssertionError, RuntimeError) as error:
        raise ValueError(f"--modifiers {' '.join(modifiers)} cannot be applied here: {error}") from error


def example_data(trained: TrainedModel) -> AtomicDataDict.Type:
    """A structure of the training data, from a package or by way of a checkpoint's configuration.

    Of a checkpoint's ``data:`` section, only NequIP's own readers of plain files are called.

    Raises:
        NoTrainingData: if the data cannot be read
    """
    path, checkpoint = trained.path, trained.checkpoint
    if checkpoint is not None and (name := uncalled_data(checkpoint)):
        raise NoTrainingData(f"the training data of {path} are made by {name}, which is not called from a file")
    try:
        return data_dict_from_package(str(path)) if checkpoint is None else data_dict_from_checkpoint(str(path))
    except Exception as error:  # whatever the user's data section raises
        raise NoTrainingData(
            f"the training data of {path} cannot be read ({first_line(error.__cause__ or error)})"
        ) from error
