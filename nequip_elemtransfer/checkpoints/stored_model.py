"""The model that a checkpoint or a package stores.

Its ``model:`` section is taken apart into the architecture and what is around it. The model of a checkpoint is built
from that without NequIP's own loader; of a package, what it says of itself is read without running the code in it.
"""

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nequip
import torch
import yaml
from nequip.model.modify_utils import only_apply_persistent_modifiers
from nequip.nn import GraphModel
from nequip.train import EMALightningModule, NequIPLightningModule, ScheduleFreeLightningModule

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture, check_size
from nequip_elemtransfer.architecture.nequip_names import (
    EMA_DECAY,
    EMA_HOLDS_AVERAGES,
    EMA_STATE,
    STATE_PREFIXES,
    imported,
)
from nequip_elemtransfer.checkpoints import archive
from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.checkpoints.migration import (
    Release,
    nequip_release,
    plain_options,
    release,
    todays_options,
    todays_state,
    versions_of,
    who_wrote,
)
from nequip_elemtransfer.checkpoints.named_calls import PARAMETER_GROUPS, names, refused_call, unlike_a_record
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.output.paths import existing_file
from nequip_elemtransfer.output.refusal import RefusedFile, first_line, shortened

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")

# what this plugin's builder is called in a checkpoint, and was before
TRANSFERRED_MODEL = "nequip_elemtransfer.TransferredModel"
_TRANSFERRED_MODELS = (TRANSFERRED_MODEL, "nequip_elemtransfer.model.TransferredModel")

# NequIP's builders that name a file instead of an architecture, and the option that does
LOADERS = {
    "nequip.model.ModelFromCheckpoint": "checkpoint_path",
    "nequip.model.ModelFromPackage": "package_path",
}

# what a builder meets in options that `check_model_options` does not know
BUILDERS_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError)

_METADATA, _CONFIG = "model/package_metadata.txt", "model/config.yaml"


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


def checkpoint_model(
    checkpoint: Mapping[str, Any], path: str | Path, what: str = "source"
) -> tuple[Configuration, GraphModel]:
    """The configuration of a checkpoint's model, and the eager model NequIP would evaluate, with its weights.

    NequIP's own loader is not used: it unpickles in full and calls whatever the file names. What an older NequIP wrote
    is put into the words of today's (:mod:`nequip_elemtransfer.checkpoints.migration`).

    Args:
        checkpoint: as :func:`.gate.read_checkpoint` gives it
        path, what: as for that, for messages

    Raises:
        RefusedFile: if it holds no model that can be built
    """
    hyper = checkpoint["hyper_parameters"]
    versions = versions_of(hyper.get("info_dict"))
    try:
        configuration = read_configuration(hyper.get("model"), versions, path, what)
        return _evaluation_model(checkpoint, configuration, f"{what} {str(path)!r}")
    except RefusedFile as error:
        raise RefusedFile(f"{error}{who_wrote(versions)}") from error


def require_finite(model: torch.nn.Module, owner: str) -> None:
    """Refuse a model with weights or buffers that are NaN or infinite.

    Args:
        owner: whose model it is, for the message

    Raises:
        RefusedFile: with the first
    """
    bad = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if bad:
        raise RefusedFile(
            f"{owner} has weights that are not finite: {len(bad)} tensors hold NaN or infinity, the first is "
            f"{bad[0]!r}. The training diverged, or the weights of a transferred model were not restored: use another "
            "checkpoint."
        )


def check_weights(checkpoint: Mapping, configuration: Configuration, owner: str) -> None:
    """Refuse a checkpoint whose weights are not those of one model of about the size that is configured.

    Args:
        owner: whose they are, for the message

    Raises:
        RefusedFile: if they are not
    """
    weights = {name: tensor for name, tensor in checkpoint["state_dict"].items() if name.startswith("model.")}
    if not weights or any(name.split(".")[1] != _SOLE_MODEL_KEY for name in weights):
        raise RefusedFile(f"{owner} holds several models or none; one model is needed.")
    # storages, since a tensor may claim any size
    n_numbers = sum(w.untyped_storage().nbytes() // w.element_size() for w in weights.values())
    try:
        check_size(configuration.architecture, len(weights), n_numbers)
    except RefusedFile as error:
        raise RefusedFile(f"{owner} cannot be used: {error}") from error


def _evaluation_model(
    checkpoint: Mapping, configuration: Configuration, owner: str
) -> tuple[Configuration, GraphModel]:
    """The model NequIP would evaluate: its own training modules know what EMA and the like mean for the weights."""
    check_weights(checkpoint, configuration, owner)
    try:
        module_class, options = _training_module(checkpoint)
    except RefusedFile as error:
        raise RefusedFile(f"{owner} cannot be used: {error}") from error
    arch.initialize_nequip()
    with arch.override_model_compile_mode("eager"), only_apply_persistent_modifiers(persistent_only=True):
        try:
            configuration = configuration.as_of_today()
            model = configuration.architecture
            for modifiers in configuration.modifiers:
                model = {"_target_": "nequip.model.modify", "model": model, "modifiers": modifiers}
            module = module_class(model=model, num_datasets={"train": 1, "val": 0, "test": 0}, **options)
        except BUILDERS_ERRORS as error:
            raise RefusedFile(
                f"the model in {owner} cannot be built from its configuration, modifiers included: was it "
                f"trained with another version of NequIP or of an extension? ({first_line(error)})"
            ) from error
        stored = {k: v for k, v in checkpoint["state_dict"].items() if k.startswith(STATE_PREFIXES)}
        parameters = [f"model.{name}" for name, _ in module.model.named_parameters()]
        try:
            state, changed = todays_state(stored, module.state_dict(), parameters, configuration.written)
        except RefusedFile as error:
            raise RefusedFile(f"{owner} cannot be used: {error}") from error
        try:
            module.load_state_dict(state)
            module.on_load_checkpoint(checkpoint)
            model = module.evaluation_model[_SOLE_MODEL_KEY].eval()
        except BUILDERS_ERRORS as error:
            raise RefusedFile(
                f"the weights in {owner} do not fit the model its configuration describes: "
                f"{' '.join(str(error).split())}"
            ) from error
    return replace(configuration, migrated=(*configuration.migrated, *changed)), model


def _training_module(checkpoint: Mapping) -> tuple[type[NequIPLightningModule], dict]:
    hyper = checkpoint["hyper_parameters"]
    saved = training_module_class(hyper)
    if EMA_STATE in checkpoint["state_dict"]:
        ema = checkpoint["state_dict"][EMA_STATE]
        if not isinstance(ema, Mapping) or not isinstance(ema.get(EMA_DECAY), float):
            raise RefusedFile(f"its EMA has the state {shortened(ema)}.")
        if not ema.get(EMA_HOLDS_AVERAGES):
            raise RefusedFile(
                "it was saved inside a validation, when NequIP has its EMA weights swapped with the raw ones, and "
                "NequIP refuses it too: use another checkpoint, and train with `check_val_every_n_epoch: 1` or a "
                "ModelCheckpoint with `save_on_train_epoch_end: true`."
            )
        return EMALightningModule, {"ema_decay": ema[EMA_DECAY]}
    if issubclass(saved, ScheduleFreeLightningModule):
        return ScheduleFreeLightningModule, {"optimizer": _schedule_free(hyper.get("optimizer"))}
    return NequIPLightningModule, {}


def training_module_class(hyper_parameters: Mapping) -> type[NequIPLightningModule]:
    """The training module that ``hyper_parameters`` name.

    Raises:
        RefusedFile: if it is none of NequIP or an extension
    """
    section = (hyper_parameters.get("info_dict") or {}).get("training_module") or {}
    found = arch.locate(section.get("_target_"))
    if not inspect.isclass(found) or not issubclass(found, NequIPLightningModule):
        raise RefusedFile(f"{shortened(section['_target_'])} is not a training module of NequIP.")
    return found


def _schedule_free(optimizer: Any) -> Mapping:
    """A checkpoint's optimizer, which NequIP builds to evaluate; it has Hydra call what the parameter groups name."""
    name = optimizer.get("_target_") if isinstance(optimizer, Mapping) else optimizer
    if not str(name).startswith("schedulefree."):
        raise RefusedFile(f"the optimizer {shortened(name)} is not one of the schedulefree package.")
    groups = optimizer.get("param_groups")
    if groups is not None and not (len(called := names(groups)) == 1 and called[0] in PARAMETER_GROUPS):
        raise RefusedFile(
            f"the `param_groups` of a model trained with ScheduleFree may call one of "
            f"{', '.join(PARAMETER_GROUPS)} and nothing else, found {shortened(groups)}: package the model with "
            "`nequip-package` and use the package."
        )
    if find_spec("schedulefree") is None:
        raise RefusedFile("a model trained with ScheduleFree needs that package: pip install schedulefree.")
    if reason := refused_call(optimizer, "optimizer"):
        raise RefusedFile(f"its optimizer would call {reason}, which is no optimizer.")
    return optimizer


def is_package(path: str | Path) -> bool:
    """Whether NequIP would read the file as a package."""
    return str(path).endswith(".nequip.zip")


def read_package(path: str | Path, what: str = "source") -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata of a package, and the configuration of the training it came from.

    PyTorch's own importer would run the package's ``model/__init__.py`` to read these two texts.

    Args:
        what: as for :func:`~nequip_elemtransfer.checkpoints.gate.read_checkpoint`

    Raises:
        FileNotFoundError: if there is no such file
        RefusedFile: if it is damaged, no package of NequIP, or holds anything but plain data in these places
    """
    file, owner = existing_file(path, what), f"{what} {shortened(str(path), 1000)}"
    try:
        _, contents = archive.read(file, lambda name: name.partition("/")[2] in (_METADATA, _CONFIG))
        texts = {name.partition("/")[2]: text for name, text in contents.items()}
        metadata, config = yaml.safe_load(texts[_METADATA]), yaml.safe_load(texts[_CONFIG])
    except archive.Damaged as error:
        raise RefusedFile(f"{owner} is damaged or not a package: copy it again. ({error})") from error
    except (KeyError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RefusedFile(f"{owner} is not a package of `nequip-package`. ({first_line(error)})") from error
    if found := unlike_a_record([metadata, config]):
        raise RefusedFile(f"{owner} {found}.")
    if not _is_whole(metadata, config):
        raise RefusedFile(
            f"{owner} is not a package of `nequip-package`: versions, types or the model are not in its texts."
        )
    return metadata, config


def packaged_section(path: str | Path, what: str = "source") -> tuple[Any, dict[str, str]]:
    """The ``model:`` section of the training that a package came from, and the versions that packaged it.

    Raises:
        FileNotFoundError, RefusedFile: as for :func:`read_package`, or if a newer NequIP made it
    """
    metadata, config = read_package(path, what)
    written_by = str(metadata["versions"].get("nequip"))
    if release(written_by) > release(nequip.__version__):
        raise RefusedFile(
            f"{what} {shortened(str(path), 1000)} was packaged by NequIP {written_by}, which is newer than the "
            f"installed {nequip.__version__}: update NequIP."
        )
    return config["training_module"]["model"], versions_of(metadata)


def type_names(metadata: Mapping[str, Any]) -> list[str]:
    """The types in the metadata of a package, in order."""
    return [metadata["atom_types"][i] for i in range(len(metadata["atom_types"]))]


def _is_whole(metadata: Any, config: Any) -> bool:
    sections = [(metadata, "versions"), (metadata, "atom_types"), (config, "training_module")]
    if not all(isinstance(part, Mapping) and isinstance(part.get(name), Mapping) for part, name in sections):
        return False
    numbers = set(range(len(metadata["atom_types"])))
    return set(metadata["atom_types"]) == numbers and isinstance(config["training_module"].get("model"), Mapping)
