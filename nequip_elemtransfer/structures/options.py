"""How files of structures are to be read where they do not follow NequIP's names: options of every command."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field

# What an entry of a file may be read as beside the kinds of labels: what becomes one of them, in a copy, or nothing.
VIRIAL, GRADIENT, ENERGY_PER_ATOM, NO_LABEL = "virial", "gradient", "energy_per_atom", ""
READ_AS = ("energy", "forces", "stress", VIRIAL, GRADIENT, ENERGY_PER_ATOM, NO_LABEL)


@dataclass(frozen=True)
class DataOptions:
    """How files of structures are to be read.

    Args:
        key_mapping: name of an entry in the file -> what it is read as, one of ``READ_AS``; an empty text for no label
    """

    key_mapping: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in self.key_mapping.items():
            if kind not in READ_AS:
                choices = ", ".join(kind for kind in READ_AS if kind)
                raise ValueError(
                    f"--key {name}={kind}: {kind!r} is no kind of label; choose from {choices}, or write --key {name}= "
                    "for no label."
                )


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
    return DataOptions(mapping)
