"""How the entries of a study are read: each reader takes the key that it names in its sentence, and the value found."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from nequip_elemtransfer.config import suggest

# no quantity of a study comes near it; YAML takes whole numbers of any length
_LARGEST = 1e300


def entries_of(key: str, value: Any, choices: Sequence[str], required: Sequence[str] = ()) -> dict[str, Any]:
    """A mapping with some of the keys ``choices`` and all of ``required``; entries that are null are left out."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{key}` must be a mapping with {', '.join(choices)}, found {value!r}.")
    for name in value:
        if name not in choices:
            raise ValueError(f"`{key}` has no key {name!r}{suggest(str(name), choices)}.")
    for name in required:
        if value.get(name) is None:
            raise ValueError(f"`{key}` needs `{name}`.")
    return {name: item for name, item in value.items() if item is not None}


def field_names(kind: type) -> tuple[str, ...]:
    """The keys of an entry that is read as a dataclass."""
    return tuple(entry.name for entry in fields(kind))


def named(key: str, value: Any, parse: Callable[[str, Any], Any], *, may_be_empty: bool = False) -> dict[str, Any]:
    """A mapping whose keys can be parts of file names, with its values parsed."""
    if not isinstance(value, Mapping):
        raise ValueError(f"`{key}` must be a mapping of names, found {value!r}.")
    if not value and not may_be_empty:
        raise ValueError(f"the grid has no runs: `{key}` is empty.")
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ValueError(
                f"`{key}` has the name {name!r}: use letters, digits and underscores (in quotes for a number)."
            )
    return {name: parse(f"{key}.{name}", entry) for name, entry in value.items()}


def unparsed(_: str, value: Any) -> Any:
    """The value as it is, for :func:`named`."""
    return value


def filled_list(key: str, value: Any) -> list[Any]:
    """A list with at least one entry."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"`{key}` must be a list with at least one entry, found {value!r}.")
    return value


def unique(key: str, values: Sequence[Any]) -> list[Any]:
    """The values, none of which comes twice."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"`{key}` lists {value!r} twice: each run is made once.")
    return list(values)


def integers(key: str, value: Any, *, least: int, may_be_empty: bool = False) -> tuple[int, ...]:
    """A list of different integers."""
    if not isinstance(value, list) or not (value or may_be_empty):
        raise ValueError(f"the grid has no runs: `{key}` must list integers, found {value!r}.")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or item < least:
            raise ValueError(f"`{key}` has {item!r}: integers of at least {least} are needed.")
    return tuple(unique(key, value))


def positive_integer(key: str, value: Any) -> int:
    """One integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{key}` has {value!r}: integers of at least 1 are needed.")
    return value


def any_number(key: str, value: Any) -> float:
    """A finite integer or float, not a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        raise ValueError(f"`{key}` must be a finite number, found {value!r:.100}.")
    return float(value)


def text(key: str, value: Any) -> str:
    """A word or more."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{key}` must be a text, found {value!r}.")
    return value


def positive_number(key: str, value: Any) -> float:
    """A number above zero."""
    if not any_number(key, value) > 0:
        raise ValueError(f"`{key}` must be positive, found {value!r}.")
    return float(value)


def hydra_overrides(key: str, value: Any) -> tuple[str, ...]:
    """A list of texts with an equals sign, or with the ``~`` that deletes an entry."""
    if not isinstance(value, list) or not all(
        isinstance(item, str) and ("=" in item or item.startswith("~")) for item in value
    ):
        raise ValueError(f"`{key}` must list Hydra overrides such as max_steps=100, found {value!r}.")
    return tuple(value)
