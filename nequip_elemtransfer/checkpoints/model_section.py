"""The ``model:`` section that a checkpoint or package stores: what is around the architecture, and the architecture."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture
from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.checkpoints.migration import Release, nequip_release, plain_options, todays_options
from nequip_elemtransfer.checkpoints.package import is_package, packaged_section
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.output.refusal import RefusedFile, shortened

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")

# what this plugin's builder is called in a checkpoint, and was before
TRANSFERRED_MODEL = "nequip_elemtransfer.TransferredModel"
_TRANSFERRED_MODELS = (TRANSFERRED_MODEL, "nequip_elemtransfer.model.TransferredModel")

# NequIP's builders that name a file instead of an architecture, and the option that does
LOADERS = {
    "nequip.model.ModelFromCheckpoint": "checkpoint_path",
    "nequip.model.ModelFromPackage": "package_path",
}


@dataclass(frozen=True)
class Configuration:
    """A stored ``model:`` section, unwrapped.

    Args:
        architecture: the builder's configuration
        modifiers: lists given to ``nequip.model.modify``, innermost first
        provenance: of the transfer that made the model, if one did
        files: that the section names to load the model from, outermost first
        versions: of the packages whose code built the model: those of the training, or of the package it came from
        migrated: what is not as it was written, since today's NequIP means something else by it, in words
    """

    architecture: Architecture
    modifiers: tuple[list, ...] = ()
    provenance: dict[str, Any] | None = None
    files: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    migrated: tuple[str, ...] = ()

    @property
    def written(self) -> Release | None:
        """Release of the NequIP whose code built the model; None if it is not said."""
        return nequip_release(self.versions)

    def as_of_today(self) -> "Configuration":
        """The same model in the words of today's NequIP.

        Raises:
            RefusedFile: if it has no such model
        """
        architecture, changed = todays_options(self.architecture, self.written)
        return replace(self, architecture=architecture, migrated=(*self.migrated, *changed))


def is_transferred(model: Any) -> bool:
    """Whether a part of a ``model:`` section asks for this plugin's builder."""
    return isinstance(model, Mapping) and model.get("_target_") in _TRANSFERRED_MODELS


def read_configuration(
    model: Any,
    versions: Mapping[str, str],
    path: str | Path,
    what: str = "source",
    _followed_from: tuple[Path, ...] = (),
) -> Configuration:
    """What a stored ``model:`` section says once wrappers around the architecture are taken off.

    A model made by ``nequip.model.modify`` or by this plugin holds its architecture; one made by
    ``ModelFromCheckpoint`` or ``ModelFromPackage`` names a file, which is followed while it exists.

    Args:
        model: the section
        versions: of the packages that wrote the file it was read from
        path: of that file, for messages
        what: as for :func:`~nequip_elemtransfer.checkpoints.gate.read_checkpoint`

    Raises:
        RefusedFile: if there is no architecture in it, or one that is not accepted
    """
    if not isinstance(model, Mapping) or not isinstance(model.get("_target_"), str):
        raise RefusedFile(
            f"{what} {str(path)!r} does not say how its model was built: it is no checkpoint of `nequip-train`."
        )
    target = model["_target_"]
    if is_transferred(model):
        return replace(_transferred(model, path, what), versions=versions)
    if target == "nequip.model.modify":
        inner = read_configuration(model.get("model"), versions, path, what, _followed_from)
        return replace(inner, modifiers=(*inner.modifiers, _modifiers(model.get("modifiers"), path, what)))
    if target in LOADERS:
        followed_from = (*_followed_from, Path(path).resolve())
        return _followed(model.get(LOADERS[target]), target, path, versions, what, followed_from)
    return replace(_accepted(model, path, what), versions=versions)


def _modifiers(value: Any, path: str | Path, what: str) -> list:
    """The list given to ``nequip.model.modify``, which may stand under the model's name."""
    modifiers: Any = value.get(_SOLE_MODEL_KEY) if isinstance(value, Mapping) else value
    named = isinstance(modifiers, list) and all(
        isinstance(m, Mapping) and isinstance(m.get("modifier"), str) for m in modifiers
    )
    if not named:
        raise RefusedFile(
            f"{what} {str(path)!r} holds modifiers that `nequip.model.modify` does not take, {shortened(value)}: "
            "a list of `{modifier: name, ...}` is needed."
        )
    return modifiers


def _transferred(model: Mapping, path: str | Path, what: str) -> Configuration:
    try:
        TransferRecord.from_dict(model.get("provenance"))
    except RefusedFile as error:
        raise RefusedFile(f"{what} {str(path)!r} cannot be used: {error}") from error
    return replace(_accepted(model.get("architecture"), path, what), provenance=model["provenance"])


def _accepted(architecture: Any, path: str | Path, what: str) -> Configuration:
    if not isinstance(architecture, Mapping):
        raise RefusedFile(f"{what} {str(path)!r} has {shortened(architecture)} in place of a model's architecture.")
    options, changed = plain_options(architecture)
    try:
        arch.check(options)
    except RefusedFile as error:
        raise RefusedFile(f"{what} {str(path)!r} cannot be used: {error}") from error
    return Configuration(options, migrated=tuple(changed))


def _followed(
    inner: Any,
    target: str,
    path: str | Path,
    versions: Mapping[str, str],
    what: str,
    followed_from: tuple[Path, ...],
) -> Configuration:
    if not isinstance(inner, str) or not os.path.isfile(inner):
        raise RefusedFile(
            f"{what} {str(path)!r} names no architecture: its model was made by {target} from "
            f"{shortened(inner, 300)}, which is not there (any more). Put that file back at that path, or run from "
            "where it was trained."
        )
    if Path(inner).resolve() in followed_from:
        raise RefusedFile(f"{what} {str(path)!r} names {inner!r} for its model, which leads back to itself.")
    if is_package(inner):  # its own code built the model
        section, versions = packaged_section(inner, what)
    else:
        section = read_checkpoint(inner, what)["hyper_parameters"].get("model")
    configuration = read_configuration(section, versions, inner, what, followed_from)
    return replace(configuration, files=(inner, *configuration.files))
