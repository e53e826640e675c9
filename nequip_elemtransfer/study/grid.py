"""The runs of a study as plain data."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from nequip_elemtransfer import __version__
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.config.evaluation_settings import ALL
from nequip_elemtransfer.study.config.starts import SCRATCH, Arm, Pretraining
from nequip_elemtransfer.study.config.study_file import DEFAULT, ModelEntry, StudyConfig
from nequip_elemtransfer.study.folder import checkpoint_of
from nequip_elemtransfer.study.structure_files import StructureFiles

SOURCE = "source"  # as a start: of trainings that others start from
PRETRAINING = "pretrain"
GRID_FILE = "study.json"


class Replicate(NamedTuple):
    """Which of the trainings that are alike in all else.

    Args:
        seed: of the subset, the random weights and the order of batches
        source: name of the trained source, where a study has several and the training has one
    """

    seed: int
    source: str | None = None

    def __str__(self) -> str:
        return f"{self.seed}" if self.source is None else f"{self.seed}, source {self.source}"


# axes of a run's settings over which results are averaged
REPLICATED = ("seed", "source")


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        name: of the run and its folder
        settings: axis -> value
        config: a NequIP config
        overrides: Hydra overrides of that config
        training_set: file; None leaves what the config has
        needs: name of the run that trains its source, or pre-trains its model; None if there is none
        transfers: whether it starts from a trained model
    """

    name: str
    settings: Mapping[str, Any]
    config: str
    overrides: tuple[str, ...]
    training_set: str | None = None
    needs: str | None = None
    transfers: bool = False

    @property
    def replicate(self) -> Replicate:
        return Replicate(self.settings["seed"], self.settings.get("source"))


@dataclass(frozen=True)
class Grid:
    """All runs of a study; each that others need comes before them.

    Args:
        runs: the trainings
        test_sets: name -> file, the whole first
        validate_every: steps between validations; None leaves it to the configs
        evaluations: the study's entries for :class:`.evaluation_settings.EvaluationSettings`
        baseline: name of the start that the others are compared with
        version: of this package
    """

    runs: tuple[Run, ...]
    test_sets: Mapping[str, str] = field(default_factory=dict)
    validate_every: int | None = None
    evaluations: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = SCRATCH
    version: str = __version__

    def write(self, out: Path) -> None:
        """Write the grid to ``out``, for the report."""
        with written_together([out / GRID_FILE]) as (partial,):
            partial.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, out: Path) -> "Grid":
        """Read the grid of a folder that ``study run`` made.

        Raises:
            FileNotFoundError: it is no such folder
        """
        path = out / GRID_FILE
        if not path.is_file():
            raise FileNotFoundError(f"{out} is no folder of a study: it has no {GRID_FILE}, which `study run` writes.")
        entries = json.loads(path.read_text(encoding="utf-8"))
        runs = tuple(Run(**run | {"overrides": tuple(run["overrides"])}) for run in entries.pop("runs"))
        return cls(runs=runs, **entries)


def make_grid(study: StudyConfig, out: Path, files: StructureFiles | None) -> Grid:
    """All runs of a study.

    Args:
        study: what to run
        out: folder of the study; runs refer to the checkpoint of a source in it
        files: structure files; None if the configs bring their own

    Raises:
        ValueError: a size larger than the data
        FileNotFoundError: structures of a pre-training that do not exist
    """
    runs: dict[str, Run] = {run.name: run for run in _needed_first(study, out)}
    sizes = study.sizes or (None,)
    for arm, model, chosen, size, seed in product(study.arms, study.models, study.train_on, sizes, study.seeds):
        training_set, count = None, None
        if files is not None:
            training_set, count = files.training_set(chosen, study.train_on[chosen], size, seed)
        for *values, source in product(*study.axes.values(), _source_names(study, arm)):
            axes = dict(zip(study.axes, values))
            of_source = {} if source is None else {"source": source}
            settings = {"start": arm.name, "model": model.name, "train_on": chosen, **axes, **of_source}
            settings |= {"size": count, "seed": seed}
            name = _name(settings)
            needs = _source_of(study, arm, model, source)
            overrides = (
                *_overrides(arm, model, _trained_source(study, model, source, needs, out)),
                *study.overrides,
                *(item for axis, value in axes.items() for item in study.axes[axis][value]),
            )
            # `all` may be a size that is listed as a number too
            runs[name] = Run(
                name,
                settings,
                str(arm.config),
                overrides,
                training_set=training_set and str(training_set),
                needs=needs,
                transfers=arm.transfers,
            )
    tests = {} if files is None else {name: str(path) for name, path in files.test_sets().items()}
    return Grid(tuple(runs.values()), tests, study.validate_every, study.evaluations, study.baseline)


def runs_of_sizes(runs: Sequence[Run], sizes: Sequence[int | str] | None) -> list[Run]:
    """Trainings of the target with one of the sizes; ``all`` is the largest, None any."""
    targets = [run for run in runs if run.settings["start"] != SOURCE]
    if sizes is None:
        return targets
    largest = max((run.settings["size"] or 0 for run in targets), default=0)
    wanted = {largest if size == ALL else size for size in sizes}
    return [run for run in targets if run.settings["size"] in wanted]


def _source_names(study: StudyConfig, arm: Arm) -> tuple[str | None, ...]:
    """Of the sources that a start is made from; None is the only one, or none."""
    return tuple(study.sources) if study.sources and arm.needs_source else (None,)


def _needed_first(study: StudyConfig, out: Path) -> list[Run]:
    """The trainings that others start from: of sources, and pre-trainings."""
    own = study.source is not None and any(arm.needs_source for arm in study.arms)
    sources = [_source(study, *pair) for pair in product(study.models, tuple(study.sources) or (None,))] if own else []
    pretrained = [(arm, arm.pretrain) for arm in study.arms if arm.pretrain is not None]
    return [
        *sources,
        *(
            _pretraining(study, arm, pretrain, model, source, out)
            for arm, pretrain in pretrained
            for model, source in product(study.models, _source_names(study, arm))
        ),
    ]


def _source(study: StudyConfig, model: ModelEntry, source: str | None) -> Run:
    settings = {"start": SOURCE, "model": model.name}
    overrides = (*model.overrides, *study.source_overrides, *(study.sources[source] if source else ()))
    return Run(_needed_name(SOURCE, model, source), settings, str(study.source), overrides)


def _pretraining(
    study: StudyConfig, arm: Arm, pretrain: Pretraining, model: ModelEntry, source: str | None, out: Path
) -> Run:
    """One for each model and source: it does not depend on the structures and the seed of the trainings after it."""
    needs = _needed_name(SOURCE, model, source) if pretrain.transfers and study.source else None
    files = asdict(pretrain.structures) if pretrain.structures else {}
    for part, path in files.items():
        if path is not None and not Path(path).is_file():
            raise FileNotFoundError(
                f"`starts.{arm.name}.pretrain.structures.{part}` names {path!r}, which does not exist (relative paths "
                f"start from {Path.cwd()})."
            )
    overrides = (
        *_overrides(pretrain, model, _trained_source(study, model, source, needs, out)),
        *(f"data.{part}_file_path={json.dumps(path)}" for part, path in files.items() if path is not None),
    )
    settings = {"start": SOURCE, "model": model.name}
    name = _needed_name(f"{PRETRAINING}-{arm.name}", model, source)
    return Run(name, settings, str(pretrain.config), overrides, needs=needs, transfers=pretrain.transfers)


def _source_of(study: StudyConfig, arm: Arm, model: ModelEntry, source: str | None) -> str | None:
    """Name of the run that trains what a start begins with; None if the study trains none."""
    if arm.pretrain is not None:
        return _needed_name(f"{PRETRAINING}-{arm.name}", model, source)
    return _needed_name(SOURCE, model, source) if arm.transfers and study.source else None


def _needed_name(name: str, model: ModelEntry, source: str | None) -> str:
    return "-".join([name, *([] if model.name == DEFAULT else [model.name]), *([] if source is None else [source])])


def _trained_source(
    study: StudyConfig, model: ModelEntry, source: str | None, needs: str | None, out: Path
) -> str | None:
    """Path of what a start begins with; None leaves it to the config."""
    if needs is not None:
        return str(checkpoint_of(out, needs))
    given = study.sources[source] if source else model.source
    return given if isinstance(given, str) else None


def _overrides(arm: Arm | Pretraining, model: ModelEntry, source: str | None) -> Sequence[str]:
    if not arm.transfers:
        return (*arm.overrides, *model.overrides)
    return (*([] if source is None else [f"++element_transfer.source={json.dumps(source)}"]), *arm.overrides)


def _name(settings: Mapping[str, Any]) -> str:
    """``corresponding_states-n10-seed0``: the values in one order, those that every run shares by default left out."""
    values = [value for axis, value in settings.items() if axis not in ("size", "seed") and value != DEFAULT]
    size = [] if settings["size"] is None else [f"n{settings['size']}"]
    return "-".join([*values, *size, f"seed{settings['seed']}"])
