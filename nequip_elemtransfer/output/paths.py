"""Files and folders that a command is told of, looked for before anything is imported that takes seconds."""

import os
from pathlib import Path

from nequip_elemtransfer.output.refusal import shortened

# models that NequIP fetches
NEQUIP_NET = "nequip.net:"

# in the folder of a study, its grid
STUDY_GRID = "study.json"

CALCULATOR_EXAMPLE = "{_target_: ase.calculators.emt.EMT}"

_MODELS = "a .ckpt file written by `nequip-train`, of a .nequip.zip package, or a nequip.net id"


def existing(path: str | Path, what: str, fix: str, *, folder: bool = False) -> Path:
    """The path of a file, or of a folder.

    Args:
        what: is looked for, the first words of a sentence
        fix: what to do, its last words

    Raises:
        FileNotFoundError: if there is none
    """
    found, other = (os.path.isdir, os.path.isfile) if folder else (os.path.isfile, os.path.isdir)
    if not found(path):  # unlike pathlib's, they take names that are longer than the system's
        problem = f"is a {'file' if folder else 'folder'}" if other(path) else "does not exist"
        raise FileNotFoundError(f"{what} {problem}: {fix}.")
    return Path(path)


def existing_file(path: str | Path, what: str = "source") -> Path:
    """The path of a trained model.

    Args:
        what: the file is to the user, the first word of a sentence

    Raises:
        FileNotFoundError: if there is none
    """
    fix = f"give the path of {_MODELS} (relative paths start from {Path.cwd()})"
    return existing(path, f"{what} {shortened(str(path), 1000)}", fix)


def require_source(path: str) -> None:
    """Refuse a source that is nowhere: no file, no folder (of NequIP 0.5 and 0.6), and not of nequip.net.

    Raises:
        FileNotFoundError: with the path
    """
    if not (path.startswith(NEQUIP_NET) or os.path.isdir(path)):
        existing_file(path)


def require_calculators(*paths: str | Path) -> None:
    """Refuse descriptions of calculators that are not there.

    Raises:
        FileNotFoundError: with the first path
    """
    for path in paths:
        existing(path, repr(str(path)), f"give a YAML file with a calculator, as in {CALCULATOR_EXAMPLE}")


def require_study(path: Path) -> None:
    """Refuse a study that is not there.

    Raises:
        FileNotFoundError: with its path
    """
    existing(path, f"the study {str(path)!r}", "give its YAML file")


def require_model(path: Path) -> None:
    """Refuse a model to deploy that is not there.

    Raises:
        FileNotFoundError: with its path
    """
    existing(path, str(path), "give a .ckpt file or a .nequip.zip package")


def require_deployed(path: Path) -> None:
    """Refuse a deployed file that is not there.

    Raises:
        FileNotFoundError: with its path
    """
    existing(path, str(path), "give a file that `nequip-deploy build` or `nequip-compile` wrote")


def require_structure(path: str) -> None:
    """Refuse a structure for LAMMPS that is not there.

    Raises:
        FileNotFoundError: with its path
    """
    existing(path, f"structure {path!r}", "give `diamond` or a file that ASE reads")


def require_study_folder(path: Path) -> None:
    """Refuse a folder that is none of a study.

    Raises:
        FileNotFoundError: with its path
    """
    if not (path / STUDY_GRID).is_file():
        raise FileNotFoundError(f"{path} is no folder of a study: it has no {STUDY_GRID}, which `study run` writes.")


def require_training_folder(path: Path) -> None:
    """Refuse what is no folder of a training.

    Raises:
        FileNotFoundError: with its path
    """
    existing(path, f"--train-dir {path}", "give the output folder of a nequip-train run", folder=True)
