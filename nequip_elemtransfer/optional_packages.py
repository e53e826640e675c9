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
    """Refuse to begin without the libraries of ``plan``.

    Raises:
        ModuleNotFoundError: with the command that installs it
    """
    _require("plan", "plan", ("sklearn", "dscribe", "matplotlib", "jinja2"))


def require_select() -> None:
    """Refuse to begin without the libraries of ``select``.

    Raises:
        ModuleNotFoundError: with the command that installs it
    """
    _require("select", "select", ("skmatter", "sklearn", "dscribe", "matplotlib", "jinja2"))


def require_xtb() -> None:
    """Refuse to begin without the libraries of ``data xtb``.

    Raises:
        ModuleNotFoundError: with the command that installs it
    """
    _require("xtb", "data xtb", ("tblite.ase", "rdkit"))


def _require(name: str, command: str, modules: Sequence[str]) -> None:
    with extra(name, f"`nequip-elemtransfer {command}`"):
        for module in modules:
            import_module(module)
