"""What there is to see of a trained model: its card, its errors on labelled structures, its start, a crystal."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.checkpoints.legacy.reading import is_old_model
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.checkpoints.stored_model import is_package, read_package
from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.deploy.train_dir import best_checkpoint
from nequip_elemtransfer.inspection.start import NoStart, rebuilt_start
from nequip_elemtransfer.materials.crystal import parse_crystal
from nequip_elemtransfer.outcome.metrics import validations
from nequip_elemtransfer.outcome.model_card import ModelCard, card_of_checkpoint, card_of_sections
from nequip_elemtransfer.outcome.training_log import TrainingLog, log_in
from nequip_elemtransfer.plan.errors import label_error
from nequip_elemtransfer.plan.source_check.check import SourceCheck, faults_of
from nequip_elemtransfer.plan.source_check.crystal import CrystalCheck, check_crystal, check_references
from nequip_elemtransfer.plan.source_check.group_errors import Evaluated, SourceErrors, evaluate, source_errors
from nequip_elemtransfer.source import SourceModel, load_source
from nequip_elemtransfer.structures.options import AS_THEY_ARE, DataOptions
from nequip_elemtransfer.structures.reading import read_structures


@dataclass(frozen=True)
class Asked:
    """What to look at.

    Args:
        data: labelled structures; None for none
        options: how they are read
        crystal: as ``diamond:Ge:5.78``; None for none
        references: name -> value of properties of the crystal
        source: where the source of the model's transfer is now; None for the path in its record
    """

    data: str | None = None
    options: DataOptions = AS_THEY_ARE
    crystal: str | None = None
    references: Mapping[str, float] = field(default_factory=dict)
    source: Path | None = None


@dataclass(frozen=True)
class Measured:
    """A model on structures and in a crystal.

    Args:
        evaluated: predictions beside labels; None without structures
        errors: of these, by kind of structure
        crystal: properties; None if none was named
    """

    evaluated: Evaluated | None
    errors: SourceErrors | None
    crystal: CrystalCheck | None


@dataclass(frozen=True)
class Look:
    """A model that was looked at.

    Args:
        file: of the model
        model: taken apart
        card: of its training; None where its file holds none
        record: of the transfer that made it, if one did
        log: of its training; None where it kept none
        curve: optimizer steps and validation errors along the training
        data: file of the structures
        said: on how they were read
        now: the model's errors and crystal
        start: the same of its start; None where that could not be made again
        no_start: why not
    """

    file: str
    model: SourceModel
    card: ModelCard | None
    record: TransferRecord | None
    log: TrainingLog | None
    curve: list[tuple[int, dict[str, float]]]
    data: str | None
    said: tuple[str, ...]
    now: Measured
    start: Measured | None
    no_start: str

    @property
    def check(self) -> SourceCheck:
        """Errors and crystal with what is wrong in them."""
        return SourceCheck(self.now.errors, self.now.crystal, faults_of(self.now.errors, self.now.crystal, "The model"))

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data, in eV and Å."""
        return {
            "file": self.file,
            "sha256": self.model.sha256,
            "types": self.model.type_names,
            "card": None if self.card is None else self.card.to_dict(),
            "data": self.data,
            "model": _numbers(self.now),
            "start": None if self.start is None else _numbers(self.start),
            "no_start": self.no_start,
            "start_on_training_structures": None if self.record is None else [asdict(z) for z in self.record.zero_shot],
            "training": [{"step": step, **errors} for step, errors in self.curve],
        }


def look(path: str, asked: Asked) -> Look:
    """Look at a model.

    Args:
        path: as for :func:`nequip_elemtransfer.source.load_source`, or the output folder of a ``nequip-train`` run

    Raises:
        FileNotFoundError: if a file is missing
        RefusedFile: if the model, or the source that was named, is damaged or hostile
        ValueError: if model, structures and crystal do not go together
    """
    crystal = None if asked.crystal is None else parse_crystal(asked.crystal)
    check_references(asked.references, crystal)
    read = None if asked.data is None else read_structures(asked.data, asked.options)
    run = Path(path) if Path(path).is_dir() and not is_old_model(path) else None
    file = path if run is None else str(best_checkpoint(run))
    model = load_source(file)
    record = None if model.provenance is None else TransferRecord.from_dict(model.provenance)
    structures = [] if read is None else read.structures

    def measure(measured: SourceModel, task: str) -> Measured:
        species = _species(measured, record)
        found = evaluate(measured, species, structures, task, None) if structures else None
        errors = None if found is None else source_errors(found)
        if crystal is None:
            return Measured(found, errors, None)
        return Measured(found, errors, check_crystal(measured, species, crystal, asked.references, found))

    now, start, no_start = measure(model, "model"), None, ""
    if record is not None and (structures or crystal):
        try:
            start = measure(rebuilt_start(record, asked.source), "start")
        except NoStart as error:
            no_start = str(error)
    card, log = _card(Path(file), run)
    return Look(
        file=file,
        model=model,
        card=card,
        record=record,
        log=log,
        curve=_curve(run, log),
        data=asked.data,
        said=() if read is None else read.said,
        now=now,
        start=start,
        no_start=no_start,
    )


def _species(model: SourceModel, record: TransferRecord | None) -> list[str]:
    """Chemical symbol of each type."""
    named = {} if record is None else record.chemical_species
    return [named.get(name, name) for name in model.type_names]


def _card(file: Path, run: Path | None) -> tuple[ModelCard | None, TrainingLog | None]:
    """The card of a model, and the log of its training, as far as its file holds them."""
    if not file.is_file() or is_old_model(file):
        return None, None
    if is_package(file):
        _, config = read_package(file, "model")
        module = config["training_module"]
        return card_of_sections(config, module, module["model"]), None
    checkpoint = read_checkpoint(file, "model")
    return card_of_checkpoint(checkpoint, file, run), log_in(checkpoint)


def _curve(run: Path | None, log: TrainingLog | None) -> list[tuple[int, dict[str, float]]]:
    """Validation errors along the training: of the run's metrics, else of the checkpoint, which ends at itself."""
    logged = [] if run is None else validations(run)
    if not logged and log is not None:
        logged = log.validations
    start = [(0, log.start)] if log is not None and log.start and logged else []
    return [*start, *logged]


def _numbers(measured: Measured) -> dict[str, Any]:
    crystal = None if measured.crystal is None else asdict(measured.crystal)
    if measured.evaluated is None or measured.errors is None:
        return {"errors": None, "structures": [], "crystal": crystal}
    return {"errors": asdict(measured.errors), "structures": per_structure(measured.evaluated), "crystal": crystal}


def per_structure(found: Evaluated) -> list[dict[str, Any]]:
    """Of each structure: its group, atoms, energies in eV, and mean absolute errors in eV/Å and eV/Å³."""
    rows = []
    for i in range(len(found.structures)):
        one = np.array([i])
        labels, predicted = found.labels.of_frames(one, found.counts), found.predicted.of_frames(one, found.counts)
        errors = {kind: label_error(kind, predicted, labels, found.counts[one]) for kind in LABEL_KINDS}
        rows.append(
            {
                "group": found.groups[i],
                "atoms": int(found.counts[i].sum()),
                "energy": _known(labels.energies[0]),
                "predicted_energy": _known(predicted.energies[0]),
                **{f"{kind}_mae": None if error is None else error.value for kind, error in errors.items()},
            }
        )
    return rows


def kinds_measured(look: Look) -> list[LabelKind]:
    """Kinds of labels that there are errors of, forces first."""
    found, order = look.now.evaluated, sorted(LABEL_KINDS, key=lambda kind: kind != "forces")
    return [kind for kind in order if found is not None and found.labels.has(kind) and found.predicted.has(kind)]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
