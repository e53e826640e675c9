"""A study from its YAML file to its report."""

import shlex
from importlib import import_module
from pathlib import Path

from nequip_elemtransfer.optional_packages import extra, require_plan
from nequip_elemtransfer.study.config.evaluation_settings import EvaluationSettings
from nequip_elemtransfer.study.config.study_file import StudyConfig
from nequip_elemtransfer.study.grid import Grid, StructureFiles, make_grid
from nequip_elemtransfer.study.measure import evaluation
from nequip_elemtransfer.study.measure.measurements import molecules_in
from nequip_elemtransfer.study.run.tasks import Tally, Task, Training, only_one_study, run_tasks
from nequip_elemtransfer.study.run.training_configs import GROUP, PRIMARY, compose_configs, write_configs


def prepare_study(config: Path, out: Path) -> Grid:
    """Write the structures, the configs and the grid of a study into its folder; nothing is run.

    Args:
        config: the study
        out: folder, made if it does not exist

    Raises:
        ValueError, FileNotFoundError: a sentence on what is wrong with the study, its configs or its structures
        OSError: the folder cannot be written
        ModuleNotFoundError: a part of the study needs a library that is not installed
    """
    study = StudyConfig.from_file(config)
    _require_extras(EvaluationSettings.from_mapping(study.evaluations))
    out = out.resolve()
    files = None if study.structures is None else StructureFiles(study.structures, out / "structures")
    grid = make_grid(study, out, files)
    configs = compose_configs(grid)
    try:
        with only_one_study(out):
            write_configs(configs, out)
            if files is not None:
                files.write()
            grid.write(out)
            evaluation.write_evaluation_configs(evaluation.evaluation_tasks(grid, out), out)
    except OSError as error:
        raise OSError(
            f"{out} cannot be written ({error.strerror or error}): give another --out, or make room."
        ) from None
    return grid


def run_study(config: Path, out: Path, *, jobs: int = 1, progress: bool = False) -> Tally:
    """Prepare a study and run what is not finished; see :func:`prepare_study` and :func:`.runner.run_tasks`."""
    grid = prepare_study(config, out)
    return run_tasks(all_tasks(grid, out), out.resolve(), jobs=jobs, progress=progress)


def all_tasks(grid: Grid, out: Path) -> list[Task]:
    """Everything that a study does; each task that others need comes before them."""
    return [*(Training(run, out) for run in grid.runs), *evaluation.evaluation_tasks(grid, out)]


def _require_extras(evaluations: EvaluationSettings) -> None:
    if evaluations.properties is not None and evaluations.molecules is None:
        with extra("study", "a phonon calculation"):
            import_module("phonopy")
    if evaluations.properties is not None and evaluations.molecules is not None:
        molecules_in(evaluations.molecules)  # says so now if there are none
    if evaluations.plan is not None:
        require_plan()


def multirun_commands(grid: Grid, out: Path) -> list[str]:
    """The commands that run all trainings of a folder, and then all evaluations, through a launcher of Hydra."""
    options = ["-cp", str((out / PRIMARY).resolve()), "-cn"]
    launcher = ["--multirun", "hydra/launcher=submitit_local"]
    commands = [["nequip-train", *options, PRIMARY, *launcher, f"+{GROUP}=glob(*)"]]
    if evaluation.evaluation_tasks(grid, out):
        job = ["python", "-m", "nequip_elemtransfer.study.measure.job"]
        commands.append(
            [*job, *options, evaluation.EVALUATIONS_PRIMARY, *launcher, f"+{evaluation.EVALUATION_GROUP}=glob(*)"]
        )
    return [shlex.join(command) for command in commands]
