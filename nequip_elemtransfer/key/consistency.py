"""Whether a NequIP config uses the key, and agrees with its transfer wherever it repeats what the transfer decides."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ase.data import atomic_numbers
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.builders import nested
from nequip_elemtransfer.config import TransferConfig, suggest

logger = RankedLogger(__name__, rank_zero_only=True)

_MODEL_LOOK_UP = re.compile(r"\$\{\s*element_transfer\s*:\s*model\s*\}")

# Options by which parts of a `data:` section, at any depth, are told the types and the cutoff of the model.
_TYPES = ("model_type_names", "type_names")
_CUTOFF = ("r_max",)
_SPECIES = ("chemical_species_to_atom_type_map",)

_MAPPER = ChemicalSpeciesToAtomTypeMapper.__name__

# A cutoff that differs by less is the same number, rounded.
_ROUNDING = 1e-6

# Neighbours, and the time and memory that they take, grow with the third power.
_FACTOR_TOO_LONG = 10


def require_key(config: Mapping[str, Any]) -> None:
    """Refuse a config that looks something up without a key.

    Args:
        config: with its interpolations as they are written

    Raises:
        ValueError: with the place or the name it has instead
    """
    if "element_transfer" in config:
        return
    elsewhere = [path for path, _ in _named(config, ("element_transfer",), "")]
    found = f": move it there from `{elsewhere[0]}`" if elsewhere else suggest("element_transfer", config)
    raise ValueError(f"the config looks up `element_transfer` but has no such key at the top level{found}.")


def require_model(config: Mapping[str, Any]) -> None:
    """Refuse a training that takes types or a cutoff from the key, but not the model.

    Args:
        config: with its interpolations as they are written

    Raises:
        ValueError: if no entry looks the model up
    """
    module = config.get("training_module")
    if isinstance(module, str) and _MODEL_LOOK_UP.search(module):
        raise ValueError(
            "`training_module` as a whole is `${element_transfer:model}`, which is the value of its `model`: set "
            "`training_module: {_target_: ..., model: ${element_transfer:model}, ...}`."
        )
    rest = {name: value for name, value in config.items() if name != "element_transfer"}
    if not any(isinstance(value, str) and _MODEL_LOOK_UP.search(value) for value in nested(rest)):
        model = module.get("model") if isinstance(module, Mapping) else module
        found = model.get("_target_", model) if isinstance(model, Mapping) else model
        raise ValueError(
            f"the config has the key `element_transfer` but does not look its model up, so nothing is transferred: "
            f"`training_module.model` is {found!r}; set `model: ${{element_transfer:model}}`, or leave the key out."
        )


def require_types(data: Any, type_names: Sequence[str]) -> None:
    """Refuse data that are told other types than the model's, or these in another order.

    Args:
        data: the ``data:`` section, plain
        type_names: of the model, in its order

    Raises:
        ValueError: with both lists
    """
    for path, found in _named(data, _TYPES, "data"):
        if found is not None and (isinstance(found, str) or not isinstance(found, Sequence) or [*found] != type_names):
            raise ValueError(
                f"`{path}` is {found}, and the model's types are {list(type_names)}, in this order: its atoms would be "
                f"taken for others. Set `{path.rpartition('.')[2]}: ${{element_transfer:type_names}}`."
            )


def require_species(data: Any, config: TransferConfig) -> None:
    """Refuse data that give a type the atoms of another element than the key does.

    Args:
        data: the ``data:`` section, plain

    Raises:
        ValueError: with the element and the type
    """
    elements = dict(zip(config.type_names, config.species(config.type_names)))
    other = [(name, element) for name, element in elements.items() if element != name and element in atomic_numbers]
    for path in _takes_types_for_symbols(data, "data") if other else ():
        raise ValueError(
            f"`{path}` takes the type {other[0][0]!r} for a chemical symbol, and for `element_transfer` it is "
            f"{other[0][1]}: set `{_SPECIES[0]}: {{{other[0][1]}: {other[0][0]}}}` there, with all types."
        )
    for path, species in _named(data, _SPECIES, "data"):
        for symbol, name in species.items() if isinstance(species, Mapping) else ():
            element = config.chemical_species.get(name, name)
            if element in atomic_numbers and element != symbol:
                raise ValueError(
                    f"`{path}` makes {symbol} atoms the type {name!r}, which is {element} for `element_transfer`: mend "
                    f"the map, or say `chemical_species: {{{name}: {symbol}}}` in the key."
                )


def require_symbols(data: Any, type_names: Sequence[str]) -> None:
    """Refuse types that the data would take for chemical symbols, and that are none.

    Args:
        data: the ``data:`` section, plain

    Raises:
        ValueError: with the type
    """
    unknown = [name for name in type_names if name not in atomic_numbers]
    for path in _takes_types_for_symbols(data, "data") if unknown else ():
        raise ValueError(
            f"`{path}` takes the type {unknown[0]!r} for a chemical symbol, which it is not: set "
            f"`{_SPECIES[0]}: {{...: {unknown[0]}}}` there, with all types."
        )


def require_cutoff(data: Any, r_max: float) -> None:
    """Refuse data whose neighbour lists are shorter than the model's cutoff, and warn of longer ones.

    Longer lists give the same energies and forces, since the model's envelope is zero beyond its cutoff.

    Args:
        data: the ``data:`` section, plain
        r_max: cutoff of the model in Å

    Raises:
        ValueError: with both cutoffs
    """
    for path, found in _named(data, _CUTOFF, "data"):
        if not isinstance(found, (int, float)) or isinstance(found, bool) or not found >= r_max * (1 - _ROUNDING):
            raise ValueError(
                f"`{path}` is {found!r}, and the model's cutoff is r_max = {r_max:.6g} Å: its neighbour lists would "
                "lack edges. Set `r_max: ${element_transfer:r_max}`."
            )
        if found > _FACTOR_TOO_LONG * r_max:
            raise ValueError(
                f"`{path}` is {found:g} Å, and the model's cutoff is r_max = {r_max:.6g} Å: such neighbour lists would "
                "fill the memory. Set `r_max: ${element_transfer:r_max}`."
            )
        if found > r_max * (1 + _ROUNDING):
            logger.warning(
                f"`{path}` is {found:g} Å, and the model's cutoff is r_max = {r_max:.6g} Å: longer neighbour lists "
                "cost time and change nothing. `r_max: ${element_transfer:r_max}` avoids it."
            )


def _takes_types_for_symbols(value: Any, path: str) -> Iterator[str]:
    """Path of every mapper of species to types, at any depth, that has no map, so that names of types are symbols."""
    if isinstance(value, Mapping):
        if str(value.get("_target_")).endswith(f".{_MAPPER}") and value.get(_SPECIES[0]) is None:
            yield path
        for name, inner in value.items():
            yield from _takes_types_for_symbols(inner, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _takes_types_for_symbols(inner, f"{path}[{i}]")


def _named(value: Any, names: Sequence[str], path: str) -> Iterator[tuple[str, Any]]:
    """Path and value of every entry of one of these names, at any depth."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            where = f"{path}.{name}" if path else str(name)
            if name in names:
                yield where, inner
            else:
                yield from _named(inner, names, where)
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _named(inner, names, f"{path}[{i}]")
