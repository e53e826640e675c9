"""The model of a checkpoint that NequIP would evaluate, built without NequIP's own loader."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from nequip.model.modify_utils import only_apply_persistent_modifiers
from nequip.nn import GraphModel
from nequip.train import EMALightningModule, NequIPLightningModule, ScheduleFreeLightningModule

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import check_size
from nequip_elemtransfer.architecture.nequip_names import (
    EMA_DECAY,
    EMA_HOLDS_AVERAGES,
    EMA_STATE,
    STATE_PREFIXES,
    imported,
)
from nequip_elemtransfer.checkpoints.callables import PARAMETER_GROUPS, names, not_callable
from nequip_elemtransfer.checkpoints.migration import todays_state, versions_of, who_wrote
from nequip_elemtransfer.checkpoints.model_section import Configuration, read_configuration
from nequip_elemtransfer.output.refusal import RefusedFile, first_line, shortened

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")

# what a builder meets in options that `model_options` does not know
BUILDERS_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError)


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
    if reason := not_callable(optimizer, "optimizer"):
        raise RefusedFile(f"its optimizer would call {reason}, which is no optimizer.")
    return optimizer
