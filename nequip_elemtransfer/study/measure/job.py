"""An evaluation of a study as a job of Hydra, so that any of its launchers runs all of them:

python -m nequip_elemtransfer.study.measure.job -cp DIR/grid -cn evaluations --multirun '+evaluation=glob(*)'
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from nequip_elemtransfer.study.grid import Grid, checkpoint_of
from nequip_elemtransfer.study.measure.evaluation import evaluation_tasks
from nequip_elemtransfer.study.measure.one_evaluation import evaluate_model


@hydra.main(version_base=None)  # type: ignore[untyped-decorator]
def main(config: DictConfig) -> None:
    """Do the evaluation that the config names, unless it is done already for what it is to be done with.

    Raises:
        FileNotFoundError: a model is not trained yet
    """
    out, chosen = Path(config.study), (config.evaluation.kind, config.evaluation.model)
    task = next(task for task in evaluation_tasks(Grid.read(out), out) if (task.kind, task.model) == chosen)
    for run in task.needs:
        if not checkpoint_of(out, run).is_file():
            raise FileNotFoundError(f"{task.name} needs {checkpoint_of(out, run)}: run the trainings first.")
    if task.is_finished():
        return
    task.make_ready()
    evaluate_model(out, task.kind, task.model)
    task.mark_finished()


if __name__ == "__main__":
    main()
