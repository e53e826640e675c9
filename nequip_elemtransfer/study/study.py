"""A study from its YAML file to its report."""

import shlex
from importlib import import_module
from pathlib import Path

from nequip_elemtransfer.extras import extra, require_plan
from nequip_elemtransfer.study.config import StudyConfig
from nequip_elemtransfer.study.evaluations import Evaluations
from nequip_elemtransfer.study.grid import Grid, make_grid
from nequip_elemtransfer.study.runner import Outcome, only_one_study, run_tasks
from nequip_elemtransfer.study.structure_files import StructureFiles
from nequip_elemtransfer.study.tasks import all_tasks
from nequip_elemtransfer.study.training_configs import GROUP, PRIMARY, compose_configs, write_configs


def prepare(config: Path, out: Path) -> Grid:
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
    _require_extras(Evaluations.from_mapping(study.evaluations))
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
    except OSError as error:
        raise OSError(
            f"{out} cannot be written ({error.strerror or error}): give another --out, or make room."
        ) from None
    return grid


def run(config: Path, out: Path, *, jobs: int = 1, progress: bool = False) -> Outcome:
    """Prepare a study and run what is not finished; see :func:`prepare` and :func:`.runner.run_tasks`."""
    grid = prepare(config, out)
    return run_tasks(all_tasks(grid, out), out.resolve(), jobs=jobs, progress=progress)


def _require_extras(evaluations: Evaluations) -> None:
    if evaluations.properties is not None:
        with extra("study", "a phonon calculation"):
            import_module("phonopy")
    if evaluations.plan is not None:
        require_plan()


def multirun_command(out: Path) -> str:
    """The command that runs the whole grid of a folder through a launcher of Hydra."""
    command = ["nequip-train", "-cp", str((out / PRIMARY).resolve()), "-cn", PRIMARY, "--multirun"]
    return shlex.join([*command, "hydra/launcher=submitit_local", f"+{GROUP}=glob(*)"])
