"""The YAML file of a study, read and validated; nothing else is read.

The starts that a study compares are each a NequIP config with overrides, some with a pre-training before them; several
independently trained sources may be given, each of which the transfers then start from.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.output.paths import require_study
from nequip_elemtransfer.structures.options import DataOptions
from nequip_elemtransfer.study.config import entries as read
from nequip_elemtransfer.study.config.evaluation_settings import KEYS, EvaluationSettings

SCRATCH, ELEMENT_MAP, CORRESPONDING_STATES = "scratch", "element_map", "corresponding_states"
DEFAULT = "default"  # name of what every run shares if the study names nothing
NONE = "none"  # of `structures.validation`
_CONFIGS = ("scratch", "transfer")  # keys of a study
# start -> key of its config, and overrides
_KNOWN_STARTS: dict[str, tuple[str, list[str]]] = {
    SCRATCH: ("scratch", []),
    ELEMENT_MAP: ("transfer", ["++element_transfer.length_scale=none", "++element_transfer.energy_scale=none"]),
    CORRESPONDING_STATES: ("transfer", []),
}
_TAKEN = ("start", "model", "source", "train_on", "size", "seed")  # axes of every study

Sources = Mapping[str, str | tuple[str, ...]]


@dataclass(frozen=True)
class ModelEntry:
    """An architecture.

    Args:
        name: of the model
        overrides: Hydra overrides for trainings from random weights: those from scratch and that of the source
        source: a trained model of this architecture; None if the study trains one, or the config names it
    """

    name: str
    overrides: tuple[str, ...] = ()
    source: str | None = None


@dataclass(frozen=True)
class Structures:
    """Files that ASE reads; the first n structures of ``train`` are the training set of size n.

    Args:
        train: a path, in which ``{seed}`` stands for the seed
        test: a path; None leaves the test set of the configs
        test_by: label whose values divide the test set into more test sets
        validation: a path; :data:`NONE` holds back no structure, and the last state is the model; None leaves the
            validation set of the configs
        keys: names of entries in these files, and what each is read as
    """

    train: str
    test: str | None = None
    test_by: str | None = None
    validation: str | None = None
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A NequIP config with overrides.

    Args:
        config: its path
        overrides: Hydra overrides of that config
        transfers: whether it has a source, or random weights
    """

    config: Path
    overrides: tuple[str, ...]
    transfers: bool


@dataclass(frozen=True)
class Pretraining(Recipe):
    """A training before those of a start, which then have its model for a source.

    Args:
        config, overrides, transfers: see :class:`Recipe`
        structures: ``train`` and ``val``, files in place of those of the config, such as a teacher's labels
    """

    structures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm(Recipe):
    """One of the starts that a study compares.

    Args:
        config, overrides, transfers: see :class:`Recipe`
        name: of the start
        pretrain: what its source is trained by; None if that is the study's source
    """

    name: str
    pretrain: Pretraining | None = None

    @property
    def needs_source(self) -> bool:
        """Whether the study's source is asked for, by the start or by its pre-training."""
        return self.transfers if self.pretrain is None else self.pretrain.transfers


@dataclass(frozen=True)
class StudyConfig:
    """A study; see ``docs/how-to/study.md`` for each entry.

    Args:
        arms, models: what is compared
        source: config that trains the source of each model that names none
        sources: name -> trained model, or Hydra overrides of ``source``; empty where there is one
        structures: None if each config brings its own training set
        sizes: numbers of training structures, or ``all``
        seeds: of random weights and the order of batches
        train_on: name -> labels that a structure must have to be trained on
        axes: name of an axis -> name of a value -> Hydra overrides
        overrides: Hydra overrides of every training of the target
        source_overrides: Hydra overrides of the source's training
        validate_every: steps between validations, rounded to whole epochs; None leaves it to the configs
        evaluations: the entries for :class:`.evaluation_settings.EvaluationSettings`
        baseline: name of the start that the others are compared with
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...] = (0,)
    models: tuple[ModelEntry, ...] = (ModelEntry(DEFAULT),)
    source: Path | None = None
    sources: Sources = field(default_factory=dict)
    structures: Structures | None = None
    sizes: tuple[int | str, ...] = ()
    train_on: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {DEFAULT: {}})
    axes: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    source_overrides: tuple[str, ...] = ()
    validate_every: int | None = None
    evaluations: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = SCRATCH

    @classmethod
    def from_file(cls, path: Path) -> "StudyConfig":
        """Read a study.

        Raises:
            FileNotFoundError: the file, or a config that it names, does not exist
            ValueError: a sentence on what is wrong, with the value, the choices and the fix
        """
        require_study(path)
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"the study {path} is not YAML: {' '.join(str(error).split())}.") from None
        if not isinstance(entries, Mapping):
            raise ValueError(f"the study {path} must be a mapping with the keys {', '.join(_ALL_KEYS)}.")
        return cls.from_mapping(entries, path.parent.resolve())

    @classmethod
    def from_mapping(cls, entries: Mapping[str, Any], folder: Path) -> "StudyConfig":
        """Validate the entries of a study; relative paths of configs start from ``folder``."""
        for key in entries:
            if key not in _ALL_KEYS:
                raise ValueError(f"a study has no key {key!r}{suggest(key, _ALL_KEYS)}.")
        entries = {key: value for key, value in entries.items() if value is not None}
        source = entries.get("source")
        trains_source = isinstance(source, str) and source.endswith((".yaml", ".yml"))
        arms = _StartReader(entries, folder).starts(entries.get("starts"))
        models = _models(entries.get("models"), None if trains_source else source)
        others = {key: reader(key, entries[key]) for key, reader in _READERS.items() if key in entries}
        if "structures" in others:
            others.setdefault("sizes", (read.ALL,))
        study = cls(
            arms=arms,
            models=models,
            source=config_file("source", source, folder) if trains_source else None,
            sources=_sources(entries.get("sources"), source, trained=trains_source, arms=arms),
            evaluations={key: entries[key] for key in KEYS if key in entries},
            **others,
        )
        EvaluationSettings.from_mapping(study.evaluations).check_files()
        study._refuse_contradictions(entries)
        return study

    def _refuse_contradictions(self, entries: Mapping[str, Any]) -> None:
        """Refuse entries that do not go with each other."""
        for key, use in (("sizes", "first structures are trained on"), ("train_on", "structures are chosen from")):
            if key in entries and self.structures is None:
                raise ValueError(f"`{key}` needs `structures.train`, the file whose {use}.")
        if self.structures is not None and self.structures.validation == NONE and self.validate_every is not None:
            raise ValueError("`validate_every` means nothing with `structures.validation: none`: leave one out.")
        names = [arm.name for arm in self.arms]
        if "baseline" in entries and self.baseline not in names:
            raise ValueError(
                f"`baseline` is {self.baseline!r}, which is none of the `starts`{suggest(self.baseline, names)}."
            )
        for model in self.models:
            if self.sources and model.source is not None:
                raise ValueError(
                    f"`models.{model.name}.source` names the one source of a model, and `sources` several: leave one "
                    "out."
                )
        sources = [model.source for model in self.models]
        needed = self.source is None and any(arm.needs_source for arm in self.arms)
        if needed and len(set(sources)) < len(sources):
            raise ValueError(
                "several `models` start from the same source, whose architecture they would all have: give `source` "
                "the config that trains it, or each model its own {overrides: [...], source: ...}."
            )


def config_file(key: str, value: Any, folder: Path) -> Path:
    """The path of a NequIP config.

    Raises:
        FileNotFoundError, ValueError: it is none, naming ``key``
    """
    if not isinstance(value, str):
        raise ValueError(f"`{key}` must be the path of a NequIP config, found {value!r}.")
    path = (folder / value).resolve()
    if path.suffix != ".yaml":
        raise ValueError(f"`{key}` is {value!r}: Hydra reads configs whose names end in .yaml.")
    if not path.is_file():
        raise FileNotFoundError(f"`{key}` names the config {value!r}, which does not exist in {folder}.")
    return path


class _StartReader:
    """Reads the entry ``starts``, with the study's configs at hand; relative paths start from ``folder``."""

    def __init__(self, entries: Mapping[str, Any], folder: Path):
        self._folder = folder
        self._configs = {key: config_file(key, entries[key], folder) for key in _CONFIGS if key in entries}

    def starts(self, value: Any) -> tuple[Arm, ...]:
        """The starts; None takes those that the configs allow."""
        if value is None:
            value = [start for start, (config, _) in _KNOWN_STARTS.items() if config in self._configs]
        if isinstance(value, list):
            value = dict.fromkeys(read.unique("starts", [read.text("starts", start) for start in value]))
        if not value:
            choices = ", ".join(_KNOWN_STARTS)
            raise ValueError(f"the grid has no runs: give `starts` some of {choices}, and a config for each.")
        return tuple(read.named("starts", value, self._arm).values())

    def _arm(self, key: str, value: Any) -> Arm:
        name = key.removeprefix("starts.")
        if value is None:
            if name not in _KNOWN_STARTS:
                raise ValueError(
                    f"`starts` has {name!r}{suggest(name, _KNOWN_STARTS)}, or a start of your own as "
                    f"{name}: {{config: ..., overrides: [...]}}."
                )
            value = dict(zip(("config", "overrides"), _KNOWN_STARTS[name]))
        readers = {"config": read.as_it_is, "overrides": read.hydra_overrides, "pretrain": read.as_it_is}
        entry = read.mapping(key, value, readers)
        arm = Arm(**self._recipe(f"start {name!r}", key, entry), name=name)
        if "pretrain" not in entry:
            return arm
        if not arm.transfers:
            raise ValueError(
                f"`{key}` has `pretrain`, but its config starts from random weights: take transfer, or a config with "
                "`element_transfer`, whose source the pre-trained model then is."
            )
        key += ".pretrain"
        readers = {"config": read.as_it_is, "overrides": read.hydra_overrides, "structures": _pretraining_structures}
        entry = read.mapping(key, entry["pretrain"], readers)
        recipe = self._recipe(f"pre-training of {name!r}", key, entry)
        return replace(arm, pretrain=Pretraining(**recipe, structures=entry.get("structures", {})))

    def _recipe(self, whose: str, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of :class:`Recipe`; a config is one of the study's, or a path."""
        if "config" not in entry:
            raise ValueError(f"`{key}` needs `config`: scratch, transfer, or the path of a NequIP config.")
        config = entry["config"]
        if config not in _CONFIGS:
            path = config_file(f"{key}.config", config, self._folder)
        elif config in self._configs:
            path = self._configs[config]
        else:
            raise ValueError(f"the {whose} needs the key `{config}`, a NequIP config.")
        transfers = path != self._configs.get("scratch")
        return {"config": path, "overrides": entry.get("overrides", ()), "transfers": transfers}


def _pretraining_structures(key: str, value: Any) -> dict[str, str]:
    return read.mapping(key, value, {"train": read.text, "val": read.text}, required=("train",))


def _models(value: Any, source: Any) -> tuple[ModelEntry, ...]:
    if source is not None and not isinstance(source, str):
        raise ValueError(f"`source` must be a trained model or the NequIP config that trains it, found {source!r}.")
    if value is None:
        return (ModelEntry(DEFAULT, (), source),)

    def model(key: str, entry: Any) -> ModelEntry:
        name = key.removeprefix("models.")
        if not isinstance(entry, Mapping):
            return ModelEntry(name, read.hydra_overrides(key, entry), source)
        readers = {"overrides": read.hydra_overrides, "source": _trained_model}
        return ModelEntry(name, **{"source": source} | read.mapping(key, entry, readers))

    return tuple(read.named("models", value, model).values())


def _sources(value: Any, source: Any, *, trained: bool, arms: Sequence[Arm]) -> Sources:
    """The entry ``sources``.

    Args:
        value: of the entry; None for the one source of the entry ``source``
        source: the entry ``source``
        trained: whether that is a config that the study trains
        arms: the starts
    """
    if value is None:
        return {}
    if source is not None and not trained:
        raise ValueError(
            f"`source` names one trained model, {source!r}, and `sources` several: leave `source` out, or let it name "
            "the config that trains them."
        )
    if not any(arm.needs_source for arm in arms):
        raise ValueError("`sources` are given, but no start has a source: all begin with random weights.")
    return (
        read.named("sources", value, read.hydra_overrides) if trained else read.named("sources", value, _trained_model)
    )


def _trained_model(key: str, value: Any) -> str:
    if isinstance(value, list):
        raise ValueError(f"`{key}` must be a trained model, found {value!r}: overrides need a config in `source`.")
    return read.text(key, value)


def _structures(key: str, value: Any) -> Structures:
    texts = dict.fromkeys(("train", "test", "test_by", "validation"), read.text)
    found = Structures(**read.mapping(key, value, {**texts, "keys": _keys}, ("train",)))
    if found.test_by is not None and found.test is None:
        raise ValueError(f"`{key}.test_by` divides `{key}.test`, which is missing.")
    if set(re.findall(r"\{(.*?)\}", found.train)) - {"seed"}:
        raise ValueError(f"`{key}.train` is {found.train!r}: {{seed}} is the only placeholder.")
    return found


def _keys(key: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise ValueError(f"`{key}` must map names in the files to what they are read as, as {{dft_forces: forces}}.")
    return tuple(DataOptions(value).key_mapping.items())


def _sizes(key: str, value: Any) -> tuple[int | str, ...]:
    return read.unique(key, read.sizes(key, value))


def _seeds(key: str, value: Any) -> tuple[int, ...]:
    return read.unique(key, [read.integer(key, item, least=0) for item in read.filled_list(key, value)])


def _train_on(key: str, value: Any) -> dict[str, dict[str, Any]]:
    return read.named(key, value, lambda name, entry: read.labels(name, {} if entry is None else entry))


def _axes(key: str, value: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    found = read.named(
        key, value, lambda name, values: read.named(name, values, read.hydra_overrides), may_be_empty=True
    )
    for name in found:
        if name in _TAKEN:
            raise ValueError(f"`{key}` has {name!r}, which every study has already: choose another name.")
    return found


# keys whose entries are read by themselves
_READERS: dict[str, read.Reader[Any]] = {
    "structures": _structures,
    "sizes": _sizes,
    "seeds": _seeds,
    "train_on": _train_on,
    "axes": _axes,
    "overrides": read.hydra_overrides,
    "source_overrides": read.hydra_overrides,
    "validate_every": read.integer,
    "baseline": read.as_it_is,
}
_ALL_KEYS = (*_CONFIGS, "source", "sources", "starts", "models", *_READERS, *KEYS)
