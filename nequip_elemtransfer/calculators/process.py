"""A calculator in a process of its own, as the process that asks it sees it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing import Pipe
from pathlib import Path
from typing import IO, Any

from ase import Atoms

from nequip_elemtransfer.output.processes import threads_per_job

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
            env={**os.environ, "OMP_NUM_THREADS": str(threads_per_job(jobs))},
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
