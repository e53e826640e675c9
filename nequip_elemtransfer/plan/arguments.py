"""Arguments that several commands take, and pairs on a command line."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any


def add_crystal_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that ask for a crystal of the source."""
    parser.add_argument(
        "--crystal",
        metavar="STRUCTURE:FORMULA:A",
        help="cubic crystal of the source's elements, as diamond:Si:5.43, A in Å in the method of the source's data",
    )
    parser.add_argument(
        "--reference",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of the crystal: C11, C12, C44 (GPa), vacancy_formation_energy (eV), highest_phonon (THz)",
    )


def pairs(option: str, items: Sequence[str], parse: Callable[[str], Any]) -> dict[str, Any]:
    """``["Ge=Si", ...]`` as a dict.

    Raises:
        ValueError: if an item has no ``=``, or a name comes twice
    """
    found: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{option} takes pairs such as Ge=Si, found {item!r}.")
        if name in found:
            raise ValueError(f"{option} names {name!r} twice: give each type once.")
        found[name] = parse(value)
    return found


def parse_number(text: str) -> float:
    """A number.

    Raises:
        ValueError: if it is none
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number: give one such as 151.4.") from None
