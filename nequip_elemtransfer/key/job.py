"""A config as ``nequip-train`` composes it, and the paths in it, before anything is imported that takes seconds."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nequip_elemtransfer.output.paths import existing, require_source
from nequip_elemtransfer.structures.named_files import require_named_files


@contextmanager
def composed(folder: str | None, name: str, overrides: Sequence[str]) -> Iterator[DictConfig]:
    """The config of a job, whose output folder is a temporary one.

    Args:
        folder: of the config; None for the working directory
        name: of the config
        overrides: as on the command line of ``nequip-train``

    Raises:
        ValueError: there is no such config, an override does not fit, or the folder is one that ``nequip-train`` would
            look for elsewhere
    """
    if folder is not None and not os.path.isabs(folder):
        raise ValueError(
            f"-cp {folder} is relative, which `nequip-train` takes to start from its own code: give it as an absolute "
            f'path, "$PWD/{folder}".'
        )
    folder = folder or os.getcwd()
    existing(folder, f"-cp {folder}", "give the folder of the config", folder=True)
    with TemporaryDirectory() as out, initialize_config_dir(folder, version_base=None):
        try:
            job = compose(name, list(overrides), return_hydra_config=True)
        except HydraException as error:
            raise ValueError(" ".join(str(error).split())) from error
        with open_dict(job):
            job.hydra.runtime.output_dir = out
            job.hydra.job.config_name = name
            config = job.copy()
            del config["hydra"]
        HydraConfig.instance().set_config(job)
        try:
            yield config
        finally:
            HydraConfig.instance().cfg = None


def require_paths(config: DictConfig) -> None:
    """Refuse what a config names and is not there; what it looks up is left for later.

    Raises:
        FileNotFoundError: with the path, and where it stands
    """
    source, restart = _value(config, "element_transfer.source"), _value(config, "ckpt_path")
    if isinstance(restart, str):
        existing(restart, f"`ckpt_path` {restart!r}", "give the checkpoint to continue from, or leave it out")
    elif isinstance(source, str):
        require_source(source)
    data = _plain(_value(config, "data"))
    if isinstance(data, dict):
        require_named_files(data)


def _value(config: Any, key: str) -> Any:
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:  # a look-up that is not registered yet, or what the training will say itself
        return None


def _plain(section: Any) -> Any:
    """A section as plain data, in which only what names files is resolved: a look-up would make the whole start."""
    if OmegaConf.is_list(section):
        return [None if _is_left(section, i) else _plain(section[i]) for i in range(len(section))]
    if not OmegaConf.is_dict(section):
        return section
    paths = {key: _paths(section, key) for key in section if str(key).endswith("file_path")}
    return {key: _plain(section[key]) for key in section if key not in paths and not _is_left(section, key)} | paths


def _paths(section: DictConfig, key: Any) -> Any:
    value = _value(section, key)
    return [_value(value, f"[{i}]") for i in range(len(value))] if OmegaConf.is_list(value) else value


def _is_left(section: Any, key: Any) -> bool:
    return OmegaConf.is_interpolation(section, key) or OmegaConf.is_missing(section, key)
