"""The look-ups ``${element_transfer:type_names}``, ``${element_transfer:r_max}`` and ``${element_transfer:model}``."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities.seed import isolate_rng
from nequip.utils.logger import RankedLogger
from omegaconf import DictConfig, OmegaConf

from nequip_elemtransfer.callables import names
from nequip_elemtransfer.config import TransferConfig, suggest
from nequip_elemtransfer.frames import training_frames
from nequip_elemtransfer.model import hand_over
from nequip_elemtransfer.model_section import TRANSFERRED_MODEL
from nequip_elemtransfer.nequip_loader import require_loadable
from nequip_elemtransfer.receipt import receipt
from nequip_elemtransfer.refusal import RefusedFile
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.transfer import Transfer

LOOK_UPS = ("type_names", "r_max", "model")

logger = RankedLogger(__name__, rank_zero_only=True)

# The neighbour lists must be made before `length_scale: fit` knows the cutoff: while the frames for that fit are
# loaded, `r_max` is the longest it may become.
_provisional_r_max: ContextVar[float | None] = ContextVar("_provisional_r_max", default=None)

# What a config looked up, or the error it met; NequIP asks several times.
_results: dict[str, Any] = {}


def look_up(name: str, root: DictConfig) -> Any:
    """Resolve one look-up against the whole config.

    On a restart (``ckpt_path`` is set) all answers come from that checkpoint, since the source may be gone.

    Args:
        name: ``type_names``, ``r_max`` or ``model``
        root: of the config

    Raises:
        ValueError: if there is no such look-up or no valid key
    """
    if name not in LOOK_UPS:
        raise ValueError(f"there is no `${{element_transfer:{name}}}`{suggest(name, LOOK_UPS)}.")
    if root.get("ckpt_path") is not None:
        return _once(root, name, lambda: _of_checkpoint(str(root.ckpt_path), root)[name])
    if "element_transfer" not in root:
        raise ValueError("the config looks up `element_transfer` but has no such key at the top level.")
    if name == "type_names":
        return _config(root).type_names
    if name == "r_max":
        return _provisional_r_max.get() or _once(root, name, lambda: _transfer(root).r_max)
    return _once(root, name, lambda: _model(root))


def _once(root: DictConfig, name: str, compute: Callable[[], Any]) -> Any:
    key = name + hashlib.sha256(json.dumps(OmegaConf.to_container(root), default=str).encode()).hexdigest()
    if key not in _results:
        try:
            with _reproducible():
                _results[key] = compute()
        except Exception as error:
            # Hydra resolves once more than it reports; a failed transfer is not computed again
            _results[key] = error
    if isinstance(_results[key], Exception):
        raise _results[key]
    return _results[key]


@contextmanager
def _reproducible() -> Iterator[None]:
    """The same numbers in each process of a training: sums in one order, and no random state taken or left.

    Each rank of a data-parallel training makes its own start, and NequIP's strategy does not compare them. On several
    threads PyTorch adds up forces in an order that changes from run to run.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        with isolate_rng():
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)


def _config(root: DictConfig) -> TransferConfig:
    _refuse_types_named_twice()
    key = root.element_transfer
    return TransferConfig.from_mapping(OmegaConf.to_container(key, resolve=True) if OmegaConf.is_config(key) else key)


def _refuse_types_named_twice() -> None:
    """In a file, OmegaConf refuses them; of an override on the command line, Hydra keeps the last and says nothing."""
    if not HydraConfig.initialized():
        return
    for override in HydraConfig.get().overrides.task:
        name, _, value = override.lstrip("+").partition("=")
        if name.split(".")[0] != "element_transfer" or "{" not in value:
            continue
        try:
            OmegaConf.create(re.sub(r":(?=\S)", ": ", value))  # Hydra takes {Ge:Si}, which YAML reads as one word
        except yaml.constructor.ConstructorError as error:
            raise ValueError(f"the override {override!r} names a type twice ({error.problem}): keep one.") from error
        except yaml.YAMLError:
            continue  # Hydra's own syntax, which it has understood


def _transfer(root: DictConfig) -> Transfer:
    return _once(root, "transfer", lambda: _new_transfer(root))


def _new_transfer(root: DictConfig) -> Transfer:
    config = _config(root)
    if "data" not in root:
        raise ValueError("a transfer is fitted to the training structures of the config, which has no `data` section.")
    logger.info(f"Starting {', '.join(config.type_names)} from {config.source} ...")

    def load_frames(r_max: float) -> list:
        token = _provisional_r_max.set(r_max)
        try:
            return training_frames(OmegaConf.to_container(root.data, resolve=True), config.type_names)
        finally:
            _provisional_r_max.reset(token)

    return Transfer(config, load_source(config.source, config.sha256), load_frames)


def _model(root: DictConfig) -> dict[str, Any]:
    transfer = _transfer(root)
    result = transfer.run()
    hand_over(result.provenance["weights"], result.state)
    logger.info(receipt(result.provenance))
    return {"_target_": TRANSFERRED_MODEL, "architecture": result.architecture, "provenance": result.provenance}


def _of_checkpoint(path: str, root: DictConfig) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"`ckpt_path` is {path!r}, which is not a file: give the checkpoint to continue from "
            f"(relative paths start from {Path.cwd()}), or leave `ckpt_path` out to start anew."
        )
    try:
        checkpoint, configuration = require_loadable(path, {*map(str, names(OmegaConf.to_container(root)))})
    except RefusedFile as error:
        # NequIP asks whether `model` is in the config, and OmegaConf takes any Exception of a look-up for a yes. Then
        # NequIP would go on to load the file. This ends the process.
        raise SystemExit(f"nequip-train: `ckpt_path`: {error}") from error
    return {
        "type_names": list(configuration.architecture["type_names"]),
        "r_max": float(configuration.architecture["r_max"]),
        "model": _transferred_model(checkpoint["hyper_parameters"]["model"]),
    }


def _transferred_model(model: dict[str, Any]) -> dict[str, Any]:
    """The part of a ``model:`` section that this plugin made; modifiers may be around it."""
    while model["_target_"] != TRANSFERRED_MODEL and isinstance(model.get("model"), dict):
        model = model["model"]
    return model
