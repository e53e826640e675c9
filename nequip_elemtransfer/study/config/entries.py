"""How the entries of a study are read: each reader takes the key that it names in its sentence, and the value found."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.structures.specs import split_spec

T = TypeVar("T")
Reader = Callable[[str, Any], T]

ALL = "all"  # among sizes: as many structures as there are
# no quantity of a study comes near it; YAML takes whole numbers of any length
_LARGEST = 1e300


def mapping(key: str, value: Any, readers: Mapping[str, Reader[Any]], required: Sequence[str] = ()) -> dict[str, Any]:
    """A mapping with some of the keys of ``readers``, each read by its own, and all of ``required``; no null."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{key}` must be a mapping with {', '.join(readers)}, found {value!r}.")
    for name in value:
        if name not in readers:
            raise ValueError(f"`{key}` has no key {name!r}{suggest(str(name), readers)}.")
    for name in required:
        if value.get(name) is None:
            raise ValueError(f"`{key}` needs `{name}`.")
    return {name: readers[name](f"{key}.{name}", item) for name, item in value.items() if item is not None}


def into(kind: Callable[..., T], readers: Mapping[str, Reader[Any]], required: Sequence[str] = ()) -> Reader[T]:
    """A reader of :func:`mapping` as the arguments of a class; ``true`` stands for all of its defaults."""

    def read(key: str, value: Any) -> T:
        return kind(**mapping(key, {} if value is True and not required else value, readers, required))

    return read


def named(key: str, value: Any, read: Reader[T], *, may_be_empty: bool = False) -> dict[str, T]:
    """A mapping whose keys can be parts of file names, with its values read."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{key}` must be a mapping of names, found {value!r}.")
    if not value and not may_be_empty:
        raise ValueError(f"the grid has no runs: `{key}` is empty.")
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(
                f"`{key}` has the name {name!r}: use letters, digits and underscores (in quotes for a number)."
            )
    return {name: read(f"{key}.{name}", entry) for name, entry in value.items()}


def as_it_is(_: str, value: Any) -> Any:
    """The value itself, where what it must be depends on other entries."""
    return value


def filled_list(key: str, value: Any) -> list[Any]:
    """A list with at least one entry."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"`{key}` must be a list with at least one entry, found {value!r}.")
    return value


def unique(key: str, values: Sequence[T]) -> tuple[T, ...]:
    """The values, none of which comes twice."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"`{key}` lists {value!r} twice: each run is made once.")
    return tuple(values)


def integer(key: str, value: Any, least: int = 1) -> int:
    """One integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"`{key}` has {value!r}: integers of at least {least} are needed.")
    return value


def sizes(key: str, value: Any) -> tuple[int | str, ...]:
    """A list of numbers of structures, or ``all``."""
    return tuple(ALL if item == ALL else integer(key, item) for item in filled_list(key, value))


def any_number(key: str, value: Any) -> float:
    """A finite integer or float, not a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        raise ValueError(f"`{key}` must be a finite number, found {value!r:.100}.")
    return float(value)


def positive_number(key: str, value: Any) -> float:
    """A number above zero."""
    if not any_number(key, value) > 0:
        raise ValueError(f"`{key}` must be positive, found {value!r}.")
    return float(value)


def text(key: str, value: Any) -> str:
    """A word or more."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` must be a text, found {value!r}.")
    return value


def one_of(*choices: str) -> Reader[str]:
    """A reader of one of the words."""

    def read(key: str, value: Any) -> str:
        if value not in choices:
            raise ValueError(f"`{key}` is {value!r}: choose {' or '.join(choices)}.")
        return str(value)

    return read


def labels(key: str, value: Any) -> dict[str, Any]:
    """Labels that structures must have, each with its value or a list of values."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{key}` must be a mapping such as {{temperature: [300, 600]}}, found {value!r}.")
    return dict(value)


def require_file(key: str, path: str) -> None:
    """Refuse a file that is not there.

    Raises:
        FileNotFoundError: with the key that names it
    """
    if not split_spec(path)[0].is_file():
        raise FileNotFoundError(
            f"`{key}` names {path!r}, which does not exist (relative paths start from {Path.cwd()})."
        )


def hydra_overrides(key: str, value: Any) -> tuple[str, ...]:
    """A list of texts with an equals sign, or with the ``~`` that deletes an entry."""
    if not isinstance(value, list) or not all(
        isinstance(item, str) and ("=" in item or item.startswith("~")) for item in value
    ):
        raise ValueError(f"`{key}` must list Hydra overrides such as max_steps=100, found {value!r}.")
    return tuple(value)
