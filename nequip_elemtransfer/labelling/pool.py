"""Processes that label structures, each with a calculator of its own; one that takes too long is ended and replaced."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from ase import Atoms

from nequip_elemtransfer.output.processes import threads_per_job


@dataclass
class _Worker:
    """A process, its socket, and what it is at: the place of a structure, or None while the calculator is made."""

    process: subprocess.Popen
    connection: Connection
    place: int | None = None
    since: float = 0.0


class LabellingPool:
    """Processes with one calculator each; use as a context, whose end ends them.

    Args:
        key: what a message calls the calculator
        description: of the calculator
        jobs: processes at a time
        time_limit: seconds that one structure may take; None for any
        log: file that the output of the calculators is added to
    """

    def __init__(
        self, key: str, description: Mapping[str, Any], jobs: int, time_limit: float | None, log: Path
    ) -> None:
        self._task, self._jobs, self._time_limit, self._path = (key, dict(description)), jobs, time_limit, log
        self._workers: list[_Worker] = []

    def __enter__(self) -> "LabellingPool":
        self._log: IO = open(self._path, "ab")
        return self

    def __exit__(self, *_: Any) -> None:
        for worker in list(self._workers):
            self._end(worker)
        self._log.close()

    def label(self, structures: Mapping[int, Atoms]) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Place, and labels or the reason why there are none, of each structure as it gets ready.

        Raises:
            ValueError: the calculator cannot be made
        """
        waiting = sorted(structures, reverse=True)
        for _ in range(min(self._jobs, len(waiting))):
            self._start()
        while waiting or self._busy():
            for worker in wait_for(self._workers, self._left()):
                place, answer = worker.place, self._received(worker)
                if place is None and answer is not None:
                    raise ValueError(answer)
                if place is not None:
                    yield place, answer
                self._next(worker, waiting, structures)
            for worker in self._overdue():
                place = worker.place
                self._end(worker)
                yield place, f"it took longer than the {self._time_limit:g} s of the time limit"
                if waiting:
                    self._start()

    def _start(self) -> None:
        ours, theirs = Pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "nequip_elemtransfer.labelling.worker", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads_per_job(self._jobs))},
            start_new_session=True,  # with the programs that a calculator starts, to end them together
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._workers.append(_Worker(process, ours))
        ours.send(self._task)

    def _next(self, worker: _Worker, waiting: list[int], structures: Mapping[int, Atoms]) -> None:
        if worker.process.poll() is not None and worker in self._workers:
            self._end(worker)
            if waiting:
                self._start()
        elif worker in self._workers and waiting:
            worker.place, worker.since = waiting.pop(), time.monotonic()
            worker.connection.send(structures[worker.place])
        elif worker in self._workers:
            self._end(worker)

    def _received(self, worker: _Worker) -> Any:
        """The answer; if the process has died, the reason, and the process is forgotten."""
        try:
            return worker.connection.recv()
        except (EOFError, ConnectionResetError):
            code = worker.process.wait()
            how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
            return f"the calculator ended its process with {how}, see {self._path}"

    def _busy(self) -> bool:
        return bool(self._workers)

    def _left(self) -> float | None:
        """Seconds until the first time limit."""
        begun = [worker.since for worker in self._workers if worker.place is not None]
        if self._time_limit is None or not begun:
            return None
        return max(0.0, min(begun) + self._time_limit - time.monotonic())

    def _overdue(self) -> Sequence[_Worker]:
        now, limit = time.monotonic(), self._time_limit
        return [w for w in self._workers if limit is not None and w.place is not None and now - w.since >= limit]

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()
        try:
            os.killpg(worker.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended
        worker.process.wait()


def wait_for(workers: Sequence[_Worker], timeout: float | None) -> list[_Worker]:
    """Those that have answered or ended within the time, in seconds."""
    ready = wait([worker.connection for worker in workers], timeout)
    return [worker for worker in workers if worker.connection in ready]
