"""Any ASE calculator, named as Hydra names things: ``{_target_: ase.calculators.emt.EMT}``, with its arguments.

What is named is imported and called, so a description is the user's own and never comes out of a checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ase.calculators.calculator import Calculator
from hydra.utils import instantiate

_EXAMPLE = "{_target_: ase.calculators.emt.EMT}"


def check_description(key: str, value: Any) -> dict[str, Any]:
    """The description of a calculator, once it is one.

    Args:
        key: what a message calls it

    Raises:
        ValueError: it names no ``_target_``
    """
    if not (isinstance(value, Mapping) and isinstance(value.get("_target_"), str)):
        raise ValueError(f"{key} must describe an ASE calculator, as in {_EXAMPLE}, found {value!r}.")
    return dict(value)


def read_description(path: str | Path) -> dict[str, Any]:
    """The description in a YAML file.

    Raises:
        FileNotFoundError: there is no such file
        ValueError: it is not YAML, or describes no calculator
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{str(path)!r} does not exist: give a YAML file with a calculator, as in {_EXAMPLE}.")
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    return check_description(repr(str(path)), value)


def make_calculator(key: str, description: Mapping[str, Any]) -> Calculator:
    """The calculator of a description.

    Args:
        key: what a message calls it

    Raises:
        ValueError: it cannot be imported or made, or is no ASE calculator
    """
    try:
        made = instantiate(dict(description))
    except Exception as error:  # whatever the named class or function raises
        reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise ValueError(f"{key} cannot be made from {dict(description)}: {reason}") from error
    if not callable(getattr(made, "get_property", None)):
        raise ValueError(f"{key} names {description['_target_']!r}, which makes no ASE calculator but {made!r:.80}.")
    return made
