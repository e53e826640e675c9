"""Packages of ``nequip-package``: what they say of themselves, read without running the code they hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nequip
import yaml

from nequip_elemtransfer.checkpoints import archive
from nequip_elemtransfer.checkpoints.callables import fault
from nequip_elemtransfer.checkpoints.gate import existing_file
from nequip_elemtransfer.output.refusal import RefusedFile, first_line, shortened

_METADATA, _CONFIG = "model/package_metadata.txt", "model/config.yaml"


def is_package(path: str | Path) -> bool:
    """Whether NequIP would read the file as a package."""
    return str(path).endswith(".nequip.zip")


def read_package(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata of a package, and the configuration of the training it came from.

    PyTorch's own importer would run the package's ``model/__init__.py`` to read these two texts.

    Raises:
        FileNotFoundError: if there is no such file
        RefusedFile: if it is damaged, no package of NequIP, or holds anything but plain data in these places
    """
    try:
        _, contents = archive.read(existing_file(path), lambda name: name.partition("/")[2] in (_METADATA, _CONFIG))
        texts = {name.partition("/")[2]: text for name, text in contents.items()}
        metadata, config = yaml.safe_load(texts[_METADATA]), yaml.safe_load(texts[_CONFIG])
    except archive.Damaged as error:
        raise RefusedFile(f"{_source(path)} is damaged or not a package: copy it again. ({error})") from error
    except (KeyError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RefusedFile(f"{_source(path)} is not a package of `nequip-package`. ({first_line(error)})") from error
    if found := fault([metadata, config]):
        raise RefusedFile(f"{_source(path)} {found}.")
    if not _is_whole(metadata, config):
        raise RefusedFile(
            f"{_source(path)} is not a package of `nequip-package`: versions, types or the model are not in its texts."
        )
    return metadata, config


def packaged_section(path: str | Path) -> Any:
    """The ``model:`` section of the training that a package came from.

    Raises:
        FileNotFoundError, RefusedFile: as for :func:`read_package`, or if a newer NequIP made it
    """
    metadata, config = read_package(path)
    written_by = str(metadata["versions"].get("nequip"))
    if _release(written_by) > _release(nequip.__version__):
        raise RefusedFile(
            f"{_source(path)} was packaged by NequIP {written_by}, which is newer than the installed "
            f"{nequip.__version__}: update NequIP."
        )
    return config["training_module"]["model"]


def type_names(metadata: Mapping[str, Any]) -> list[str]:
    """The types in the metadata of a package, in order."""
    return [metadata["atom_types"][i] for i in range(len(metadata["atom_types"]))]


def _is_whole(metadata: Any, config: Any) -> bool:
    sections = [(metadata, "versions"), (metadata, "atom_types"), (config, "training_module")]
    if not all(isinstance(part, Mapping) and isinstance(part.get(name), Mapping) for part, name in sections):
        return False
    numbers = set(range(len(metadata["atom_types"])))
    return set(metadata["atom_types"]) == numbers and isinstance(config["training_module"].get("model"), Mapping)


def _release(version: str) -> tuple[int, ...]:
    """Major and minor number; what NequIP may change a package's contents with."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _source(path: str | Path) -> str:
    return f"source {shortened(str(path), 1000)}"
