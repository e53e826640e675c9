"""Files that are written: nothing of the user's is replaced unasked, and nothing half-written stays."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def require_writable(out: Path, force: bool) -> None:
    """Refuse a file that cannot be written or would replace another, before any work is done for it.

    Raises:
        FileExistsError: if it exists and ``force`` is False
        OSError: if it is a folder, or its folder is missing or cannot be written
    """
    if out.is_dir():
        raise IsADirectoryError(f"{out} cannot be written: it is a folder; name a file.")
    if out.exists() and not force:
        raise FileExistsError(f"{out} exists; --force replaces it.")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out} cannot be written: there is no folder {out.parent}.")
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(f"{out} cannot be written: the folder {out.parent} is not writable.")


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the file system of ``out``, where a move is atomic."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".nequip-deploy-", dir=out.parent))
    except OSError as error:
        raise OSError(f"{out} cannot be written: {error.strerror}.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(staged: Path, out: Path, force: bool) -> None:
    """Give a complete file its name, in one move.

    Raises:
        FileExistsError: if another has come there meanwhile, and ``force`` is False
    """
    require_writable(out, force)
    os.replace(staged, out)
