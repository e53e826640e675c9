"""What a transferred training says when it ends: the errors it started from, those of its best, and what to do next.

It needs no entry in the user's config: it comes with the check of :mod:`.training_checks`.
"""

import datetime
import math
import textwrap
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.builders import nested
from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.checkpoints.stored_model import checkpoint_model, is_transferred
from nequip_elemtransfer.energies.contributions import predict
from nequip_elemtransfer.energies.zero_shot import ZeroShot, zero_shot
from nequip_elemtransfer.outcome.errors import Errors, by_set, known, means
from nequip_elemtransfer.outcome.training_log import TrainingLog
from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.structures.frames import compositions
from nequip_elemtransfer.structures.labels import labels_of

logger = RankedLogger(__name__, rank_zero_only=True)

_COLUMNS = 80

# structures on which the end of a training without validation is evaluated
_MOST_EVALUATED = 100

# columns of the record's errors before training, by the names that NequIP gives the same errors
_OF_RECORD = {
    "forces_mae": "force_mae",
    "forces_rmse": "force_rmse",
    "per_atom_energy_mae": "energy_mae",
    "stress_mae": "stress_mae",
}


class TrainingSummary(Callback):
    """Keeps the validation errors of a training in its checkpoints, and tells start and best in the log when it ends.

    Its state is plain data, and NequIP and Lightning load the checkpoint without it.
    """

    def __init__(self) -> None:
        self.training_log = TrainingLog()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        chooses = next((c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor), None)
        if chooses is not None:
            self.training_log.monitor, self.training_log.mode = chooses.monitor, chooses.mode
        asked = (pl_module.hparams.get("info_dict") or {}).get("trainer") or {}
        if "num_sanity_val_steps" not in asked:
            trainer.num_sanity_val_steps = math.inf  # of Lightning's two batches nothing could be said

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        logged = trainer.callback_metrics
        errors = {name: float(value) for name, value in logged.items() if name.startswith("val") and "_epoch/" in name}
        if not trainer.sanity_checking:
            self.training_log.structures |= _structures(trainer)
            self.training_log.add(trainer.global_step, errors)
        elif _saw_all(trainer):
            self.training_log.start = errors

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        record = _record(pl_module.hparams.get("model"))
        checkpoint = getattr(trainer.checkpoint_callback, "best_model_path", "")
        fitted = None
        if self.training_log.best is None and checkpoint and trainer.is_global_zero:
            fitted = errors_of_fit(checkpoint, getattr(trainer.train_dataloader, "dataset", None))
        logger.info(summary(self.training_log, trainer.global_step, checkpoint, record, fitted))

    def state_dict(self) -> dict[str, Any]:
        """"""
        self.training_log.saved = datetime.date.today().isoformat()
        return self.training_log.to_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """"""
        self.training_log = TrainingLog.from_dict(state_dict)


def errors_of_fit(checkpoint: str, structures: Any) -> ZeroShot | None:
    """Errors of a checkpoint on the structures that it was trained on; None if these are many or of unknown number.

    Args:
        checkpoint: path
        structures: data set of the training

    Raises:
        RefusedFile: if the checkpoint is not what a training writes
    """
    try:
        n = len(structures)
    except TypeError:
        return None
    if n > _MOST_EVALUATED:
        return None
    model = checkpoint_model(read_checkpoint(checkpoint, "checkpoint"), checkpoint, "checkpoint")[1]
    frames = [structures[i] for i in range(n)]
    return zero_shot("end", predict(model, frames), labels_of(frames), compositions(frames, len(model.type_names)))


def summary(
    log: TrainingLog, steps: int, checkpoint: str, record: TransferRecord | None, fitted: ZeroShot | None = None
) -> str:
    """The end of a training as text of at most 80 columns.

    Args:
        log: of the training
        steps: that were done
        checkpoint: the best one; empty if none was saved
        record: of the transfer, whose errors on the training structures stand for a start that was not validated
        fitted: errors on the training structures, where nothing was validated
    """
    parts = [f"The training has ended after {steps} steps."]
    if log.best is None:
        parts[0] += " Nothing was validated, so its errors on other structures are not known."
        if fitted is not None and record is not None and record.zero_shot:
            parts.append(_of_fit(record, fitted))
    else:
        parts[0] += f" Its best validation is that of step {log.best[0]}."
        parts += [_errors(log, index, best) for index, best in by_set(log.best[1], "val").items()]
        if not log.start and record is not None:
            parts.append(_of_record(record))
    parts[0] = textwrap.fill(parts[0], _COLUMNS)
    if checkpoint:
        parts.append(
            "Look at it, on structures of which it has seen none:\n"
            f"  nequip-elemtransfer inspect {checkpoint} --data FILE --out FOLDER\n"
            "Write a file for LAMMPS and ASE:\n"
            f"  nequip-deploy build --model {checkpoint} FILE.nequip.pth"
        )
    return "\n\n".join(parts)


def _errors(log: TrainingLog, index: int, best: Errors) -> str:
    """Start and best of one validation set."""
    start = by_set(log.start, "val").get(index, {})
    rows = []
    for name, quantity in means(best).items():
        before = f"{1000 * start[name]:.1f}" if name in start else "not known"
        rows.append([quantity.name, quantity.unit, before, f"{1000 * best[name]:.1f}"])
    n = log.structures.get(f"val{index}")
    title = f"validation {index}" if index else "validation"
    if not rows:
        return f"The errors of {title} are none whose unit is known: {', '.join(best)}."
    counted = "" if n is None else f" ({n} structure{'' if n == 1 else 's'})"
    return table([f"{title}{counted}", "", "start", "best"], rows, [False, False, True, True])


def _of_fit(record: TransferRecord, fitted: ZeroShot) -> str:
    """Start and end on the training structures."""
    start, rows = _as_logged(record.zero_shot[-1]), []
    end = _as_logged(fitted)
    for name, quantity in means(end).items():
        before = f"{1000 * start[name]:.1f}" if name in start else "not known"
        rows.append([quantity.name, quantity.unit, before, f"{1000 * end[name]:.1f}"])
    return table([f"training ({record.n_frames} structures)", "", "start", "end"], rows, [False, False, True, True])


def _as_logged(errors: ZeroShot) -> Errors:
    """Errors by NequIP's names."""
    return {name: value for name, column in _OF_RECORD.items() if (value := getattr(errors, column)) is not None}


def _of_record(record: TransferRecord) -> str:
    """The start's errors on the structures it was fitted to, which the record has."""
    values = _as_logged(record.zero_shot[-1]) if record.zero_shot else {}
    told = ", ".join(f"{q.name} {1000 * values[name]:.1f} {q.unit}" for name, q in known(values).items())
    return textwrap.fill(
        "The start was not validated on all of these structures, since `trainer.num_sanity_val_steps` is set. On the "
        f"{record.n_frames} training structures it had {told}.",
        _COLUMNS,
    )


def _structures(trainer: Trainer) -> dict[str, int]:
    """Number of structures in each set."""
    loaders = trainer.val_dataloaders or []
    found = {f"val{i}": _number(loader) for i, loader in enumerate(loaders if isinstance(loaders, list) else [loaders])}
    found["train"] = _number(trainer.train_dataloader)
    return {name: n for name, n in found.items() if n is not None}


def _number(loader: Any) -> int | None:
    """Of structures behind a data loader; None if it does not say."""
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError):
        return None


def _saw_all(trainer: Trainer) -> bool:
    """Whether the validation before training had all batches of every set."""
    return all(seen >= of for seen, of in zip(trainer.num_sanity_val_batches, trainer.num_val_batches))


def _record(model: Any) -> TransferRecord | None:
    found = (part["provenance"] for part in nested(model) if is_transferred(part))
    return next(map(TransferRecord.from_dict, found), None)
