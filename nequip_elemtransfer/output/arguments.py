"""Arguments of the commands: those that several take, pairs of them, and what all refuse."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from nequip_elemtransfer import __version__
from nequip_elemtransfer.optional_packages import extra

# what `add_subparsers` returns
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_version_and_completion(parser: argparse.ArgumentParser) -> None:
    """Declare ``--version``, and ``--print-completion`` for a shell; the other arguments may be declared later."""
    parser.add_argument("--version", action="version", version=f"{parser.prog} {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        metavar="SHELL",
        help="print what makes the Tab key of a shell complete this command: of bash, zsh, fish or tcsh",
    )


class _PrintCompletion(argparse.Action):
    """Prints a script and exits, as ``--version`` does."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        try:
            with extra("completion", "--print-completion"):
                import shtab
        except ModuleNotFoundError as error:
            parser.error(str(error))
        if values not in shtab.SUPPORTED_SHELLS:
            parser.error(f"--print-completion knows {', '.join(shtab.SUPPORTED_SHELLS)}, not {values!r}")
        for action in _actions(parser):
            if action.choices is None and action.nargs != 0 and action.type in (None, Path):
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # which shtab reads
        print(shtab.complete(parser, shell=values))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def require_no_empty(arguments: Sequence[str]) -> None:
    """Refuse empty arguments: as a path, one would be the folder one is in.

    Raises:
        ValueError: with the argument before it
    """
    for i, argument in enumerate(arguments):
        if not argument:
            after = f" after {arguments[i - 1]!r}" if i else ""
            raise ValueError(
                f"the argument{after} is empty, as a variable of the shell that is not set leaves it: give it, or "
                "leave its option out."
            )


def require_seed(option: str, seed: int | None) -> None:
    """Refuse a seed that random numbers cannot be made from.

    Raises:
        ValueError: with the number
    """
    if seed is not None and not 0 <= seed < 2**32:
        raise ValueError(f"{option} is {seed}: give a whole number from 0 to 2**32 - 1.")


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
        help="of the crystal: bulk_modulus, C11, C12, C44 (GPa), vacancy_formation_energy (eV), highest_phonon (THz)",
    )


def add_element_options(parser: argparse.ArgumentParser) -> None:
    """Declare where target types start, and λ, for commands that need no labels."""
    parser.add_argument(
        "--elements",
        nargs="+",
        required=True,
        metavar="TARGET=START",
        help="where target types start, as in Ge=Si, Ge=Si:0.5,Sn:0.5 or Ge=auto",
    )
    parser.add_argument(
        "--length-scale",
        nargs="+",
        default=["covalent_radii"],
        metavar="X",
        help="λ, target lengths over source lengths: a number, Ge=1.05 for each type, none, covalent_radii (default)",
    )
    parser.add_argument(
        "--chemical-species", nargs="+", default=[], metavar="TYPE=ELEMENT", help="types not named after their element"
    )


def parse_lengths(items: Sequence[str]) -> str | float | dict[str, float]:
    """The value of ``--length-scale`` as the key has it.

    Raises:
        ValueError: it is neither a word nor numbers
    """
    if any("=" in item for item in items):
        return pairs("--length-scale", items, parse_number)
    if len(items) > 1:
        raise ValueError(f"--length-scale takes one number, or pairs such as Ge=1.05 Sn=1.2, found {' '.join(items)}.")
    try:
        return float(items[0])
    except ValueError:
        return items[0]


def parse_start(text: str) -> str | dict[str, float]:
    """``Si``, or ``Si:0.5,Sn:0.5`` as weights.

    Raises:
        ValueError: a weight is no number
    """
    if ":" not in text:
        return text
    parts = [part.partition(":") for part in text.split(",")]
    try:
        return {name: float(weight) for name, _, weight in parts}
    except ValueError:
        raise ValueError(f"a blend is written as Si:0.5,Sn:0.5, found {text!r}.") from None


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
