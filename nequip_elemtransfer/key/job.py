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
from nequip_elemtransfer.structures.specs import require_there, split_spec

# Options of NequIP's datamodules that name a file, or several.
_DATA_FILES = ("file_path", "train_file_path", "val_file_path", "test_file_path", "predict_file_path")


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
    for where, path in _data_files(config.get("data"), "data"):
        require_there(split_spec(path)[0], f"`{where}`")


def _value(config: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(config, key)
    except OmegaConfBaseException:  # a look-up that is not registered yet, or what the training will say itself
        return None


def _data_files(section: Any, where: str) -> Iterator[tuple[str, str]]:
    """Place and path of each file of structures, at any depth."""
    if OmegaConf.is_list(section):
        for i in range(len(section)):
            yield from _data_files(section[i] if not OmegaConf.is_interpolation(section, i) else None, f"{where}[{i}]")
    if not OmegaConf.is_dict(section):
        return
    for key in section:
        value = _value(section, key)
        if key in _DATA_FILES:
            for path in value if OmegaConf.is_list(value) else [value]:
                if isinstance(path, str):
                    yield f"{where}.{key}", path
        else:
            yield from _data_files(value, f"{where}.{key}")
