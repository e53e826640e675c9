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
