"""The trained model that is to be deployed, with a structure to try it on."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nequip.data import AtomicDataDict
from nequip.model.modify_utils import get_all_modifiers, modify
from nequip.model.saved_models.checkpoint import data_dict_from_checkpoint
from nequip.model.saved_models.load_utils import load_saved_model
from nequip.model.saved_models.package import data_dict_from_package
from nequip.nn import GraphModel

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.deploy.errors import one_line
from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.nequip_names import ALLEGRO, modules
from nequip_elemtransfer.source import read_checkpoint, read_configuration, sha256_of


@dataclass(frozen=True)
class TrainedModel:
    """A model in evaluation mode and what is known of it.

    Args:
        path: the checkpoint or package it was read from
        sha256: of that file
        model: eager, with the weights NequIP evaluates with
        provenance: of the transfer that made it, if one did
    """

    path: Path
    sha256: str
    model: GraphModel
    provenance: dict[str, Any] | None

    @property
    def pair_style(self) -> str:
        """The LAMMPS pair style: ``allegro`` if the model is strictly local, else ``nequip``."""
        return "allegro" if modules(self.model, ALLEGRO) else "nequip"


def load_trained(path: Path) -> TrainedModel:
    """Read a checkpoint of ``nequip-train`` or a package of ``nequip-package``.

    A checkpoint is first read with ``weights_only`` unpickling, so that NequIP's loader, which unpickles in full,
    only sees files that hold plain data. Loading a package runs code from it.

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it cannot be loaded, or holds weights that are not finite
    """
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no model: give a .ckpt file of nequip-train or a .nequip.zip package.")
    provenance = read_info(path)["element_transfer"] if is_package(path) else _provenance_of_checkpoint(path)
    model = _load(path)
    _refuse_non_finite(model, path)
    return TrainedModel(path, sha256_of(path), model, provenance)


def is_package(path: Path) -> bool:
    """Whether NequIP would read the file as a package."""
    return path.name.endswith(".nequip.zip")


def modified(path: Path, modifiers: Sequence[str]) -> GraphModel:
    """The model of a file with NequIP's model modifiers applied, as ``nequip-compile --modifiers`` does.

    Raises:
        ValueError: if the model has no such modifier, or it cannot be applied here
    """
    model = _load(path)
    available = list(get_all_modifiers(model))
    for modifier in modifiers:
        if modifier not in available:
            raise ValueError(f"the model has no modifier {modifier!r}{suggest(modifier, available)}.")
    try:
        return modify(model, [{"modifier": modifier} for modifier in modifiers])
    except (ImportError, AssertionError, RuntimeError) as error:
        raise ValueError(f"--modifiers {' '.join(modifiers)} cannot be applied here: {error}") from error


def example_data(path: Path) -> AtomicDataDict.Type:
    """A structure of the training data, from a package or by way of a checkpoint's configuration.

    Raises:
        ValueError: if the data cannot be read
    """
    try:
        return data_dict_from_package(str(path)) if is_package(path) else data_dict_from_checkpoint(str(path))
    except Exception as error:  # whatever the user's data section raises
        raise ValueError(
            f"the training data of {path} cannot be read ({one_line(error.__cause__ or error)})"
        ) from error


def _provenance_of_checkpoint(path: Path) -> dict[str, Any] | None:
    section = read_checkpoint(path)["hyper_parameters"].get("model")
    try:
        return read_configuration(section, path).provenance
    except ValueError:  # no model that the plugin could start from, so none that it made
        return None


def _load(path: Path) -> GraphModel:
    try:
        return load_saved_model(str(path)).eval()
    except KeyError as error:
        raise ValueError(f"{path} holds several models or none; one model is needed. ({error})") from error
    except (RuntimeError, ImportError, AttributeError) as error:
        raise ValueError(f"the model in {path} cannot be loaded: {one_line(error)}") from error


def _refuse_non_finite(model: torch.nn.Module, path: Path) -> None:
    bad = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(
            f"{len(bad)} tensors of the model in {path} are not finite, the first is {bad[0]!r}: the training "
            "diverged, or the weights of a transferred model were not restored. Deploy another checkpoint."
        )
