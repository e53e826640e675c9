"""How files of structures are to be read where they do not follow NequIP's names: options of every command."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.unit_names import Unit, parse_unit

# What an entry of a file may be read as beside the kinds of labels: what becomes one of them, in a copy, or nothing.
VIRIAL, GRADIENT, ENERGY_PER_ATOM, NO_LABEL = "virial", "gradient", "energy_per_atom", ""
READ_AS = ("energy", "forces", "stress", VIRIAL, GRADIENT, ENERGY_PER_ATOM, NO_LABEL)

_UNIT_OPTIONS: dict[LabelKind, str] = {
    "energy": "--energy-unit",
    "forces": "--force-unit",
    "stress": "--stress-unit",
}


@dataclass(frozen=True)
class DataOptions:
    """How files of structures are to be read.

    Args:
        key_mapping: name of an entry in the file -> what it is read as, one of ``READ_AS``; an empty text for no label
        energy_unit, force_unit, stress_unit: what labels are in, see :func:`.unit_names.parse_unit`; None for NequIP's,
            or for what entries of the file say. Forces and stresses follow the energies unless they are named too
    """

    key_mapping: Mapping[str, str] = field(default_factory=dict)
    energy_unit: str | None = None
    force_unit: str | None = None
    stress_unit: str | None = None

    def __post_init__(self) -> None:
        for name, kind in self.key_mapping.items():
            if kind not in READ_AS:
                choices = ", ".join(kind for kind in READ_AS if kind)
                raise ValueError(
                    f"--key {name}={kind}: {kind!r} is no kind of label; choose from {choices}, or write --key {name}= "
                    "for no label."
                )
        _ = self.units  # each is known

    @property
    def units(self) -> dict[LabelKind, Unit]:
        """The units that are named; forces and stresses follow the energies unless they are named too.

        Raises:
            ValueError: one is not known
        """
        named = zip(LABEL_KINDS, (self.energy_unit, self.force_unit, self.stress_unit))
        found = {kind: parse_unit(text, kind, _UNIT_OPTIONS[kind]) for kind, text in named if text is not None}
        if "energy" in found:
            energy, option = found["energy"].name.removesuffix("/atom"), _UNIT_OPTIONS["energy"]
            following: dict[LabelKind, Unit] = {
                "forces": parse_unit(f"{energy}/Å", "forces", option),
                "stress": parse_unit(f"{energy}/Å³", "stress", option),
            }
            found = {**following, **found}
        return found


# as NequIP reads them
AS_THEY_ARE = DataOptions()


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Declare how files of labelled structures are to be read."""
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="NAME=KIND",
        help="read the entry NAME as energy, forces, stress, virial, gradient or energy_per_atom; NAME= for no label",
    )
    parser.add_argument(
        "--energy-unit",
        metavar="UNIT",
        help="of energies, and over Å of forces, over Å³ of stresses: eV, meV, Hartree, Rydberg, kcal/mol, kJ/mol",
    )
    parser.add_argument("--force-unit", metavar="UNIT", help="of forces, such as Hartree/Bohr")
    parser.add_argument(
        "--stress-unit",
        metavar="UNIT",
        help="of stresses, such as GPa, kbar, bar, Hartree/Bohr^3; =-kbar where they are positive under compression",
    )


def data_options(args: argparse.Namespace) -> DataOptions:
    """The options that :func:`add_data_options` declared.

    Raises:
        ValueError: one is written otherwise, or contradicts another
    """
    mapping: dict[str, str] = {}
    for item in args.key:
        name, equals, kind = item.partition("=")
        if not (name and equals):
            raise ValueError(f"--key takes a name and what it is read as, such as dft_forces=forces, found {item!r}.")
        if name in mapping:
            raise ValueError(f"--key names {name!r} twice: give each entry once.")
        mapping[name] = kind
    return DataOptions(mapping, args.energy_unit, args.force_unit, args.stress_unit)
