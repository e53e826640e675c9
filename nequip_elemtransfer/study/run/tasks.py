"""The tasks of a study, each a process of its own in a folder of its own, and the queue that runs them.

See :mod:`.grid` for what the folder says.
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from nequip_elemtransfer.outcome.metrics import test_errors
from nequip_elemtransfer.output.atomic import write_text
from nequip_elemtransfer.output.processes import environment, only_one, sigterm_interrupts
from nequip_elemtransfer.output.progress import progress_bar
from nequip_elemtransfer.study.grid import (
    FAILED_FILE,
    FINISHED_FILE,
    Run,
    State,
    finished,
    free_path,
    run_folder,
    state_of,
)
from nequip_elemtransfer.study.run.training_configs import GROUP, PRIMARY, RESTART

# A run that meets a full disk fails, and with it all that come after: better stop before.
LEAST_FREE_BYTES = 200_000_000
_GRACE = 20.0  # seconds that a training has to end by itself
_POLL = 0.2  # seconds
_SHOW = 5.0  # seconds between new estimates of the remaining time


class Task(ABC):
    """One process.

    Args:
        name: of the task, unique in a study
        folder: of its files
        log: name of the file in it that its output is added to
        needs: names of tasks that must be finished before
    """

    def __init__(self, name: str, folder: Path, log: str, needs: tuple[str, ...]):
        self.name, self.folder, self.log, self.needs = name, folder, folder / log, needs

    @abstractmethod
    def command(self) -> list[str]:
        """The command to run."""

    def make_ready(self) -> None:
        """Prepare the folder for running, or for going on after an interruption; nothing in it is lost."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / FAILED_FILE).unlink(missing_ok=True)

    def noted(self) -> dict[str, Any] | None:
        """What was noted when the task finished; None if it has not."""
        return finished(self.folder)

    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return state_of(self.folder) is State.FINISHED

    def mark_finished(self, **more: Any) -> None:
        """Mark the task as done, with more to be read when it is continued."""
        self._mark(FINISHED_FILE, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine(), **more})

    def mark_failed(self, exit_code: int, reason: str) -> None:
        """Mark the task as failed."""
        self._mark(FAILED_FILE, {"exit_code": exit_code, "reason": reason})

    def _mark(self, name: str, content: Mapping[str, Any]) -> None:
        write_text(self.folder / name, json.dumps(content) + "\n")


class Training(Task):
    """A run of ``nequip-train``, which continues from its last ``restart.ckpt``."""

    def __init__(self, run: Run, out: Path):
        out = out.resolve()
        super().__init__(run.name, run_folder(out, run.name), "nequip-train.log", (run.needs,) if run.needs else ())
        self._configs, self._restart = out / PRIMARY, self.folder / RESTART

    def command(self) -> list[str]:
        args = ["-cp", str(self._configs), "-cn", PRIMARY, f"+{GROUP}={self.name}", f'hydra.run.dir="{self.folder}"']
        if self._restart.exists():
            args.append(f'++ckpt_path="{self._restart}"')
        return [sys.executable, "-m", "nequip.scripts.train", *args]

    def make_ready(self) -> None:
        if self._restart.exists() and not zipfile.is_zipfile(self._restart):  # cut off while being written
            self._restart.unlink()
        if self._restart.exists():
            # Lightning deletes the metrics of an earlier start in the same folder
            for metrics in self.folder.glob("metrics/metrics.csv"):
                metrics.rename(free_path(metrics.with_name("metrics.before_{}.csv")))
        elif self.folder.exists():
            self.folder.rename(free_path(self.folder.with_name(self.folder.name + ".before_{}")))
        super().make_ready()

    def is_finished(self) -> bool:
        # by one of Hydra's launchers: the test is the last thing that a run does
        if state_of(self.folder) is State.INTERRUPTED and test_errors(self.folder):
            self.mark_finished()
        return super().is_finished()


@cache
def machine() -> dict[str, str]:
    """What a study is run on: processor, number of cores, GPU if there is one, versions of what decides the numbers."""
    import torch

    # the processor's own name where Linux tells it, else the kind of processor
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    gpu = {"gpu": torch.cuda.get_device_name(0)} if torch.cuda.is_available() else {}
    versions = {name: version(name) for name in ("torch", "nequip", "nequip-elemtransfer")}
    return {"processor": processor, "cores": str(os.cpu_count()), **gpu, **versions}


@dataclass(frozen=True)
class Tally:
    """The tasks that are finished, that failed, and that could not start because what they need failed."""

    finished: tuple[Task, ...]
    failed: tuple[Task, ...]
    skipped: tuple[Task, ...]


def run_tasks(
    tasks: Sequence[Task],
    out: Path,
    *,
    jobs: int = 1,
    progress: bool = False,
    after_each: Callable[[], None] | None = None,
) -> Tally:
    """Run what is not finished.

    A task that was interrupted or failed goes on. On Ctrl-C or SIGTERM all processes are ended; the next call continues
    them.

    Args:
        tasks: each that others need comes before them
        out: folder of the study
        jobs: processes at a time; the processor's cores are shared among them
        progress: show a bar with the remaining time
        after_each: is called when a task has finished or failed

    Raises:
        ValueError: ``jobs`` below 1, or another process is at work in ``out``
        OSError: the folder cannot be written, or the disk is full
        KeyboardInterrupt: after all processes were ended
    """
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}: at least one training has to run at a time.")
    _refuse_full_disk(out)
    with only_one_study(out) as lock, sigterm_interrupts():
        finished = [task for task in tasks if task.is_finished()]
        with progress_bar(total=len(tasks), initial=len(finished), unit="task", disable=not progress) as bar:
            return _Queue(tasks, out, jobs, lock.fileno(), bar, finished).run(after_each)


class _Queue:
    """The tasks on their way from waiting to finished or failed."""

    def __init__(self, tasks: Sequence[Task], out: Path, jobs: int, lock: int, bar: Any, finished: list[Task]):
        self._out, self._jobs, self._lock, self._bar = out, jobs, lock, bar
        self._waiting = [task for task in tasks if task not in finished]
        self._active: list[tuple[Task, subprocess.Popen]] = []
        self._finished = finished
        self._failed: list[Task] = []
        self._skipped: list[Task] = []

    def run(self, after_each: Callable[[], None] | None) -> Tally:
        shown = 0.0
        try:
            while self._waiting or self._active:
                self._start_ready()
                if time.monotonic() - shown > _SHOW:
                    self._bar.refresh()
                    shown = time.monotonic()
                time.sleep(_POLL)
                if self._collect() and after_each is not None:
                    after_each()
        finally:
            self._end_all()
        return Tally(tuple(self._finished), tuple(self._failed), tuple(self._skipped))

    def _start_ready(self) -> None:
        for task in list(self._waiting):
            if set(task.needs) & _names([*self._failed, *self._skipped]):
                self._waiting.remove(task)
                self._skipped.append(task)
                self._bar.update()
            elif len(self._active) < self._jobs and set(task.needs) <= _names(self._finished):
                _refuse_full_disk(self._out)
                self._waiting.remove(task)
                self._active.append((task, self._start(task)))
        self._bar.set_postfix_str(f"{len(self._active)} running, {len(self._failed)} failed", refresh=False)

    def _start(self, task: Task) -> subprocess.Popen:
        task.make_ready()
        with open(task.log, "ab") as log:
            return subprocess.Popen(
                task.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self._jobs),
                start_new_session=True,  # Ctrl-C reaches this process, which ends the others
                pass_fds=[self._lock],  # should this process be killed, those that it started keep others out
            )

    def _collect(self) -> bool:
        """Note what has ended; whether anything has."""
        ended = [(task, process, code) for task, process in self._active if (code := process.poll()) is not None]
        for task, process, code in ended:
            self._active.remove((task, process))
            if code == 0:
                task.mark_finished()
                self._finished.append(task)
            else:
                task.mark_failed(code, _reason(code, task.log))
                self._failed.append(task)
            self._bar.update()
        return bool(ended)

    def _end_all(self) -> None:
        for _, process in self._active:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for _, process in self._active:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()


def _names(tasks: Sequence[Task]) -> set[str]:
    return {task.name for task in tasks}


def _reason(code: int, log: Path) -> str:
    """The signal that ended a task, or the last error in its log, or else the log's last line."""
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return (errors or [line.strip() for line in lines if line.strip()] or ["no output"])[-1]


def _signal(process: subprocess.Popen, number: int) -> None:
    """Signal a task and the processes that it started, which share its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _refuse_full_disk(out: Path) -> None:
    free = shutil.disk_usage(out).free
    if free < LEAST_FREE_BYTES:
        raise OSError(
            f"the disk of {out} has {free / 1e6:.0f} MB left, and a study needs at least {LEAST_FREE_BYTES / 1e6:.0f}: "
            "make room and give the same command again, which continues."
        )


def only_one_study(out: Path) -> AbstractContextManager[IO]:
    """Keep a second study, or trainings that a killed one left behind, out of the folder."""
    return only_one(out, "a study, or a training that it started,")
