"""Files that appear complete or not at all: nothing of the user's is replaced unasked, and nothing half-written stays.

Files are written into a folder beside the place they are for, where a move is atomic, and moved at the end. The folder
of a process that was killed is removed by the next one that writes there: it is known by the name of the machine in its
name, and by its lock, which nobody holds any more.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from nequip_elemtransfer.output.processes import locked, without_empty_folders

_SUFFIX, _LOCK = ".part", ".lock"


def require_writable(out: Path, force: bool) -> None:
    """Refuse a file that cannot be written or would replace another, before any work is done for it.

    Raises:
        FileExistsError: if it exists and ``force`` is False
        OSError: if it is a folder, or its folder cannot be made or written
    """
    if out.is_dir():
        raise IsADirectoryError(f"{out} cannot be written: it is a folder; name a file.")
    if out.exists() and not force:
        raise FileExistsError(f"{out} exists already; force (--force) replaces it")
    there = next(folder for folder in out.absolute().parents if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{out} cannot be written: {there} is a file, not a folder.")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"{out} cannot be written: the folder {there} is not writable.")


def require_folder(out: Path, names: Iterable[str], *, force: bool) -> None:
    """Refuse to write files into a folder, which may be still to be made, before any work is done for it.

    Raises:
        NotADirectoryError: ``out`` is a file
        FileExistsError: one of the files exists and ``force`` is False
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file, not a folder")
    for name in names:
        if (out / name).exists():
            require_writable(out / name, force)


@contextmanager
def written_together(paths: Sequence[Path], *, force: bool = True) -> Iterator[list[Path]]:
    """Other places to write files of the same names to; when the block ends well all are moved into place, else none.

    .. code-block:: python

        with written_together([out / "a.xyz", out / "b.xyz"]) as (a, b):
            ...

    Args:
        paths: of the files
        force: replace files that exist

    Raises:
        OSError: see :func:`require_writable`, before the block and again before the moves
    """
    for path in paths:
        require_writable(path, force)
    with ExitStack() as stack:
        in_each = {path.parent: path for path in paths}
        folders = {parent: stack.enter_context(folder_beside(path)) for parent, path in in_each.items()}
        staged = [folders[path.parent] / path.name for path in paths]
        yield staged
        for path in paths:
            require_writable(path, force)
        for unfinished, path in zip(staged, paths):
            os.replace(unfinished, path)


def write_text(path: Path, text: str) -> None:
    """Write a file in one move, in place of one that exists.

    Raises:
        OSError: see :func:`require_writable`
    """
    with written_together([path]) as (staged,):
        staged.write_text(text, encoding="utf-8")


def put_in_place(staged: Path, out: Path, force: bool) -> None:
    """Give a complete file its name, in one move.

    Raises:
        FileExistsError: if another has come there meanwhile, and ``force`` is False
    """
    require_writable(out, force)
    os.replace(staged, out)


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the file system of ``out``, for :func:`put_in_place`; folders above it are made.

    Raises:
        OSError: it cannot be made
    """
    parent, prefix = out.parent, f".nequip-elemtransfer-{platform.node()}-"
    with without_empty_folders(parent):
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_litter(parent, prefix)
            folder, lock = _locked_folder(parent, prefix)
        except OSError as error:
            raise OSError(f"files in {parent} cannot be written: {error.strerror}.") from error
        with lock:
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, IO]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=parent))
        try:
            lock = open(folder / _LOCK, "a")
        except FileNotFoundError:
            continue  # another process took it for litter before it was locked
        if locked(lock, without_locks=True) and (folder / _LOCK).exists():
            return folder, lock
        lock.close()


def _remove_litter(parent: Path, prefix: str) -> None:
    """Remove the folders of processes that have ended without doing so."""
    for folder in parent.iterdir():
        if not (folder.name.startswith(prefix) and folder.name.endswith(_SUFFIX)):
            continue
        try:
            lock = open(folder / _LOCK, "a")
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue  # gone meanwhile, or another user's
        with lock:
            if locked(lock, without_locks=False):
                shutil.rmtree(folder, ignore_errors=True)
