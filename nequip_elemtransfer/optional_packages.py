"""Libraries that only some commands need, and how to get them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def extra(name: str, who: str) -> Iterator[None]:
    """Imports in the block may miss a library, which an extra of this package brings.

    Args:
        name: of the extra
        who: needs the library, the first words of a sentence

    Raises:
        ModuleNotFoundError: with the command that installs it
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{who} needs {str(error.name).partition('.')[0]!r}, which is not installed: "
            f'pip install "nequip-elemtransfer[{name}]".',
            name=error.name,
        ) from error


def require_plan() -> None:
    """Meet a missing library of ``plan`` before anything is calculated.

    Raises:
        ModuleNotFoundError: with the command that installs it
    """
    _require("plan", ("sklearn", "dscribe", "matplotlib", "jinja2"))


def require_select() -> None:
    """Meet a missing library of ``select`` before anything is calculated.

    Raises:
        ModuleNotFoundError: with the command that installs it
    """
    _require("select", ("skmatter", "sklearn", "dscribe", "matplotlib", "jinja2"))


def require_xtb() -> None:
    """Meet a missing library of ``data xtb`` before anything is calculated.

    Raises:
        ModuleNotFoundError: with the command that installs it
    """
    with extra("xtb", "`nequip-elemtransfer data xtb`"):
        for module in ("tblite.ase", "rdkit"):
            import_module(module)


def _require(name: str, modules: Sequence[str]) -> None:
    """Libraries of an extra that is named after its command."""
    with extra(name, f"`nequip-elemtransfer {name}`"):
        for module in modules:
            import_module(module)
