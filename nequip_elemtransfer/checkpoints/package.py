"""Packages of ``nequip-package``: what they say of themselves, read without running the code they hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nequip
import yaml

from nequip_elemtransfer.checkpoints import archive
from nequip_elemtransfer.checkpoints.callables import fault
from nequip_elemtransfer.checkpoints.gate import existing_file
from nequip_elemtransfer.checkpoints.migration import release, versions_of
from nequip_elemtransfer.output.refusal import RefusedFile, first_line, shortened

_METADATA, _CONFIG = "model/package_metadata.txt", "model/config.yaml"


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
    if found := fault([metadata, config]):
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
