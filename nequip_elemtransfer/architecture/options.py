"""The options of a model builder that have one meaning in all of NequIP: are they what they must be?

A file may hold anything. Builders meet a wrong option with whatever error comes first, or with a model that no memory
holds.
"""

import math
import re
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from nequip_elemtransfer.output.refusal import RefusedFile, shortened

# lengths and times grow with it; cutoffs are a few Å, or that in another unit of length
_LONGEST_CUTOFF = 100.0

# e3nn knows Wigner matrices up to it
_LARGEST_L = 11

# options that grow a model, and among them those that count modules one behind the other
_SIZE = re.compile(r"num_.*|.*(width|depth|features|dim|layers|bessels|splines|span|irreps).*")
_DEPTH = re.compile(r"num_layers|.*depth")
_IRREPS = re.compile(r"(?:(\d+)x)?(\d+)[eo]")


def check_model_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no model has, as far as they are given.

    Raises:
        RefusedFile: with the option's name and value
    """
    if "type_names" in options:
        _check_types(options["type_names"])
    types = options.get("type_names", [])
    for name, is_valid, needed in (
        ("r_max", lambda v: _is_number(v) and 0 < v <= _LONGEST_CUTOFF, f"a length from 0 to {_LONGEST_CUTOFF:g} Å"),
        ("model_dtype", ("float32", "float64").__contains__, "float32 or float64"),
        ("seed", lambda v: _is_whole(v) and abs(v) < 2**63, "a whole number"),
        ("compile_mode", ("eager", "compile", None).__contains__, "eager or compile"),
        ("l_max", lambda v: _is_whole(v) and 0 <= v <= _LARGEST_L, f"a whole number from 0 to {_LARGEST_L}"),
        ("num_layers", lambda v: _is_whole(v) and v > 0, "a whole number from 1 on"),
        ("per_edge_type_cutoff", lambda v: v is None or _is_cutoffs(v, types), "a length in Å for pairs of types"),
        ("per_type_energy_scales", lambda v: _is_per_type(v, types), "a number, or one for each type"),
        ("per_type_energy_shifts", lambda v: _is_per_type(v, types), "a number, or one for each type"),
        ("avg_num_neighbors", lambda v: _is_per_type(v, types, above=0.0), "a number above 0, or one for each type"),
        ("pair_potential", lambda v: v is None or isinstance(v, Mapping), "a mapping"),
    ):
        if name in options and not is_valid(options[name]):
            raise RefusedFile(f"`{name}` is {shortened(options[name])}; {needed} is needed.")


def check_size(options: Mapping[str, Any], n_tensors: int, n_numbers: int) -> None:
    """Refuse sizes that cannot be those of a model with so many weights, before somebody tries to build it.

    Args:
        n_tensors: in the model's state
        n_numbers: in all of them

    Raises:
        RefusedFile: with the option's name and value
    """
    for name, size in _sizes(options):
        most = n_tensors if _DEPTH.fullmatch(name) else n_numbers
        if name == "num_features":
            most = 4 * math.isqrt(n_numbers)  # a layer holds matrices of features by features
        if size > most:
            raise RefusedFile(
                f"`{name}` is {size}, but the weights in the file, {n_numbers} numbers in {n_tensors} tensors, are not "
                "those of such a model."
            )


def _check_types(types: Any) -> None:
    if not isinstance(types, (list, tuple)) or not types:
        raise RefusedFile(f"`type_names` is {shortened(types)}; a list of names is needed.")
    for name in types:
        if not isinstance(name, str) or not name.isalnum():
            raise RefusedFile(f"`type_names` holds {shortened(name)}; a type name holds only letters and digits.")
    if len(set(types)) < len(types):
        raise RefusedFile(f"`type_names` is {shortened(types)}; each type has one name.")


def _sizes(options: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Name and value of each whole number in options, multiplicities in irreps such as ``32x0e`` among them."""
    for name, value in options.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, Mapping):
                yield from _sizes(item)
            elif not _SIZE.fullmatch(str(name)):
                continue
            elif _is_whole(item):
                yield name, item
            elif isinstance(item, str):
                for multiplicity, degree in _IRREPS.findall(item):
                    if len(multiplicity + degree) > 9 or int(degree) > _LARGEST_L:
                        raise RefusedFile(f"`{name}` is {shortened(item)}, which is larger than any model.")
                    yield name, int(multiplicity or 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_per_type(value: Any, types: list[str], above: float = -math.inf) -> bool:
    if isinstance(value, Mapping) and set(value) != set(types):
        return False
    values = value.values() if isinstance(value, Mapping) else [value]
    return value is None or all(_is_number(v) and v > above for v in values)


def _is_cutoffs(value: Any, types: list[str]) -> bool:
    """Whether it maps centers to a length, or to a length for each neighbour."""
    if not isinstance(value, Mapping) or not set(value) <= set(types):
        return False
    rows = [row if isinstance(row, Mapping) else dict.fromkeys(types, row) for row in value.values()]
    return all(set(row) <= set(types) and all(map(_is_cutoff, row.values())) for row in rows)


def _is_cutoff(value: Any) -> bool:
    return _is_number(value) and 0 < value <= _LONGEST_CUTOFF
