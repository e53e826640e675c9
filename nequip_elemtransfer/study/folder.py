"""What lies where in the folder of a study, and how far what has a folder there is.

What the folder of a task says about it:

- ``finished.json``: it is done, and never repeated;
- ``failed.json``: it ended with an error, which is in its log;
- neither: it was interrupted, or is running.
"""

import json
from enum import Enum
from pathlib import Path

FINISHED_FILE, FAILED_FILE = "finished.json", "failed.json"
RESULT_FILE = "result.json"  # of an evaluation
REFERENCE = "reference"  # in place of a run's name, what models are compared with


class State(str, Enum):
    """Of a task."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not started"


def state_of(folder: Path) -> State:
    """How far what has this folder is."""
    if (folder / FINISHED_FILE).exists():
        return State.FINISHED
    if (folder / FAILED_FILE).exists():
        return State.FAILED
    return State.INTERRUPTED if folder.exists() else State.NOT_STARTED


def failure_reason(folder: Path) -> str:
    """Why what has this folder failed; empty if it did not."""
    path = folder / FAILED_FILE
    return json.loads(path.read_text(encoding="utf-8"))["reason"] if path.exists() else ""


def run_folder(out: Path, run: str) -> Path:
    """Folder of a training in that of the study."""
    return out / "runs" / run


def checkpoint_of(out: Path, run: str) -> Path:
    """The best model of a training."""
    return run_folder(out, run) / "best.ckpt"


def evaluation_folder(out: Path, kind: str, model: str) -> Path:
    """Folder of an evaluation in that of the study."""
    return out / "evaluations" / kind / model


def simulation_name(begin: str, temperature: float, index: int) -> str:
    """File of a simulation in the folder of its evaluation."""
    return f"{begin}-{temperature:g}K-{index}.json"


def free_path(pattern: Path) -> Path:
    """The first path that does not exist, numbers in place of ``{}``."""
    number = 1
    while (path := Path(str(pattern).format(number))).exists():
        number += 1
    return path
