"""Runs the grid, each run a ``nequip-train`` process of its own in a folder of its own.

What a folder says about its run:

- ``finished.json``: it is done, and never repeated;
- ``failed.json``: it ended with an error, which is in ``nequip-train.log``;
- neither: it was interrupted, or is running. It continues from its last ``restart.ckpt``.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tqdm.auto import tqdm

from nequip_elemtransfer.atomic_files import written_together
from nequip_elemtransfer.study.grid import Grid, Run
from nequip_elemtransfer.study.run_results import FAILED, FINISHED, LOG, State, run_state, tested
from nequip_elemtransfer.study.training_configs import GROUP, PRIMARY, RESTART

# A run that meets a full disk fails, and with it all that come after: better stop before.
LEAST_FREE_BYTES = 200_000_000
_GRACE = 20.0  # seconds that a training has to end by itself
_POLL = 0.2  # seconds
_SHOW = 5.0  # seconds between new estimates of the remaining time


@dataclass(frozen=True)
class Outcome:
    """Names of the runs that are finished, that failed, and that could not start because their source failed."""

    finished: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]


def run_grid(grid: Grid, out: Path, *, jobs: int = 1, progress: bool = False) -> Outcome:
    """Run what is not finished.

    A run that was interrupted or failed continues from its last restart point. On Ctrl-C or SIGTERM all trainings are
    ended; the next call continues them.

    Args:
        grid: the runs; their configs are in ``out``
        out: folder of the study
        jobs: trainings at a time; the processor's cores are shared among them
        progress: show a bar with the remaining time

    Raises:
        ValueError: ``jobs`` below 1, or another process is at work in ``out``
        OSError: the folder cannot be written, or the disk is full
        KeyboardInterrupt: after all trainings were ended
    """
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}: at least one training has to run at a time.")
    _refuse_full_disk(out)
    (out / "runs").mkdir(exist_ok=True)
    with only_one(out) as lock, _sigterm_interrupts():
        finished = [run.name for run in grid.runs if _is_finished(out / "runs" / run.name)]
        with tqdm(total=len(grid.runs), initial=len(finished), unit="run", disable=not progress) as bar:
            return _Queue(grid, out, jobs, lock.fileno(), bar, finished).run()


class _Queue:
    """The runs on their way from waiting to finished or failed."""

    def __init__(self, grid: Grid, out: Path, jobs: int, lock: int, bar: tqdm, finished: list[str]):
        self._out, self._jobs, self._lock, self._bar = out, jobs, lock, bar
        self._waiting = [run for run in grid.runs if run.name not in finished]
        self._active: dict[str, subprocess.Popen] = {}
        self._finished, self._failed, self._skipped = finished, [], []

    def run(self) -> Outcome:
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
            _end(list(self._active.values()))
        return Outcome(tuple(self._finished), tuple(self._failed), tuple(self._skipped))

    def _start_ready(self) -> None:
        for run in list(self._waiting):
            if run.needs in (*self._failed, *self._skipped):
                self._waiting.remove(run)
                self._skipped.append(run.name)
                self._bar.update()
            elif len(self._active) < self._jobs and run.needs in (None, *self._finished):
                _refuse_full_disk(self._out)
                self._waiting.remove(run)
                self._active[run.name] = _start(run, self._out, self._jobs, self._lock)
        self._bar.set_postfix_str(f"{len(self._active)} running, {len(self._failed)} failed", refresh=False)

    def _collect(self) -> None:
        for name, process in list(self._active.items()):
            code = process.poll()
            if code is None:
                continue
            del self._active[name]
            folder = self._out / "runs" / name
            if code == 0:
                mark_finished(folder)
                self._finished.append(name)
            else:
                _mark(folder, FAILED, {"exit_code": code, "reason": _reason(code, folder / LOG)})
                self._failed.append(name)
            self._bar.update()


def command(run: str, out: Path) -> list[str]:
    """The ``nequip-train`` command of a run, continued from its restart point if there is one.

    Args:
        run: name of the run
        out: folder of the study
    """
    out = out.resolve()
    folder = out / "runs" / run
    args = ["-cp", str(out / PRIMARY), "-cn", PRIMARY, f"+{GROUP}={run}", f'hydra.run.dir="{folder}"']
    if (folder / RESTART).exists():
        args.append(f'++ckpt_path="{folder / RESTART}"')
    return [sys.executable, "-m", "nequip.scripts.train", *args]


def _start(run: Run, out: Path, jobs: int, lock: int) -> subprocess.Popen:
    folder = out / "runs" / run.name
    _make_ready(folder)
    folder.mkdir(exist_ok=True)
    with open(folder / LOG, "ab") as log:
        return subprocess.Popen(
            command(run.name, out),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads_per_job(jobs))},
            start_new_session=True,  # Ctrl-C reaches this process, which ends the trainings
            pass_fds=[lock],  # should this process be killed, its trainings keep others out of the folder
        )


def threads_per_job(jobs: int) -> int:
    """Cores this process may use, shared among the trainings; never more than ``OMP_NUM_THREADS`` allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // jobs)
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(allowed)) if allowed.isdigit() and int(allowed) else share


def _make_ready(folder: Path) -> None:
    """Prepare the folder of an interrupted or failed run for going on; nothing in it is lost."""
    if not folder.exists():
        return
    (folder / FAILED).unlink(missing_ok=True)
    restart = folder / RESTART
    if restart.exists() and not zipfile.is_zipfile(restart):  # cut off while being written
        restart.unlink()
    if restart.exists():
        # Lightning deletes the metrics of an earlier start in the same folder
        for metrics in folder.glob("metrics/metrics.csv"):
            metrics.rename(_free(metrics.with_name("metrics.before_{}.csv")))
    else:
        folder.rename(_free(folder.with_name(folder.name + ".before_{}")))


def _free(pattern: Path) -> Path:
    """The first path that does not exist, numbers in place of ``{}``."""
    number = 1
    while (path := Path(str(pattern).format(number))).exists():
        number += 1
    return path


def _is_finished(folder: Path) -> bool:
    """Whether a run is done; one that Hydra's launchers made is marked here."""
    if run_state(folder) is State.INTERRUPTED and tested(folder):
        mark_finished(folder)
    return run_state(folder) is State.FINISHED


def mark_finished(folder: Path) -> None:
    """Mark a run as done."""
    _mark(folder, FINISHED, {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z")})


def _mark(folder: Path, name: str, content: dict) -> None:
    with written_together([folder / name]) as (partial,):
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _reason(code: int, log: Path) -> str:
    """The signal that ended a training, or the last error in its log, or else the log's last line."""
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
    """Signal a training and its data-loader workers, which share its session."""
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


@contextmanager
def only_one(out: Path) -> Iterator[IO]:
    """Keep a second study, or trainings that a killed one left behind, out of the folder."""
    with open(out / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"a study, or a training that it started, is at work in {out}: wait for it, end it, or give another "
                "--out."
            ) from None
        yield lock


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM, which batch systems send, end a study as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
