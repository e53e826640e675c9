"""A file under its name only once it has passed: written beside it, verified, then put in place."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

from nequip_elemtransfer.deploy.info import kind_of
from nequip_elemtransfer.deploy.write import Recipe, Verdict, check_options
from nequip_elemtransfer.output.atomic import folder_beside, put_in_place, require_writable


def deploy(recipe: Recipe, out: Path, force: bool = False, verbose: bool = False) -> Verdict:
    """Write and verify a file; a file that fails is removed.

    Args:
        out: its ending chooses the kind of file
        force: replace a file that exists
        verbose: let NequIP and PyTorch print what they like

    Raises:
        OSError: if it cannot be written
        ValueError: if the model or an option cannot be used
        RuntimeError: if the model cannot be exported
    """
    check_options(recipe, kind_of(out))
    require_writable(out, force)
    with folder_beside(out) as folder:
        staged = folder / out.name  # NequIP goes by the name's ending
        try:
            verdict = _in_own_process(recipe, staged, verbose)
        except EOFError as error:
            raise OSError(
                f"{out} cannot be written: the process writing it died. Is the disk full (free: "
                f"{shutil.disk_usage(folder).free / 1e6:.0f} MB), a quota reached, or memory short? "
                "--verbose shows its last words."
            ) from error
        if verdict.passed:
            put_in_place(staged, out, force)
    return verdict


def _in_own_process(recipe: Recipe, staged: Path, verbose: bool) -> Verdict:
    """Run :func:`~nequip_elemtransfer.deploy.write.write_and_verify` where it may die.

    PyTorch ends the process when a disk is full.

    Raises:
        EOFError: if it died
    """
    done = subprocess.run(
        [sys.executable, "-m", "nequip_elemtransfer.deploy.worker"],
        input=pickle.dumps((recipe, staged)),
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        env=os.environ | {"PYTHONSAFEPATH": "1"},  # import nothing from the working directory
    )
    result = pickle.loads(done.stdout)
    if isinstance(result, Exception):
        raise result
    return result
