"""Commands in processes of their own, forked from one that has imported what all of them need.

What a command does is what it does for a user, from the parsing of its arguments on; only the start of Python and the
imports, several seconds, are done once. ``run_anew`` starts a command as a shell does.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# not nequip.scripts.package, which decides where the log goes
_IMPORTED = ["nequip.scripts.train", "nequip_elemtransfer.resolvers"]
_ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def script(name: str) -> str:
    """Path of a command of this environment, whether or not it is activated."""
    return str(Path(sys.executable).parent / name)


def run(name: str, *args, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run the command ``name`` in ``cwd``."""
    command = [script(name), *(str(arg) for arg in args)]
    with tempfile.TemporaryDirectory() as folder:
        output, error = Path(folder) / "stdout", Path(folder) / "stderr"
        work = (name, command, cwd, os.environ | _ENVIRONMENT, output, error)
        process = _server().Process(target=_execute, args=work)
        process.start()
        process.join()
        done = subprocess.CompletedProcess(command, process.exitcode, output.read_text(), error.read_text())
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


def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


def _execute(name, command, cwd, environment, output, error):
    """In the new process."""
    for number, file in ((0, os.devnull), (1, output), (2, error)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = command
    (entry_point,) = entry_points(group="console_scripts", name=name)
    sys.exit(entry_point.load()())
