"""The ``element_transfer:`` key of a NequIP config, parsed and validated."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any, Literal

from ase.data import atomic_numbers

COMPILE_MODES = ("eager", "compile")

_ELEMENTS_EXAMPLE = "e.g. `elements: {Ge: Si}` (target type: the source type it starts from)"

# What a structure may be labelled with.
LabelKind = Literal["energy", "forces", "stress"]
LABEL_KINDS: tuple[LabelKind, ...] = ("energy", "forces", "stress")
KIND_NAMES: dict[LabelKind, str] = {"energy": "energies", "forces": "forces", "stress": "stresses"}

# `length_scale: {lattice: {Si: 5.469, Ge: 5.763}}` and `energy_shifts: {isolated_atoms: {Ge: -0.1}}`
LATTICE, ISOLATED_ATOMS = "lattice", "isolated_atoms"

KEPT_TYPES = ("frozen", "fit")

_ATOMIC = (-2e6, 2e6, "the energy of an atom lies between -2e6 eV, with all electrons, and 2e6 eV")
# Lowest and highest number that is taken for each setting, and what it is. Others are slips, of the decimal point or of
# the quantity.
_PLAUSIBLE = {
    # covalent radii, from 0.28 Å for helium to 2.60 Å for francium, and half as much again; of one pair of elements the
    # range is narrower (`require_plausible_lengths` in `lengths/scales.py`)
    "length_scale": (
        1 / 14,
        14.0,
        "λ, the target's bond lengths over the source's, lies between 1/14 and 14 for any elements; the cutoff is λ "
        "times the source's",
    ),
    f"length_scale.{LATTICE}": (0.1, 1000.0, "a lattice constant lies between 1 and 100 Å"),  # also in nm and pm
    # a source that was hardly trained is scaled by hundreds in a fit, whose result `plan` writes into a config
    "energy_scale": (1e-6, 1e6, "α, the target's binding energies over the source's, lies between 1e-6 and 1e6"),
    "energy_shifts": _ATOMIC,
    f"energy_shifts.{ISOLATED_ATOMS}": _ATOMIC,
}

# A setting that is one of some words, one number for every type, or a number per target type.
Setting = str | float | dict[str, float] | dict[str, dict[str, float]]

# What a target type starts from: a source type, `auto`, `random`, or source types with convex weights.
TypeStart = str | dict[str, float]


@dataclass(frozen=True)
class TransferConfig:
    """What the user asked for under ``element_transfer:``.

    .. code-block:: yaml

        element_transfer:
          source: ../si/best.ckpt
          elements: {Ge: Si}
          length_scale: fit
          energy_scale: fit
          energy_shifts: fit

    Args:
        source: the trained model: a ``.ckpt`` or ``.nequip.zip`` file, or ``nequip.net:group/model:version``
        elements: target type -> the source type it starts from, a blend ``{source type: weight}``, ``auto`` (its
            neighbours in the periodic table) or ``random`` (a baseline)
        length_scale: ``fit``, ``covalent_radii``, ``none``, λ (dimensionless) as a number or per target type, or
            lattice constants as ``{lattice: {Si: 5.469, Ge: 5.763}}``
        energy_scale: ``fit``, ``none``, or α (dimensionless) as a number or per target type
        energy_shifts: ``fit``, ``source``, the energy shift of each target type in eV, or ``isolated_atoms``: such that
            isolated atoms have the energies they have in the training structures or in ``{isolated_atoms: {Ge: -0.1}}``
        fit_weights: of energies, forces and stresses in the fits of λ and α; zero leaves a kind out
        kept_types: ``frozen``, which leaves types that keep their name as they are, or ``fit``, which treats them as
            any other, for a new reference method of the same element
        sha256: hexadecimal SHA-256 the source file must have
        compile_mode: ``eager`` or ``compile``; the source's own mode if left out
        chemical_species: chemical symbol of types, of target or source, that are not named after their element
    """

    source: str
    elements: dict[str, TypeStart]
    length_scale: Setting = "fit"
    energy_scale: Setting = "fit"
    energy_shifts: Setting = "fit"
    sha256: str | None = None
    fit_weights: dict[LabelKind, float] = field(default_factory=lambda: dict.fromkeys(LABEL_KINDS, 1.0))
    kept_types: str = "frozen"
    compile_mode: str | None = None
    chemical_species: dict[str, str] = field(default_factory=dict)

    # the words each setting accepts, and whether one number for all types makes sense
    _WORDS = {
        "length_scale": (("fit", "covalent_radii", "none"), True),
        "energy_scale": (("fit", "none"), True),
        "energy_shifts": (("fit", "source", ISOLATED_ATOMS), False),
    }

    @classmethod
    def from_mapping(cls, key: Any) -> "TransferConfig":
        """Parse the plain value of the key.

        Raises:
            ValueError: with the offending value, what is allowed and how to mend it
        """
        if not isinstance(key, Mapping):
            raise ValueError(
                f"`element_transfer` must be a mapping with at least `source` and `elements`, found {key!r}."
            )
        names = [f.name for f in fields(cls)]
        for name in key:
            if name not in names:
                raise ValueError(f"`element_transfer` has no key {name!r}{suggest(name, names)}.")
        for name in ("source", "elements"):
            if key.get(name) is None:
                raise ValueError(
                    f"`element_transfer.{name}` is missing: "
                    "give e.g. `source: ../si/best.ckpt` and `elements: {Ge: Si}`."
                )
        elements = _elements(key["elements"])
        settings = {
            name: _setting(name, key[name], words, number, tuple(elements))
            for name, (words, number) in cls._WORDS.items()
            if key.get(name) is not None
        }
        return cls(
            source=_text("source", key["source"]),
            elements=elements,
            sha256=_sha256(key.get("sha256")),
            fit_weights=_fit_weights(key.get("fit_weights")),
            kept_types=_choice("kept_types", key.get("kept_types"), KEPT_TYPES) or "frozen",
            compile_mode=_choice("compile_mode", key.get("compile_mode"), COMPILE_MODES),
            chemical_species=_species(key.get("chemical_species")),
            **settings,
        )

    @property
    def type_names(self) -> list[str]:
        """The target model's types, in the order of ``elements``."""
        return list(self.elements)

    @property
    def isolated_atom_energies(self) -> dict[str, float] | None:
        """Energies in eV to give to isolated atoms; empty if the structures tell them, None if not asked for."""
        if self.energy_shifts == ISOLATED_ATOMS:
            return {}
        given = isinstance(self.energy_shifts, Mapping) and self.energy_shifts.get(ISOLATED_ATOMS)
        return given if isinstance(given, Mapping) else None

    def species(self, types: Iterable[str]) -> list[str]:
        """Chemical symbol of each type: what ``chemical_species`` says, else the type's own name."""
        return [self.chemical_species.get(name, name) for name in types]

    def require_known_types(self, source_types: Iterable[str]) -> None:
        """Refuse what is said of a type that is of neither target nor source.

        Raises:
            ValueError: with its name
        """
        types = dict.fromkeys([*self.elements, *source_types])
        lattice = self.length_scale.get(LATTICE, {}) if isinstance(self.length_scale, Mapping) else {}
        named = {"chemical_species": self.chemical_species, f"length_scale.{LATTICE}": lattice}
        for entry, names in named.items():
            for name in names if isinstance(names, Mapping) else ():
                if name not in types:
                    raise ValueError(
                        f"`element_transfer.{entry}` names {name!r}, which is a type of neither target nor source"
                        f"{suggest(name, types)}."
                    )


def implausible(setting: str, value: float) -> str:
    """What a setting is and where it lies, if a number that was fitted lies elsewhere: the key would refuse it."""
    low, high, meaning = _PLAUSIBLE[setting]
    return "" if low <= value <= high else meaning


def start_text(start: TypeStart) -> str:
    """A source type, or a blend as ``0.5 Si + 0.5 Sn``."""
    return start if isinstance(start, str) else " + ".join(f"{weight:.3g} {name}" for name, weight in start.items())


def suggest(value: Any, choices: Iterable[Any]) -> str:
    """``"; did you mean 'x'? Choices: ..."`` for the end of an error message."""
    named = {str(choice).lower(): str(choice) for choice in choices}
    near = difflib.get_close_matches(str(value).lower(), named, n=1)
    question = f"; did you mean {named[near[0]]!r}?" if near else "."
    return f"{question} Choices: {', '.join(named.values())}"


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"`element_transfer.{name}` must be a path, found {value!r}.")
    return value


def _elements(value: Any) -> dict[str, TypeStart]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"`element_transfer.elements` must map target types, found {value!r}: {_ELEMENTS_EXAMPLE}.")
    return {_type_name(target, target=True): _start(target, start) for target, start in value.items()}


def _start(target: str, value: Any) -> TypeStart:
    if not isinstance(value, Mapping):
        return _type_name(value)
    weights = {_type_name(name): weight for name, weight in value.items()}
    where = f"the blend for {target!r} in `element_transfer.elements`"
    for name, weight in weights.items():
        if not _is_number(weight) or not 0 <= weight <= 1:
            raise ValueError(f"{where} gives {name!r} the weight {weight!r:.100}: weights are numbers from 0 to 1.")
    if not math.isclose(sum(weights.values()), 1.0, abs_tol=1e-6):
        raise ValueError(
            f"the weights of {where} sum to {sum(weights.values()):g}: weights must sum to 1, "
            "as in {Si: 0.5, Sn: 0.5}."
        )
    return weights


def _type_name(value: Any, target: bool = False) -> str:
    # YAML reads the bare word No (nobelium) as false
    if not isinstance(value, str):
        raise ValueError(
            f"`element_transfer.elements` holds {value!r} where a type name is expected: "
            f"{_ELEMENTS_EXAMPLE}; put names that YAML reads otherwise in quotes, as in 'No'."
        )
    if target and not value.isalnum():
        raise ValueError(
            f"target type {value!r} in `element_transfer.elements` is refused: NequIP's type names "
            "hold only letters and digits."
        )
    return value


def _setting(name: str, value: Any, words: tuple, number: bool, types: tuple) -> Setting:
    nested, parse = {"length_scale": (LATTICE, _lattice), "energy_shifts": (ISOLATED_ATOMS, _isolated_atoms)}.get(
        name, (None, None)
    )
    kinds = [*words, *(["a number"] if number else []), f"a number per type such as {{{types[0]}: ...}}"]
    kinds += [] if nested is None else [f"{{{nested}: {{{types[0]}: ...}}}}"]
    if isinstance(value, str):
        if value not in words:
            raise ValueError(f"`element_transfer.{name}` is {value!r}{suggest(value, kinds)}.")
        return value
    if parse and nested and isinstance(value, Mapping) and nested in value and nested not in types:
        if len(value) > 1 or not isinstance(value[nested], Mapping):
            choice = f"{nested!r} stands alone and maps types to numbers, {{{nested}: {{{types[0]}: ...}}}}"
            raise ValueError(f"`element_transfer.{name}` is {dict(value)!r}: {choice}.")
        return {nested: parse(f"{name}.{nested}", value[nested], types)}
    if isinstance(value, Mapping):
        return {t: _number(name, value[t], t) for t in _complete(name, value, types)}
    if number and _is_number(value):
        return _number(name, value)
    raise ValueError(f"`element_transfer.{name}` is {value!r}; choices: {', '.join(kinds)}.")


def _lattice(name: str, value: Mapping, types: tuple) -> dict[str, float]:
    """Lattice constants, also of source types, which are not known here."""
    return {t: _number(name, number, t) for t, number in value.items()}


def _isolated_atoms(name: str, value: Mapping, types: tuple) -> dict[str, float]:
    """Energies of target types; those that are left out may be in the structures."""
    _require_types(name, value, types)
    return {t: _number(name, number, t) for t, number in value.items()}


def _complete(name: str, value: Mapping, types: tuple) -> tuple:
    _require_types(name, value, types)
    missing = [t for t in types if t not in value]
    if missing:
        raise ValueError(
            f"`element_transfer.{name}` gives no number for {', '.join(missing)}: name every type of `elements`."
        )
    return types


def _require_types(name: str, value: Mapping, types: tuple) -> None:
    for t in value:
        if t not in types:
            raise ValueError(
                f"`element_transfer.{name}` names the type {t!r}, which is not in `elements`{suggest(t, types)}."
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _number(name: str, value: Any, type_name: str | None = None) -> float:
    found = f"{value!r:.100}" if type_name is None else f"{value!r:.100} for {type_name!r}"
    if not _is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"`element_transfer.{name}` needs finite numbers, found {found}.")
    if not name.startswith("energy_shifts") and value <= 0:
        raise ValueError(f"`element_transfer.{name}` must be positive, found {found}.")
    low, high, meaning = _PLAUSIBLE[name]
    if not low <= value <= high:
        raise ValueError(f"`element_transfer.{name}` is {found}, which cannot be meant: {meaning}.")
    return float(value)


def _species(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(
            f"`element_transfer.chemical_species` must map types to elements as in {{GeBulk: Ge}}, found {value!r}."
        )
    for name, symbol in value.items():
        if not isinstance(symbol, str) or symbol not in atomic_numbers or symbol == "X":
            raise ValueError(
                f"`element_transfer.chemical_species` gives {name!r} the element {symbol!r}, which does not exist"
                f"{suggest(symbol, atomic_numbers) if isinstance(symbol, str) else '.'}"
            )
    return dict(value)


def _fit_weights(value: Any) -> dict[LabelKind, float]:
    if value is None:
        return dict.fromkeys(LABEL_KINDS, 1.0)
    if not isinstance(value, Mapping):
        raise ValueError(
            "`element_transfer.fit_weights` must be a mapping such as {energy: 1, forces: 1, stress: 1}, found "
            f"{value!r}."
        )
    for kind, weight in value.items():
        if kind not in LABEL_KINDS:
            raise ValueError(f"`element_transfer.fit_weights` has no {kind!r}{suggest(kind, LABEL_KINDS)}.")
        if not _is_number(weight) or not (weight == 0 or 1e-6 <= weight <= 1e6):  # larger ratios leave a kind out
            where = f"`element_transfer.fit_weights` gives {kind!r} the weight {weight!r:.100}"
            raise ValueError(f"{where}: give 0, or a number from 1e-6 to 1e6.")
    weights = {kind: float(value.get(kind, 1.0)) for kind in LABEL_KINDS}
    if not any(weights.values()):
        raise ValueError("`element_transfer.fit_weights` leaves out every kind of label: give one of them a weight.")
    return weights


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value is not None and value not in choices:
        raise ValueError(f"`element_transfer.{name}` is {value!r}{suggest(value, choices)}.")
    return value


def _sha256(value: Any) -> str | None:
    if value is None:
        return None
    # an unquoted all-digit hash is a number to YAML
    text = str(value).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(
            f"`element_transfer.sha256` must be the 64 hexadecimal digits that `sha256sum` prints, found {value!r}."
        )
    return text
