"""Validation errors in the course of a training, as its checkpoints carry them.

NequIP and Lightning write errors for a logger, if the user has one, and none of them into a checkpoint. A callback that
watches each transferred training (:mod:`nequip_elemtransfer.key.training_summary`) keeps them in its own state, which
is plain data.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Real
from typing import Any

from nequip_elemtransfer.outcome.errors import WEIGHTED_SUM, Errors
from nequip_elemtransfer.output.refusal import RefusedFile, shortened

# name under which Lightning saves the state of the callback
CALLBACK = "TrainingSummary"

# validations kept; of more, every second is dropped
_MOST = 400


@dataclass
class TrainingLog:
    """What a training said of itself.

    Args:
        monitor: the logged error that chooses the best checkpoint, smaller being better unless ``mode`` is ``max``
        mode: ``min`` or ``max``
        start: errors before training; empty unless all validation structures were seen then
        validations: optimizer steps done and the errors then, in the order of steps
        best: the best of them by ``monitor``
        structures: number in each set, ``{"train": 9, "val0": 1}``
        saved: ISO date
    """

    monitor: str = f"val0_epoch/{WEIGHTED_SUM}"
    mode: str = "min"
    start: Errors = field(default_factory=dict)
    validations: list[tuple[int, Errors]] = field(default_factory=list)
    best: tuple[int, Errors] | None = None
    structures: dict[str, int] = field(default_factory=dict)
    saved: str = ""

    def add(self, step: int, errors: Errors) -> None:
        """Note a validation after so many steps."""
        if not errors:
            return
        self.validations.append((step, errors))
        if self._is_best(errors):
            self.best = (step, errors)
        if len(self.validations) > _MOST:
            self.validations = self.validations[::2]

    def _is_best(self, errors: Errors) -> bool:
        value = errors.get(self.monitor, math.nan)
        if self.best is None:
            return True
        before = self.best[1].get(self.monitor, math.nan)
        return value > before if self.mode == "max" else value < before

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Any) -> "TrainingLog":
        """The log that a file holds.

        Raises:
            RefusedFile: if it is none
        """
        try:
            best = found["best"]
            return cls(
                monitor=_text(found["monitor"]),
                mode=_text(found["mode"]),
                start=_errors(found["start"]),
                validations=[(_count(step), _errors(errors)) for step, errors in found["validations"]],
                best=None if best is None else (_count(best[0]), _errors(best[1])),
                structures={_text(name): _count(n) for name, n in found["structures"].items()},
                saved=_text(found["saved"]),
            )
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise RefusedFile(f"the log of its training is {shortened(found)}, which no training writes.") from error


def log_in(checkpoint: Mapping[str, Any]) -> TrainingLog | None:
    """The log in a checkpoint; None if the training kept none.

    Raises:
        RefusedFile: if what stands there is no log
    """
    callbacks = checkpoint.get("callbacks")
    state = callbacks.get(CALLBACK) if isinstance(callbacks, Mapping) else None
    return None if state is None else TrainingLog.from_dict(state)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _errors(value: Any) -> Errors:
    if not all(isinstance(error, Real) and not isinstance(error, bool) for error in value.values()):
        raise TypeError
    return {_text(name): float(error) for name, error in value.items()}
