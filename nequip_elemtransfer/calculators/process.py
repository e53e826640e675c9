"""Calculators in processes of their own, as the process that asks them sees it: one, or a pool of them."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

from ase import Atoms

from nequip_elemtransfer.output.processes import environment

LABEL, TIME = "label", "time"


class CalculatorProcess:
    """Questions to a calculator; use as a context, whose end ends the process, or call :meth:`end`.

    Args:
        key: what a message calls the calculator
        description: of the calculator
        log: gets its output; None loses it
        jobs: processes that share the cores
    """

    def __init__(self, key: str, description: Mapping[str, Any], log: IO | None = None, jobs: int = 1) -> None:
        self.connection, theirs = Pipe()
        self._log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nequip_elemtransfer.calculators.worker", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if log is None else log,
            stderr=subprocess.DEVNULL if log is None else subprocess.STDOUT,
            env=environment(jobs),
            start_new_session=True,  # with the programs that a calculator starts, to end them together
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.connection.send((key, dict(description)))

    def __enter__(self) -> "CalculatorProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()

    def require_made(self) -> None:
        """Wait until the calculator is made.

        Raises:
            ValueError: it cannot be made
        """
        if (reason := self.answer()) is not None:
            raise ValueError(reason)

    def ask(self, question: str, atoms: Atoms) -> Any:
        """The answer to a question: labels as a dict or seconds of a force call, or in words why there is none."""
        try:
            self.connection.send((question, atoms))
        except BrokenPipeError:
            pass  # it has ended, which the answer says
        return self.answer()

    def answer(self) -> Any:
        """The next answer; if the process has died, the reason."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            code = self.process.wait()
            how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
            where = f", see {Path(self._log.name)}" if self._log is not None else ""
            return f"the calculator ended its process with {how}{where}"

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> None:
        """End the process, and those that it started."""
        self.connection.close()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended
        self.process.wait()


@dataclass
class _Worker:
    """A process, and what it is at: the place of a structure, or None while the calculator is made."""

    calculator: CalculatorProcess
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
        self._key, self._description, self._path = key, description, log
        self._jobs, self._time_limit = jobs, time_limit
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
        while self._workers:
            for worker in self._ready():
                place, answer = worker.place, worker.calculator.answer()
                if place is None and answer is not None:
                    raise ValueError(answer)
                if place is not None:
                    yield place, answer
                self._next(worker, waiting, structures)
            for worker, place in self._overdue():
                self._end(worker)
                yield place, f"it took longer than the {self._time_limit:g} s of the time limit"
                if waiting:
                    self._start()

    def _start(self) -> None:
        self._workers.append(_Worker(CalculatorProcess(self._key, self._description, self._log, self._jobs)))

    def _next(self, worker: _Worker, waiting: list[int], structures: Mapping[int, Atoms]) -> None:
        if waiting and not worker.calculator.has_ended:
            worker.place, worker.since = waiting.pop(), time.monotonic()
            worker.calculator.connection.send((LABEL, structures[worker.place]))
            return
        self._end(worker)
        if waiting:
            self._start()

    def _ready(self) -> list[_Worker]:
        """Those that have answered or ended, waited for until the first time limit."""
        begun, limit = [worker.since for worker in self._workers if worker.place is not None], self._time_limit
        left = None if limit is None or not begun else max(0.0, min(begun) + limit - time.monotonic())
        ready = wait([worker.calculator.connection for worker in self._workers], left)
        return [worker for worker in self._workers if worker.calculator.connection in ready]

    def _overdue(self) -> list[tuple[_Worker, int]]:
        """With the places of the structures that they are at."""
        ends = [(w, w.place, w.since + (self._time_limit or math.inf)) for w in self._workers]
        return [(w, place) for w, place, end in ends if place is not None and time.monotonic() >= end]

    def _end(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.calculator.end()
