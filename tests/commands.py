"""Commands in processes of their own, forked from one that has imported what all of them need.

What a command does is what it does for a user, from the parsing of its arguments on; only the start of Python and the
imports, several seconds, are done once. ``run_anew`` starts a command as a shell does.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import entry_points
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
# not nequip.scripts.package, which decides where the log goes; NequIP imports pytorch_lightning for each trainer
_IMPORTED = ["nequip.scripts.train", "nequip_elemtransfer.key.look_ups", "pytorch_lightning", "activation_moments"]
_ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def script(name: str) -> str:
    """Path of a command of this environment, whether or not it is activated."""
    return str(Path(sys.executable).parent / name)


def run(name: str, *args, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run the command ``name`` in ``cwd``."""
    command = [script(name), *(str(arg) for arg in args)]
    with tempfile.TemporaryDirectory() as folder:
        output, error = Path(folder) / "stdout", Path(folder) / "stderr"
        with open(output, "w") as out, open(error, "w") as err:
            process = Forked(command, cwd=cwd, stdout=out, stderr=err, env=os.environ | _ENVIRONMENT)
        done = subprocess.CompletedProcess(command, process.wait(), output.read_text(), error.read_text())
    return _checked(done, check)


def run_anew(name: str, *args, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """The same without anything imported before."""
    command = [script(name), *(str(arg) for arg in args)]
    paths = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | _ENVIRONMENT | {"PYTHONPATH": paths}
    return _checked(subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment), check)


def _checked(done, check):
    if check and done.returncode:
        raise AssertionError(f"{done.args} failed:\n{done.stdout}\n{done.stderr}")
    return done


class Forked:
    """What is used of :class:`subprocess.Popen`, for a command or ``python -m MODULE``.

    Descriptors of ``pass_fds`` are open in the process, under other numbers.
    """

    def __init__(self, command, *, stdout, stderr, env, cwd=".", start_new_session=False, pass_fds=(), stdin=None):
        output = _Passed(stdout.fileno())
        error = output if stderr == subprocess.STDOUT else _Passed(stderr.fileno())
        held = [_Passed(number) for number in pass_fds]
        work = (command, os.path.abspath(cwd), env, start_new_session, output, error, held)
        self.args, self._process = command, _context().Process(target=_execute, args=work)
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self._process.exitcode


@cache
def _context():
    """What forks; its first process has found this folder, too."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        forkserver.ensure_running()
    return context


class _Passed:
    """A descriptor on its way to another process, which gets one of the same file."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return _received, (DupFd(self.number),)


def _received(descriptor):
    return descriptor.detach()


def _execute(command, cwd, environment, new_session, output, error, held):
    """In the new process."""
    if new_session:
        os.setsid()
    for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, error)):
        os.dup2(file, number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    if command[:2] == [sys.executable, "-m"]:
        sys.argv = command[2:]
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        (entry_point,) = entry_points(group="console_scripts", name=Path(command[0]).name)
        sys.exit(entry_point.load()())
