"""How many steps a race can afford in some minutes, by a training that is measured."""

import math
import time
from pathlib import Path
from typing import Any

from nequip_elemtransfer.race.course import MARKS, STOP_MARK
from nequip_elemtransfer.study.grid import Grid, Run, run_folder
from nequip_elemtransfer.study.run.results import validations
from nequip_elemtransfer.study.run.tasks import Training, run_tasks
from nequip_elemtransfer.study.run.training_configs import compose_config, option_text, training_config, write_configs

_PROBE, _STEPS = "probe", 24


def affordable_steps(minutes: float, n_starts: int, n_folds: int, jobs: int, out: Path) -> int:
    """Optimizer steps of each training with which a race takes some minutes if no start is stopped.

    Args:
        minutes: by the clock
        n_starts, n_folds: of the race
        jobs: trainings at a time
        out: folder of the race, with its plan

    Raises:
        ValueError: they are too few for any race
    """
    step, start = _measured(out)
    # every start in two parts, and the winner twice with fewer steps, each a process that has to start
    n_processes, schedules = 2 * n_starts + 2, n_starts + 2 * STOP_MARK / MARKS

    def seconds(steps: float) -> float:
        return n_folds * (n_processes * start + schedules * steps * step) / jobs

    steps = math.floor((60 * minutes - seconds(0)) / (seconds(1) - seconds(0)) / MARKS) * MARKS
    if steps < MARKS:
        least = math.ceil(seconds(MARKS) / 60)
        raise ValueError(
            f"--budget is {minutes:g} minutes, in which no race can be run: a step takes {step:.2g} s and a process "
            f"{start:.2g} s to start, so give at least {least}min, fewer folds or starts, or more jobs."
        )
    return steps


def _measured(out: Path) -> tuple[float, float]:
    """Seconds that a step of the plan's training takes, and that its process takes besides."""
    config = (out / "plan" / "train.yaml").resolve()
    run = Run(_PROBE, {"start": _PROBE, "size": None, "seed": 0}, str(config), ())
    content: Any = training_config(run, Grid((run,)), compose_config(config, ()))
    content["run"], content["max_steps"] = ["train"], _STEPS
    content["trainer"].pop("limit_val_batches", None)
    content["trainer"]["check_val_every_n_epoch"] = 1
    whole = {"_target_": "torch.utils.data.DataLoader", "batch_size": 16}
    content["data"] = {"val_dataloader": whole, **content["data"]}
    write_configs({_PROBE: option_text(content)}, out)
    began = time.monotonic()
    tally = run_tasks([Training(run, out)], out)
    seen = validations(run_folder(out, _PROBE))
    if tally.failed or not seen:
        raise ValueError(
            f"a training of {_STEPS} steps, to measure how long one takes, failed: its log is "
            f"{run_folder(out, _PROBE) / 'nequip-train.log'}."
        )
    return seen[-1].seconds / seen[-1].steps, time.monotonic() - began - seen[-1].seconds
