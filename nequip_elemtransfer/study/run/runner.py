"""Runs the tasks of a study, each a process of its own in a folder of its own."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm.auto import tqdm

from nequip_elemtransfer.output.locks import only_one
from nequip_elemtransfer.output.processes import sigterm_interrupts, threads_per_job
from nequip_elemtransfer.study.run.tasks import Task

# A run that meets a full disk fails, and with it all that come after: better stop before.
LEAST_FREE_BYTES = 200_000_000
_GRACE = 20.0  # seconds that a training has to end by itself
_POLL = 0.2  # seconds
_SHOW = 5.0  # seconds between new estimates of the remaining time


@dataclass(frozen=True)
class Tally:
    """The tasks that are finished, that failed, and that could not start because what they need failed."""

    finished: tuple[Task, ...]
    failed: tuple[Task, ...]
    skipped: tuple[Task, ...]


def run_tasks(tasks: Sequence[Task], out: Path, *, jobs: int = 1, progress: bool = False) -> Tally:
    """Run what is not finished.

    A task that was interrupted or failed goes on. On Ctrl-C or SIGTERM all processes are ended; the next call continues
    them.

    Args:
        tasks: each that others need comes before them
        out: folder of the study
        jobs: processes at a time; the processor's cores are shared among them
        progress: show a bar with the remaining time

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
        with tqdm(total=len(tasks), initial=len(finished), unit="task", disable=not progress) as bar:
            return _Queue(tasks, out, jobs, lock.fileno(), bar, finished).run()


class _Queue:
    """The tasks on their way from waiting to finished or failed."""

    def __init__(self, tasks: Sequence[Task], out: Path, jobs: int, lock: int, bar: tqdm, finished: list[Task]):
        self._out, self._jobs, self._lock, self._bar = out, jobs, lock, bar
        self._waiting = [task for task in tasks if task not in finished]
        self._active: list[tuple[Task, subprocess.Popen]] = []
        self._finished, self._failed, self._skipped = finished, [], []

    def run(self) -> Tally:
        shown = 0.0
        try:
            while self._waiting or self._active:
                self._start_ready()
                if time.monotonic() - shown > _SHOW:
                    self._bar.refresh()
                    shown = time.monotonic()
                time.sleep(_POLL)
                self._collect()
        finally:
            _end([process for _, process in self._active])
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
                self._active.append((task, _start(task, self._jobs, self._lock)))
        self._bar.set_postfix_str(f"{len(self._active)} running, {len(self._failed)} failed", refresh=False)

    def _collect(self) -> None:
        for task, process in list(self._active):
            code = process.poll()
            if code is None:
                continue
            self._active.remove((task, process))
            if code == 0:
                task.mark_finished()
                self._finished.append(task)
            else:
                task.mark_failed(code, _reason(code, task.log))
                self._failed.append(task)
            self._bar.update()


def _names(tasks: Sequence[Task]) -> set[str]:
    return {task.name for task in tasks}


def _start(task: Task, jobs: int, lock: int) -> subprocess.Popen:
    task.make_ready()
    with open(task.log, "ab") as log:
        return subprocess.Popen(
            task.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads_per_job(jobs))},
            start_new_session=True,  # Ctrl-C reaches this process, which ends the others
            pass_fds=[lock],  # should this process be killed, those that it started keep others out of the folder
        )


def _reason(code: int, log: Path) -> str:
    """The signal that ended a task, or the last error in its log, or else the log's last line."""
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return (errors or [line.strip() for line in lines if line.strip()] or ["no output"])[-1]


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen, number: int) -> None:
    """Signal a task and the processes that it started, which share its session."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


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
