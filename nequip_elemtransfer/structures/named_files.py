"""The files that a NequIP ``data:`` section names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nequip_elemtransfer.structures.specs import split_spec

DATA_ROLES = ("train", "val", "test", "predict")
_ASE = ("ASEDataModule", "ASEDataset")

# Levels of a section; those of a checkpoint that someone else wrote may have no end.
_DEEPEST = 20


@dataclass(frozen=True)
class NamedFile:
    """A file that a ``data:`` section names.

    Args:
        where: its place in the config, such as ``data.train_file_path``
        spec: as it is named
        roles: of its structures, of ``DATA_ROLES``; empty where the place does not say
        by_ase: whether NequIP reads it through ASE
        section: of the data set that it is of, which says how its labels are named
    """

    where: str
    spec: str
    roles: frozenset[str]
    by_ase: bool
    section: Mapping[str, Any]


def named_files(data: Mapping[str, Any]) -> list[NamedFile]:
    """Every file that a ``data:`` section names, at any depth.

    Args:
        data: plain; what is no text or list of texts names no file
    """
    return list(_named_files(data, "data", frozenset(), {}))


def _named_files(value: Any, path: str, roles: frozenset[str], holder: Mapping[str, Any]) -> Iterator[NamedFile]:
    if isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _named_files(inner, f"{path}[{i}]", roles, holder)
    if not isinstance(value, Mapping) or path.count(".") > _DEEPEST:
        return
    holder = value if "_target_" in value else holder
    roles = roles or frozenset(role for role in DATA_ROLES if isinstance(value.get(role), (int, float)))  # of a split
    for name, inner in value.items():
        own = next((frozenset([role]) for role in DATA_ROLES if str(name).startswith(f"{role}_")), roles)
        if str(name).split("_")[-2:] == ["file", "path"]:
            for spec in [inner] if isinstance(inner, str) else inner if isinstance(inner, list) else []:
                if isinstance(spec, str):
                    by_ase = str(holder.get("_target_")).endswith(_ASE)
                    yield NamedFile(f"{path}.{name}", spec, own, by_ase, holder)
        else:
            yield from _named_files(inner, f"{path}.{name}", own, holder)


def require_named_files(data: Mapping[str, Any]) -> None:
    """Refuse a ``data:`` section that names a file that is not there, whatever it is for.

    Raises:
        FileNotFoundError: with the place in the config
    """
    for file in named_files(data):
        path = split_spec(file.spec)[0] if file.by_ase else Path(file.spec)
        if not path.exists():
            raise FileNotFoundError(
                f"`{file.where}` names {file.spec!r}, which is not a file (relative paths start from {Path.cwd()})."
            )
