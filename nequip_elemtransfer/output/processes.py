"""Commands beside each other and the processes that they run: locks, signals and cores.

A lock ends with the process that holds it, however that ends.
"""

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

_FILE = ".nequip-elemtransfer.lock"
_TRIES = 1000  # each meets a process that has just ended its work
# what `flock` answers on file systems without locks
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM, which batch systems send, end a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def threads_per_job(jobs: int) -> int:
    """Cores this process may use, shared among processes; never more than ``OMP_NUM_THREADS`` allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // jobs)
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(allowed)) if allowed.isdigit() and int(allowed) else share


def environment(jobs: int) -> dict[str, str]:
    """Of a process that computes beside others: its share of the cores, and threads that wait for a core asleep.

    By default PyTorch's threads spin while they wait; on a busy machine the others then wait for them in turn, and all
    take many times as long.
    """
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": str(threads_per_job(jobs))}


def locked(file: IO, *, without_locks: bool) -> bool:
    """Lock an open file until it is closed; False if another process holds it.

    Args:
        file: open for writing
        without_locks: the answer on a file system that has no locks
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        return without_locks
    return True


@contextmanager
def only_one(folder: Path, who: str) -> Iterator[IO]:
    """Keep other processes out of a folder while work is done in it.

    The folder is made if need be, before any work; folders made here that stay empty are removed. A process that is
    given the file descriptor of the lock keeps others out until it ends, should this one be killed.

    Args:
        folder: of the work
        who: may be at work there already, the first words of a sentence

    Raises:
        ValueError: another process is at work there
        OSError: the folder cannot be made or written, or is a file
    """
    with without_empty_folders(folder):
        try:
            lock = _locked_file(folder)
        except NotADirectoryError:
            raise NotADirectoryError(f"{folder} is a file, not a folder, or lies in one") from None
        except OSError as error:
            raise type(error)(f"{folder} cannot be written: {error.strerror}.") from error
        if lock is None:
            raise ValueError(f"{who} is at work in {folder}: wait for it, end it, or give another --out.")
        try:
            yield lock
        finally:
            (folder / _FILE).unlink(missing_ok=True)
            lock.close()


@contextmanager
def without_empty_folders(folder: Path) -> Iterator[None]:
    """Remove what the block makes on the way to a folder, itself included, and leaves empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    finally:
        with suppress(OSError):  # not empty, or not made
            for path in missing:
                path.rmdir()


def _locked_file(folder: Path) -> IO | None:
    """The file of the lock, locked; None if another process holds it."""
    for _ in range(_TRIES):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = open(folder / _FILE, "a")
        except (FileExistsError, FileNotFoundError):
            if folder.is_symlink() or folder.is_file():
                raise NotADirectoryError from None
            continue  # the last holder has removed the folder, which had stayed empty
        if not locked(lock, without_locks=True):
            lock.close()
            return None
        if _is_still(lock, folder / _FILE):
            return lock
        lock.close()  # the last holder has removed the file
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _is_still(file: IO, path: Path) -> bool:
    """Whether the path names this open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
