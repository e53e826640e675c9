"""The record of a transfer that a model carries: has it the fields that are read from it?"""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from ase.data import atomic_numbers

from nequip_elemtransfer.config import ISOLATED_ATOMS, LATTICE
from nequip_elemtransfer.output.refusal import RefusedFile, shortened


def check_provenance(record: Any) -> None:
    """Refuse a record that lacks what :mod:`.receipt` and ``nequip-deploy info`` show of it.

    Other fields may be there.

    Raises:
        RefusedFile: with the first field that is missing or of another kind
    """
    _check(record, _FIELDS, "")
    for place, is_right in _LATER_FIELDS.items():
        *outer, name = place.split(".")
        holder = record[outer[0]] if outer else record
        if name in holder:
            _check(holder[name], is_right, place)
    types = set(record["elements"])
    for name in ("length_scale", "energy_scale", "energy_shifts"):
        if set(record[name]["per_type"]) != types:
            raise RefusedFile(_sentence(f"{name}.per_type", record[name]["per_type"]))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_known_number(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_error(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_number_per_type(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(_is_known_number, value.values()))


def _is_error_per_type(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(name) and (error is None or (_is_known_number(error) and error >= 0)) for name, error in value.items()
    )


def _is_setting(value: Any) -> bool:
    return _is_text(value) or _is_known_number(value) or _is_number_per_type(value) or _is_named_numbers(value)


def _is_named_numbers(value: Any) -> bool:
    """``{lattice: {Si: 5.469, Ge: 5.763}}``, ``{isolated_atoms: {Ge: -0.1}}``."""
    return (
        isinstance(value, Mapping)
        and len(value) == 1
        and all(name in (LATTICE, ISOLATED_ATOMS) for name in value)
        and all(map(_is_number_per_type, value.values()))
    )


def _is_starts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(target) and target.isalnum() and (_is_text(start) or (_is_number_per_type(start) and len(start) > 0))
        for target, start in value.items()
    )


def _is_species(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(name) and _is_text(symbol) and atomic_numbers.get(symbol, 0) > 0 for name, symbol in value.items()
    )


def _is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_count, value))


Fields = dict[str, Any]

# a field's own fields, those of each item of a list, or what tells whether its value is right
_FIELDS: Fields = {
    "source": _is_text,
    "sha256": _is_text,
    "elements": _is_starts,
    "length_scale": {
        "setting": _is_setting,
        "per_type": _is_number_per_type,
        "r_max": {"source": _is_known_number, "target": _is_known_number},
    },
    "energy_scale": {"setting": _is_setting, "per_type": _is_number_per_type, "common_to": _is_texts},
    "energy_shifts": {
        "setting": _is_setting,
        "per_type": _is_number_per_type,
        "rank": _is_count,
        "fitted_types": _is_texts,
        "undetermined_types": _is_texts,
    },
    "n_frames": _is_count,
    "tensors": [{"name": _is_text, "shape": _is_shape, "action": _is_text}],
    "zero_shot": [
        {
            "step": _is_text,
            "force_mae": _is_error,
            "force_rmse": _is_error,
            "energy_mae": _is_error,
            "energy_mae_refitted": _is_error,
        }
    ],
    "weights": _is_text,
}

# Fields that records of earlier versions do not have.
_LATER_FIELDS: dict[str, Callable[[Any], bool]] = {
    "length_scale.errors": _is_error_per_type,
    "energy_scale.errors": _is_error_per_type,
    "energy_shifts.errors": _is_error_per_type,
    "chemical_species": _is_species,
    "pair_potential": lambda value: value is None or _is_text(value),
}


def _check(value: Any, wanted: Fields | list[Fields] | Callable[[Any], bool], place: str) -> None:
    if callable(wanted):
        is_right = wanted(value)
    else:
        is_right = isinstance(value, list if isinstance(wanted, list) else Mapping)
    if not is_right:
        raise RefusedFile(_sentence(place, value))
    if isinstance(wanted, list):
        for i, item in enumerate(value):
            _check(item, wanted[0], f"{place}.{i}")
    elif isinstance(wanted, dict):
        for name, inner in wanted.items():
            where = f"{place}.{name}" if place else name
            if name not in value:
                raise RefusedFile(f"the record of its transfer has no `{where}`: it was altered or cut.")
            _check(value[name], inner, where)


def _sentence(place: str, value: Any) -> str:
    name = f"`{place}` of the record of its transfer" if place else "the record of its transfer"
    return f"{name} is {shortened(value)}, which no transfer writes: it was altered or cut."
