"""The card of a model: what it was trained on, by which labels, and how well, as far as its files say.

Everything is read from what NequIP writes into each checkpoint, from the record of a transfer, and from the log of the
training where there is one (:mod:`.training_log`). Nothing that a file names is called or opened.
"""

import datetime
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nequip_elemtransfer.architecture.builders import nested
from nequip_elemtransfer.checkpoints.migration import versions_of
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.checkpoints.stored_model import is_transferred
from nequip_elemtransfer.config import KIND_NAMES, LABEL_KINDS, start_text
from nequip_elemtransfer.outcome.errors import Errors, by_set, means
from nequip_elemtransfer.outcome.metrics import test_errors
from nequip_elemtransfer.outcome.training_log import log_in
from nequip_elemtransfer.output.refusal import RefusedFile, shortened
from nequip_elemtransfer.output.table import printable

# NequIP's names of what a loss is of
_FIELDS = {"total_energy": "energy", "forces": "forces", "stress": "stress"}
# options by which NequIP's loaders of trained models name a file
_LOADED = ("checkpoint_path", "package_path")
# losses of NequIP that say by their name what they are of, and nothing else where they have no `coeffs`
_BY_NAME = {
    "EnergyForceStress": ("total_energy", "forces", "stress"),
    "EnergyForce": ("total_energy", "forces"),
    "EnergyOnly": ("total_energy",),
}


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model's training; empty, or None, where its files do not say.

    Args:
        started_from: a transfer's element map and source, or ``random weights``
        trained_on: files
        structures: number in each set, ``{"train": 9, "val0": 1}``
        labels: kind of label that was trained on -> number of training structures that have it, None if not known
        loss: its class, and the weight of each kind of label
        optimizer: its class and learning rate
        steps: optimizer steps after which this model was saved
        errors: set, as ``validation``, ``test`` -> metric -> value in eV and Å
        saved: ISO date
        versions: of the packages that trained it
    """

    started_from: str = ""
    trained_on: list[str] = field(default_factory=list)
    structures: dict[str, int] = field(default_factory=dict)
    labels: dict[str, int | None] = field(default_factory=dict)
    loss: str = ""
    optimizer: str = ""
    steps: int | None = None
    errors: dict[str, Errors] = field(default_factory=dict)
    saved: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Any) -> "ModelCard":
        """The card that a file holds; other entries may be there.

        Raises:
            RefusedFile: if it is none
        """
        if not isinstance(found, Mapping):
            raise RefusedFile(f"its model card is {shortened(found)}, which is no card.")
        empty = cls()
        for part in fields(cls):
            value, like = found.get(part.name), getattr(empty, part.name)
            if part.name in found and not _is_like(value, like):
                raise RefusedFile(f"`{part.name}` of its model card is {shortened(value)}, which no training writes.")
        return cls(**{part.name: found[part.name] for part in fields(cls) if part.name in found})

    def rows(self) -> list[tuple[str, str]]:
        """Name and text of what there is."""
        trained = ", ".join(_labels(self.labels))
        rows = [
            ("started from", self.started_from),
            ("trained on", _structures(self.structures, self.trained_on)),
            ("labels", trained),
            ("loss", self.loss),
            ("optimizer", self.optimizer),
            ("steps", "" if self.steps is None else str(self.steps)),
            *((f"{name} errors", _errors(errors)) for name, errors in self.errors.items()),
            ("saved", self.saved),
            ("trained with", ", ".join(f"{name} {version}" for name, version in self.versions.items())),
        ]
        return [(name, printable(text)) for name, text in rows if text]

    def text(self) -> str:
        """What there is, in lines of at most 80 columns."""
        lines = []
        for name, text in self.rows():
            lines += textwrap.wrap(text, 80, initial_indent=f"{name:<18} ", subsequent_indent=" " * 19)
        return "\n".join(lines)


def card_of_checkpoint(checkpoint: Mapping[str, Any], file: Path | None = None, run: Path | None = None) -> ModelCard:
    """The card of a checkpoint's model.

    Args:
        checkpoint: as :func:`.gate.read_checkpoint` gives it
        file: it was read from, whose date stands for one that is not in it
        run: folder of the training, which may hold the errors of a test

    Raises:
        RefusedFile: if a part of it is not what a training writes
    """
    hyper = checkpoint["hyper_parameters"]
    log = log_in(checkpoint)
    card = card_of_sections(hyper.get("info_dict") or {}, hyper, hyper.get("model"))
    structures, errors = dict(card.structures), dict[str, Errors]()
    saved = ""
    if file is not None:
        saved = f"{datetime.date.fromtimestamp(file.stat().st_mtime).isoformat()} (date of the file)"
    if log is not None:
        structures |= log.structures
        saved = log.saved or saved
        if log.validations:
            step, logged = log.validations[-1]
            when = "" if step == checkpoint.get("global_step") else f" at step {step}"
            errors |= _named(by_set(logged, "val"), f"validation{when}")
    if run is not None:
        errors |= _named(test_errors(run), "test")
    known_now = {"structures": structures, "errors": errors, "saved": saved, "steps": checkpoint.get("global_step")}
    return ModelCard.from_dict(card.to_dict() | known_now)


def card_of_sections(info: Mapping[str, Any], module: Mapping[str, Any], model: Any) -> ModelCard:
    """The card of a training that is known by its config.

    Args:
        info: with the section ``data``, and ``versions`` where there are any
        module: with the sections ``loss`` and ``optimizer``
        model: its ``model:`` section
    """
    data = info.get("data") if isinstance(info.get("data"), Mapping) else {}
    records = [TransferRecord.from_dict(part.get("provenance")) for part in nested(model) if is_transferred(part)]
    record = records[0] if records else None
    loss, optimizer = module.get("loss"), module.get("optimizer")
    rate = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    coefficients = loss_coefficients(loss)
    n_train = None if record is None else record.n_frames
    missing = {} if record is None else record.missing_labels
    isolated = 0 if record is None else len(record.isolated_atoms)
    labels: dict[str, int | None] = {
        _FIELDS[name]: None if n_train is None else n_train - isolated - missing.get(_FIELDS[name], 0)
        for name in _FIELDS
        if name in coefficients
    }
    return ModelCard(
        started_from=_start(record, model),
        trained_on=[*_training_files(data or {})],
        structures=({} if n_train is None else {"train": n_train}) | _split(data or {}),
        labels=labels,
        loss=_described(loss, {_FIELDS[name]: value for name, value in coefficients.items()}),
        optimizer=_described(optimizer, {"lr": rate}),
        versions={name: str(version) for name, version in versions_of(info).items()},
    )


def loss_coefficients(loss: Any) -> dict[str, float | None]:
    """What a loss of NequIP is of, ``total_energy``, ``forces`` or ``stress``, and its weight, None if not said."""
    if not isinstance(loss, Mapping):
        return {}
    coeffs = loss.get("coeffs")
    if isinstance(coeffs, Mapping):
        return {name: _number(coeffs[name]) for name in _FIELDS if name in coeffs and coeffs[name] != 0}
    metrics = loss.get("metrics")
    if isinstance(metrics, (list, tuple)):
        found: dict[str, float | None] = {}
        for metric in metrics:
            where = metric.get("field") if isinstance(metric, Mapping) else None
            name = where.get("field") if isinstance(where, Mapping) else where
            if name in _FIELDS and metric.get("coeff") != 0:
                found[name] = _number(metric.get("coeff"))
        return {name: found[name] for name in _FIELDS if name in found}
    target = str(loss.get("_target_")).rpartition(".")[2]
    named = next((names for start, names in _BY_NAME.items() if target.startswith(start)), ())
    return dict.fromkeys(named)


def _start(record: TransferRecord | None, model: Any) -> str:
    if record is not None:
        starts = "; ".join(f"{t} from {start_text(s)}" for t, s in record.elements.items())
        return f"{starts}, {record.source} (sha256 {record.sha256[:12]}...)"
    parts = [part for part in nested(model) if isinstance(part, Mapping)]
    loaded = [str(part[name]) for part in parts for name in _LOADED if part.get(name)]
    return loaded[0] if loaded else ("random weights" if model is not None else "")


def _training_files(data: Mapping[str, Any]) -> Iterator[str]:
    """The files that training structures are read from, as the ``data`` section of NequIP's modules names them."""
    splits = data.get("split_dataset") or []
    for split in [splits] if isinstance(splits, Mapping) else splits:
        if isinstance(split, Mapping) and isinstance(split.get("file_path"), str):
            yield split["file_path"]
    for name in ("train_file_path", "trainval_file_path", "file_path"):
        named = data.get(name) or []
        yield from (file for file in ([named] if isinstance(named, str) else named) if isinstance(file, str))


def _split(data: Mapping[str, Any]) -> dict[str, int]:
    split = data.get("split_dataset")
    numbers = {"train": "train", "val0": "val"}
    found = {ours: split.get(theirs) for ours, theirs in numbers.items()} if isinstance(split, Mapping) else {}
    return {name: n for name, n in found.items() if isinstance(n, int) and not isinstance(n, bool)}


def _named(sets: Mapping[int, Errors], name: str) -> dict[str, Errors]:
    return {name if len(sets) == 1 else f"{name} {i}": errors for i, errors in sets.items()}


def _described(section: Any, values: Mapping[str, float | None]) -> str:
    """Class of a section and its numbers, ``Adam, lr 0.002``."""
    if not isinstance(section, Mapping) or not isinstance(section.get("_target_"), str):
        return ""
    numbers = [f"{name} {value:g}" for name, value in values.items() if _number(value) is not None]
    return ", ".join([section["_target_"].rpartition(".")[2], *numbers])


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _labels(labels: Mapping[str, int | None]) -> list[str]:
    found = [(KIND_NAMES[kind], labels[kind]) for kind in LABEL_KINDS if kind in labels]
    return [name if n is None else f"{name} of {n}" for name, n in found]


def _structures(structures: Mapping[str, int], files: list[str]) -> str:
    n_train = structures.get("train")
    n_val = sum(n for name, n in structures.items() if name.startswith("val"))
    counted = "" if n_train is None else f"{n_train} structures"
    named = ", ".join(files)
    validated = f"; {n_val} for validation" if n_val else ""
    return (f"{counted} of {named}" if counted and named else counted or named) + validated


def _errors(errors: Errors) -> str:
    return ", ".join(f"{q.name} {1000 * errors[name]:.4g} {q.unit}" for name, q in means(errors).items())


def _is_like(value: Any, like: Any) -> bool:
    """Whether a value is of the kind of an empty entry of the card."""
    if isinstance(like, str):
        return isinstance(value, str)
    if isinstance(like, list):
        return isinstance(value, list) and all(isinstance(v, str) for v in value)
    if like is None:
        return value is None or (isinstance(value, int) and value >= 0)
    return isinstance(value, Mapping) and all(isinstance(name, str) and _is_entry(v) for name, v in value.items())


def _is_entry(value: Any) -> bool:
    """A number, a text, None, or a mapping of names to numbers."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _number(v) is not None for name, v in value.items())
    return value is None or isinstance(value, str) or _number(value) is not None
