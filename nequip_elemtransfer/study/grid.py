"""The runs of a study as plain data, its structure files, and what lies where in its folder.

What the folder of a run or an evaluation says about it:

- ``finished.json``: it is done, and never repeated;
- ``failed.json``: it ended with an error, which is in its log;
- neither: it was interrupted, or is running.

Training and test sets are files: the first n structures with given labels, and the test structures of each label.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import lru_cache, partial
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from nequip_elemtransfer.intervals import Replicate
from nequip_elemtransfer.output.atomic import folder_beside, put_in_place, write_text
from nequip_elemtransfer.output.paths import STUDY_GRID, require_study_folder
from nequip_elemtransfer.structures.options import DataOptions
from nequip_elemtransfer.structures.reading import read_structures
from nequip_elemtransfer.study.config import study_file
from nequip_elemtransfer.study.config.entries import ALL, require_file

SOURCE = "source"  # as a start: of trainings that others start from
PRETRAINING = "pretrain"
REFERENCE = "reference"  # in place of a run's name, what models are compared with
FINISHED_FILE, FAILED_FILE = "finished.json", "failed.json"
# axes of a run's settings over which results are averaged
REPLICATED = ("seed", "source")

WHOLE = "all"


class State(str, Enum):
    """Of a task."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not started"


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
        validation: file of the validation set; ``none`` for no validation; None leaves it to the configs
        evaluations: the study's entries for :class:`.evaluation_settings.EvaluationSettings`
        baseline: name of the start that the others are compared with
        version: of this package
    """

    runs: tuple[Run, ...]
    test_sets: Mapping[str, str] = field(default_factory=dict)
    validate_every: int | None = None
    evaluations: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = study_file.SCRATCH
    validation: str | None = None
    version: str = field(default_factory=partial(metadata.version, "nequip-elemtransfer"))

    def write(self, out: Path) -> None:
        """Write the grid to ``out``, for the report."""
        write_text(out / STUDY_GRID, json.dumps(asdict(self), indent=1) + "\n")

    def targets(self, sizes: Sequence[int | str] | None = None) -> list[Run]:
        """Trainings of the target with one of the sizes; ``all`` is the largest, None any."""
        targets = [run for run in self.runs if run.settings["start"] != SOURCE]
        if sizes is None:
            return targets
        largest = max((run.settings["size"] or 0 for run in targets), default=0)
        wanted = {largest if size == ALL else size for size in sizes}
        return [run for run in targets if run.settings["size"] in wanted]

    @classmethod
    def read(cls, out: Path) -> "Grid":
        """Read the grid of a folder that ``study run`` made.

        Raises:
            FileNotFoundError: it is no such folder
        """
        require_study_folder(out)
        entries = read_json(out / STUDY_GRID)
        runs = tuple(Run(**run | {"overrides": tuple(run["overrides"])}) for run in entries.pop("runs"))
        return cls(runs=runs, **entries)


class StructureFiles:
    """The structure files of a study.

    Args:
        structures: which files, and how the test set is divided
        folder: of the files made here
    """

    def __init__(self, structures: study_file.Structures, folder: Path):
        self._structures = structures
        self._folder = folder
        self._made: dict[Path, list[Atoms]] = {}

    def training_set(self, name: str, labels: Mapping[str, Any], size: int | str, seed: int) -> tuple[Path, int]:
        """The first ``size`` structures with ``labels``: the file that will hold them, and how many they are.

        Args:
            name: of these labels
            labels: label -> value, or list of values, of ``Atoms.info``
            size: a number, or ``all``
            seed: fills in ``{seed}`` in the path of the structures

        Raises:
            ValueError: there are fewer structures
        """
        path = self._structures.train.replace("{seed}", str(seed))
        frames = structures_with(path, labels, self._structures.keys, labelled=True)
        whose = f" with {dict(labels)}" if labels else ""
        count = len(frames) if size == ALL else int(size)
        if not 1 <= count <= len(frames):
            raise ValueError(
                f"`sizes` has {count}, but {path} holds {len(frames)} structures{whose}: choose sizes up to that, or "
                "all."
            )
        of_seed = f"-seed{seed}" if "{seed}" in self._structures.train else ""
        file = self._folder / f"train-{name}{of_seed}-n{count}.xyz"
        self._made[file] = frames[:count]
        return file, count

    def test_sets(self) -> dict[str, Path]:
        """Name -> file of the whole test set, first, and of its divisions; empty if the configs bring their own."""
        if self._structures.test is None:
            return {}
        frames = structures_in(self._structures.test, self._structures.keys, labelled=True)
        sets: dict[str, list[Atoms]] = {WHOLE: list(frames)}
        label = self._structures.test_by
        if label is not None:
            for atoms in frames:
                if label not in atoms.info:
                    known = ", ".join(sorted({name for frame in frames for name in frame.info})) or "none"
                    raise ValueError(
                        f"`structures.test_by` is {label!r}, which not every structure of {self._structures.test} has; "
                        f"labels in the file: {known}."
                    )
                sets.setdefault(_label_name(atoms.info[label]), []).append(atoms)
        files = {name: self._folder / f"test-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.xyz" for name in sets}
        for name, file in files.items():
            alike = [other for other in files if files[other] == file]
            if alike[0] != name:
                raise ValueError(
                    f"`structures.test_by` is {label!r}, whose values {alike} would share the file {file.name}: rename "
                    "them in letters and digits."
                )
        self._made |= {files[name]: members for name, members in sets.items()}
        return files

    def write(self) -> None:
        """Write all files that were asked for; one that exists with the same content is left alone.

        Raises:
            ValueError: a file exists with other structures
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for path, frames in self._made.items():
            with folder_beside(path) as folder:
                staged = folder / path.name
                ase.io.write(staged, frames, format="extxyz")
                if not path.exists():
                    put_in_place(staged, path, force=False)
                elif path.read_bytes() != staged.read_bytes():
                    raise ValueError(
                        f"{path} was made from other structures than those that the study names now: give another "
                        "--out."
                    )


@lru_cache(maxsize=64)
def structures_in(path: str, keys: tuple[tuple[str, str], ...] = (), labelled: bool = False) -> tuple[Atoms, ...]:
    """All structures of a file that the study names, read once.

    Args:
        keys: names of entries, and what each is read as
        labelled: whether labels are of use

    Raises:
        FileNotFoundError, ValueError: a sentence on what is wrong
    """
    require_file("structures", path)
    return tuple(read_structures(path, DataOptions(dict(keys)), labels=labelled).structures)


def structures_with(
    path: str, labels: Mapping[str, Any], keys: tuple[tuple[str, str], ...] = (), labelled: bool = False
) -> list[Atoms]:
    """Those in which each label has the value, or one of the values, in ``Atoms.info``; see :func:`structures_in`."""
    wanted = {name: value if isinstance(value, list) else [value] for name, value in labels.items()}
    return [
        atoms
        for atoms in structures_in(path, keys, labelled)
        if all(name in atoms.info and atoms.info[name] in values for name, values in wanted.items())
    ]


def _label_name(value: Any) -> str:
    """``300`` of 300.0, for the name of a test set."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def make_grid(study: study_file.StudyConfig, out: Path, files: StructureFiles | None) -> Grid:
    """All runs of a study.

    Args:
        study: what to run
        out: folder of the study; runs refer to the checkpoint of a source in it
        files: structure files; None if the configs bring their own

    Raises:
        ValueError: a size larger than the data
        FileNotFoundError: structures of a pre-training that do not exist
    """
    all_sources = tuple(study.sources) or (None,)
    # what a start that needs no source begins with is the same for all of them
    sources = {arm.name: all_sources if arm.needs_source else (None,) for arm in study.arms}
    needed = []
    if study.source is not None and any(arm.needs_source for arm in study.arms):
        pairs = product(study.models, all_sources)
        needed = [_Origin(study, out, *pair).source_training(str(study.source)) for pair in pairs]
    for arm in study.arms:
        if arm.pretrain is not None:
            pairs = product(study.models, sources[arm.name])
            needed += [_Origin(study, out, *pair).pretraining(arm.name, arm.pretrain) for pair in pairs]
    runs = {run.name: run for run in needed}
    sizes = study.sizes or (None,)
    for arm, model, chosen, size, seed in product(study.arms, study.models, study.train_on, sizes, study.seeds):
        training_set, count = None, None
        if files is not None and size is not None:
            path, count = files.training_set(chosen, study.train_on[chosen], size, seed)
            training_set = str(path)
        for values, source in product(product(*study.axes.values()), sources[arm.name]):
            axes = dict(zip(study.axes, values))
            of_source = {} if source is None else {"source": source}
            settings = {"start": arm.name, "model": model.name, "train_on": chosen, **axes, **of_source}
            settings |= {"size": count, "seed": seed}
            name = _run_name(settings)
            origin = _Origin(study, out, model, source)
            overrides = (
                *origin.overrides(arm),
                *study.overrides,
                *(item for axis, value in axes.items() for item in study.axes[axis][value]),
            )
            needs = origin.needed_by(arm)
            # `all` may be a size that is listed as a number too
            runs[name] = Run(name, settings, str(arm.config), overrides, training_set, needs, arm.transfers)
    tests = {} if files is None else {name: str(path) for name, path in files.test_sets().items()}
    validation = None if study.structures is None else study.structures.validation
    if validation not in (None, study_file.NONE):
        require_file("structures.validation", validation)
    return Grid(tuple(runs.values()), tests, study.validate_every, study.evaluations, study.baseline, validation)


@dataclass(frozen=True)
class _Origin:
    """What trainings of a study begin with: one of its models, and one of its sources if there are several."""

    study: study_file.StudyConfig
    out: Path
    model: study_file.ModelEntry
    source: str | None

    def source_training(self, config: str) -> Run:
        own = self.study.sources[self.source] if self.source else ()
        overrides = (*self.model.overrides, *self.study.source_overrides, *own)
        return Run(self._name(SOURCE), {"start": SOURCE, "model": self.model.name}, config, overrides)

    def pretraining(self, start: str, pretrain: study_file.Pretraining) -> Run:
        """It does not depend on the structures and the seed of the trainings after it."""
        for part, path in pretrain.structures.items():
            require_file(f"starts.{start}.pretrain.structures.{part}", path)
        files = (f"data.{part}_file_path={json.dumps(path)}" for part, path in pretrain.structures.items())
        return Run(
            self._name(f"{PRETRAINING}-{start}"),
            {"start": SOURCE, "model": self.model.name},
            str(pretrain.config),
            (*self.overrides(pretrain), *files),
            needs=self.needed_by(pretrain),
            transfers=pretrain.transfers,
        )

    def needed_by(self, recipe: study_file.Recipe) -> str | None:
        """Name of the run that trains what a training begins with; None if the study trains none."""
        if isinstance(recipe, study_file.Arm) and recipe.pretrain is not None:
            return self._name(f"{PRETRAINING}-{recipe.name}")
        return self._name(SOURCE) if recipe.transfers and self.study.source else None

    def overrides(self, recipe: study_file.Recipe) -> tuple[str, ...]:
        """Of a training, its source among them unless the config names it."""
        if not recipe.transfers:
            return (*recipe.overrides, *self.model.overrides)
        needs = self.needed_by(recipe)
        given = self.study.sources[self.source] if self.source else self.model.source
        path = given if needs is None else str(checkpoint_of(self.out, needs))
        source = [f"++element_transfer.source={json.dumps(path)}"] if isinstance(path, str) else []
        return (*source, *recipe.overrides)

    def _name(self, kind: str) -> str:
        return "-".join(
            [kind, *([] if self.model.name == study_file.DEFAULT else [self.model.name]), *filter(None, [self.source])]
        )


def _run_name(settings: Mapping[str, Any]) -> str:
    """``corresponding_states-n10-seed0``: the values in one order, those that every run shares by default left out."""
    values = [value for axis, value in settings.items() if axis not in ("size", "seed") and value != study_file.DEFAULT]
    size = [] if settings["size"] is None else [f"n{settings['size']}"]
    return "-".join([*values, *size, f"seed{settings['seed']}"])


def state_of(folder: Path) -> State:
    """How far what has this folder is."""
    if (folder / FINISHED_FILE).exists():
        return State.FINISHED
    if (folder / FAILED_FILE).exists():
        return State.FAILED
    return State.INTERRUPTED if folder.exists() else State.NOT_STARTED


def finished(folder: Path) -> dict[str, Any] | None:
    """What was noted when what has this folder finished; None if it has not."""
    found: dict[str, Any] | None = read_json(folder / FINISHED_FILE) if (folder / FINISHED_FILE).exists() else None
    return found


def failure_reason(folder: Path) -> str:
    """Why what has this folder failed; empty if it did not."""
    path = folder / FAILED_FILE
    return str(read_json(path)["reason"]) if path.exists() else ""


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


def read_json(path: Path) -> Any:
    """What a file of the study holds."""
    return json.loads(path.read_text(encoding="utf-8"))
