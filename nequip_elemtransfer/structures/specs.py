"""Files as ASE takes them: a path, and behind an ``@`` a selection among its structures."""

import os
from pathlib import Path


def split_spec(spec: str | Path) -> tuple[Path, str]:
    """Path of a file, and ASE's selection among its structures; an empty one for all."""
    text = str(spec)
    if Path(text).exists() or "@" not in os.path.basename(text):
        return Path(text), ""
    path, _, selection = text.rpartition("@")
    return Path(path), selection


def absolute_spec(spec: str | Path) -> str:
    """The same with an absolute path."""
    path, selection = split_spec(spec)
    return f"{path.resolve()}@{selection}" if selection else str(path.resolve())


def require_structures(*paths: str | Path | None) -> None:
    """Refuse files of structures that are not there; None stands for one that was not asked for.

    Raises:
        FileNotFoundError: with the first path
    """
    for path in paths:
        if path is not None:
            require_there(split_spec(path)[0])


def require_there(path: Path, what: str = "") -> None:
    """Refuse a file of structures, or a folder that is one to ASE, that is not there.

    Args:
        what: names it, for a message

    Raises:
        FileNotFoundError: with the path
    """
    if not path.exists():
        named = f"{what} {str(path)!r}".strip()
        raise FileNotFoundError(
            f"{named} does not exist (relative paths start from {Path.cwd()}): give a file that ASE reads."
        )
