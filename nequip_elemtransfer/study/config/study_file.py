"""The YAML file of a study, parsed and validated; nothing is read but that file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.study.config.entries import (
    entries_of,
    hydra_overrides,
    integers,
    named,
    unparsed,
)
from nequip_elemtransfer.study.config.evaluation_settings import ALL, KEYS, EvaluationSettings
from nequip_elemtransfer.study.config.sources import Sources, read_sources
from nequip_elemtransfer.study.config.starts import SCRATCH, Arm, config_file, read_starts

_KEYS = (
    *("scratch", "transfer", "source", "sources", "structures", "sizes", "seeds", "starts", "models"),
    *("train_on", "axes", "overrides", "source_overrides", "validate_every", "baseline"),
    *KEYS,
)
DEFAULT = "default"


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
    """

    train: str
    test: str | None = None
    test_by: str | None = None


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
    seeds: tuple[int, ...]
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
        if not path.is_file():
            raise FileNotFoundError(f"the study {str(path)!r} does not exist.")
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"the study {path} is not YAML: {' '.join(str(error).split())}.") from None
        if not isinstance(entries, Mapping):
            raise ValueError(f"the study {path} must be a mapping with the keys {', '.join(_KEYS)}.")
        return cls.from_mapping(entries, path.parent.resolve())

    @classmethod
    def from_mapping(cls, entries: Mapping[str, Any], folder: Path) -> "StudyConfig":
        """Validate the entries of a study; relative paths of configs start from ``folder``."""
        for key in entries:
            if key not in _KEYS:
                raise ValueError(f"a study has no key {key!r}{suggest(key, _KEYS)}.")
        entries = {key: value for key, value in entries.items() if value is not None}
        configs = {key: config_file(key, entries[key], folder) for key in ("scratch", "transfer") if key in entries}
        source = entries.get("source")
        trains_source = isinstance(source, str) and source.endswith((".yaml", ".yml"))
        arms = read_starts(entries.get("starts"), configs, folder)
        models = _models(entries.get("models"), None if trains_source else source)
        structures = _structures(entries.get("structures"))
        study = cls(
            arms=arms,
            models=models,
            source=config_file("source", source, folder) if trains_source else None,
            sources=read_sources(entries.get("sources"), source, trained=trains_source, arms=arms),
            structures=structures,
            sizes=_sizes(entries.get("sizes"), structures),
            seeds=integers("seeds", entries.get("seeds", [0]), least=0),
            train_on=_train_on(entries.get("train_on"), structures),
            axes={
                name: named(f"axes.{name}", values, hydra_overrides)
                for name, values in named("axes", entries.get("axes", {}), unparsed, may_be_empty=True).items()
            },
            overrides=hydra_overrides("overrides", entries.get("overrides", [])),
            source_overrides=hydra_overrides("source_overrides", entries.get("source_overrides", [])),
            validate_every=_validate_every(entries.get("validate_every")),
            evaluations={key: entries[key] for key in KEYS if key in entries},
            baseline=_baseline(entries.get("baseline"), arms),
        )
        EvaluationSettings.from_mapping(study.evaluations).check_files()
        _refuse_axes_named_like(study.axes)
        _refuse_sources_of_models(study)
        _refuse_one_source_for_many_models(study)
        return study


def _models(value: Any, source: Any) -> tuple[ModelEntry, ...]:
    if source is not None and not isinstance(source, str):
        raise ValueError(f"`source` must be a trained model or the NequIP config that trains it, found {source!r}.")
    if value is None:
        return (ModelEntry(DEFAULT, (), source),)

    def model(key: str, entry: Any) -> tuple[tuple[str, ...], str | None]:
        if not isinstance(entry, Mapping):
            return hydra_overrides(key, entry), source
        entry = entries_of(key, entry, ("overrides", "source"))
        if not isinstance(entry.get("source", ""), str):
            raise ValueError(f"`{key}.source` must be a trained model, found {entry['source']!r}.")
        return hydra_overrides(f"{key}.overrides", entry.get("overrides", [])), entry.get("source", source)

    return tuple(ModelEntry(name, *parts) for name, parts in named("models", value, model).items())


def _refuse_one_source_for_many_models(study: StudyConfig) -> None:
    if study.source is not None or not any(arm.needs_source for arm in study.arms):
        return
    sources = [model.source for model in study.models]
    if len(set(sources)) < len(sources):
        raise ValueError(
            "several `models` start from the same source, whose architecture they would all have: give `source` the "
            "config that trains it, or each model its own {overrides: [...], source: ...}."
        )


def _refuse_sources_of_models(study: StudyConfig) -> None:
    for model in study.models:
        if study.sources and model.source is not None:
            raise ValueError(
                f"`models.{model.name}.source` names the one source of a model, and `sources` several: leave one out."
            )


def _structures(value: Any) -> Structures | None:
    if value is None:
        return None
    entry = entries_of("structures", value, ("train", "test", "test_by"))
    for key, item in entry.items():
        if not isinstance(item, str):
            raise ValueError(f"`structures.{key}` must be a string, found {item!r}.")
    if "train" not in entry:
        raise ValueError("`structures` needs `train`, a file of labelled structures.")
    if "test_by" in entry and "test" not in entry:
        raise ValueError("`structures.test_by` divides `structures.test`, which is missing.")
    if set(re.findall(r"\{(.*?)\}", entry["train"])) - {"seed"}:
        raise ValueError(f"`structures.train` is {entry['train']!r}: {{seed}} is the only placeholder.")
    return Structures(**entry)


def _sizes(value: Any, structures: Structures | None) -> tuple[int | str, ...]:
    if value is None:
        return () if structures is None else (ALL,)
    if structures is None:
        raise ValueError("`sizes` needs `structures.train`, the file whose first structures are trained on.")
    if not isinstance(value, list) or not value:
        raise ValueError(f"the grid has no runs: `sizes` must list numbers of structures, found {value!r}.")
    numbers = integers("sizes", [item for item in value if item != ALL], least=1, may_be_empty=True)
    return (*numbers, *([ALL] if ALL in value else []))


def _train_on(value: Any, structures: Structures | None) -> Mapping[str, Mapping[str, Any]]:
    if value is None:
        return {DEFAULT: {}}
    if structures is None:
        raise ValueError("`train_on` needs `structures.train`, the file whose structures are chosen from.")

    def labels(key: str, entry: Any) -> Mapping[str, Any]:
        if entry is not None and not isinstance(entry, Mapping):
            raise ValueError(f"`{key}` must map labels to values, as in {{temperature: [300, 600]}}, found {entry!r}.")
        return dict(entry or {})

    return named("train_on", value, labels)


def _validate_every(value: Any) -> int | None:
    return None if value is None else integers("validate_every", [value], least=1)[0]


def _baseline(value: Any, arms: tuple[Arm, ...]) -> str:
    names = [arm.name for arm in arms]
    if value is not None and value not in names:
        raise ValueError(f"`baseline` is {value!r}, which is none of the `starts`{suggest(value, names)}.")
    return value or SCRATCH


def _refuse_axes_named_like(axes: Mapping[str, Any]) -> None:
    taken = ("start", "model", "source", "train_on", "size", "seed")
    for name in axes:
        if name in taken:
            raise ValueError(f"`axes` has {name!r}, which every study has already: choose another name.")
