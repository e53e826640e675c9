"""The look-ups ``${element_transfer:type_names}``, ``${element_transfer:r_max}`` and ``${element_transfer:model}``."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.utilities.seed import isolate_rng
from nequip.utils.logger import RankedLogger
from omegaconf import DictConfig, OmegaConf

from nequip_elemtransfer.checkpoints.named_calls import calls
from nequip_elemtransfer.checkpoints.nequip_loader import require_loadable
from nequip_elemtransfer.checkpoints.stored_model import TRANSFERRED_MODEL, is_transferred
from nequip_elemtransfer.config import TransferConfig, suggest
from nequip_elemtransfer.key.asked_labels import METRICS, asked_labels
from nequip_elemtransfer.key.consistency import (
    require_cutoff,
    require_key,
    require_model,
    require_species,
    require_symbols,
    require_types,
)
from nequip_elemtransfer.model import hand_over
from nequip_elemtransfer.output.refusal import RefusedFile
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.training_data import training_frames
from nequip_elemtransfer.transfer.transfer import Transfer

LOOK_UPS = ("type_names", "r_max", "model")

logger = RankedLogger(__name__, rank_zero_only=True)

# The neighbour lists must be made before `length_scale: fit` knows the cutoff: while the frames for that fit are
# loaded, `r_max` is the longest it may become.
_provisional_r_max: ContextVar[float | None] = ContextVar("_provisional_r_max", default=None)

# Whether the look-up is one of those by which a config is checked.
_checking: ContextVar[bool] = ContextVar("_checking", default=False)

_AT_WORK = object()

# What a config looked up, or the error it met; NequIP asks several times.
_results: dict[str, Any] = {}


def look_up(name: str, root: DictConfig) -> Any:
    """Resolve one look-up against the whole config.

    On a restart (``ckpt_path`` is set) all answers come from that checkpoint, since the source may be gone. The first
    look-up checks that the rest of the config goes with them.

    Args:
        name: ``type_names``, ``r_max`` or ``model``
        root: of the config

    Raises:
        ValueError: if there is no such look-up or no valid key, or the config contradicts it
    """
    if name not in LOOK_UPS:
        raise ValueError(f"there is no `${{element_transfer:{name}}}`{suggest(name, LOOK_UPS)}.")
    if "training_module" in root and not _checking.get():
        with _set(_checking, True):
            _once(root, "check", lambda: _check(root))
    return _answer(name, root)


def _check(root: DictConfig) -> None:
    """Refuse a config for NequIP whose parts do not go together.

    Raises:
        ValueError: with what contradicts what
    """
    config, restart = _as_written(root), _is_restart(root)
    if not restart:
        require_key(config)
        require_model(config)
    types = _answer("type_names", root)
    elements = (config.get("element_transfer") or {}).get("elements")
    if restart and isinstance(elements, dict) and list(elements) != types:
        raise ValueError(
            f"`ckpt_path` continues a model of the types {types}, and `element_transfer.elements` has "
            f"{list(elements)}: give the checkpoint of this training, or leave `ckpt_path` out to start anew."
        )
    if not OmegaConf.is_dict(root.get("data")):
        return
    with _set(_provisional_r_max, 1.0):  # types are known before the cutoff is
        data = OmegaConf.to_container(root.data, resolve=True)
    require_types(data, types)
    if not restart:
        require_species(data, _config(root))
    r_max = _answer("r_max", root)
    require_cutoff(OmegaConf.to_container(root.data, resolve=True), r_max)


def _answer(name: str, root: DictConfig) -> Any:
    if _is_restart(root):
        return _once(root, "checkpoint", lambda: _of_checkpoint(str(root.ckpt_path), root))[name]
    if name == "r_max" and _provisional_r_max.get() is not None:
        return _provisional_r_max.get()
    compute = {
        "type_names": lambda: _config(root).type_names,
        "r_max": lambda: _transfer(root).r_max,
        "model": lambda: _model(root),
    }
    return _once(root, name, compute[name])


def _is_restart(root: DictConfig) -> bool:
    return root.get("ckpt_path") is not None


def _as_written(config: DictConfig) -> Any:
    return OmegaConf.to_container(config, resolve=False)


@contextmanager
def _set(variable: ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def _once(root: DictConfig, name: str, compute: Callable[[], Any]) -> Any:
    key = _key(root, name)
    if _results.get(key) is _AT_WORK:
        raise ValueError(
            f"`${{element_transfer:{name}}}` is looked up by what it is computed from, the key `element_transfer` or "
            "the section `data`: give a value there."
        )
    if key not in _results:
        _results[key] = _AT_WORK
        try:
            with _reproducible():
                _results[key] = compute()
        except Exception as error:
            # Hydra resolves once more than it reports; a failed transfer is not computed again
            _results[key] = error
    if isinstance(_results[key], Exception):
        raise _results[key]
    return _results[key]


def _key(root: DictConfig, name: str) -> str:
    return name + hashlib.sha256(json.dumps(_as_written(root), default=str).encode()).hexdigest()


@contextmanager
def _reproducible() -> Iterator[None]:
    """The same numbers in each process of a training: sums in one order, and no random state taken or left.

    Each rank of a data-parallel training makes its own start, and they are compared bit by bit. On several threads, and
    on a GPU, PyTorch adds up forces in an order that changes from run to run.
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
    require_key(_as_written(root))
    _refuse_types_named_twice()
    key = root.element_transfer
    return TransferConfig.from_mapping(OmegaConf.to_container(key, resolve=True) if OmegaConf.is_config(key) else key)


def _refuse_types_named_twice() -> None:
    """In a file, OmegaConf refuses them; of an override on the command line, Hydra keeps the last and says nothing."""
    if not HydraConfig.initialized():
        return
    for override in _as_written(HydraConfig.get().overrides.task):
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
    if not OmegaConf.is_dict(root.get("data")):
        raise ValueError(
            "a transfer is fitted to the training structures of the config, whose `data` is no section with a "
            f"datamodule, but {root.get('data')!r}."
        )
    logger.info(f"Starting {', '.join(config.type_names)} from {config.source} ...")

    def load_frames(r_max: float) -> list:
        with _set(_provisional_r_max, r_max):
            data: Any = OmegaConf.to_container(root.data, resolve=True)
            asked = asked_labels(_training_module(root), config.type_names)
        require_symbols(data, config.type_names)
        return training_frames(data, config.type_names, asked)

    source = load_source(config.source, config.sha256)
    config.require_known_types(source.type_names)
    return Transfer(config, source, load_frames, fit_device(root))


def _training_module(root: DictConfig) -> dict[str, Any]:
    """What the section ``training_module`` asks of the structures; its model is not made yet."""
    entries = {name: OmegaConf.select(root, f"training_module.{name}") for name in METRICS}
    return {name: OmegaConf.to_container(e, resolve=True) for name, e in entries.items() if OmegaConf.is_dict(e)}


def fit_device(root: DictConfig) -> torch.device:
    """Where the fits of a config run: the GPU that its trainer gives to this process, else the CPU."""
    trainer = root.get("trainer") or {}
    if trainer.get("accelerator") not in (None, "auto", "gpu", "cuda") or not torch.cuda.is_available():
        return torch.device("cpu")
    devices: Any = trainer.get("devices")
    devices = list(devices) if OmegaConf.is_list(devices) else devices
    indices = CUDAAccelerator.parse_devices(-1 if devices in (None, "auto") else devices)
    local_rank = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0)))
    return torch.device("cuda", indices[local_rank % len(indices)])


def _model(root: DictConfig) -> dict[str, Any]:
    transfer = _transfer(root)
    result = transfer.run()
    hand_over(result.record.weights, result.state)
    logger.info(result.record.text())
    # the structures and models of the fits are not needed again
    _results[_key(root, "r_max")] = transfer.r_max
    del _results[_key(root, "transfer")]
    return {"_target_": TRANSFERRED_MODEL, "architecture": result.architecture, "provenance": result.provenance}


def _of_checkpoint(path: str, root: DictConfig) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"`ckpt_path` is {path!r}, which is not a file: give the checkpoint to continue from "
            f"(relative paths start from {Path.cwd()}), or leave `ckpt_path` out to start anew."
        )
    try:
        checkpoint, configuration = require_loadable(path, [*calls(_as_written(root))])
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
    while not is_transferred(model) and isinstance(model.get("model"), dict):
        model = model["model"]
    return model
