"""What a race is asked."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.plan.options import PlanOptions
from nequip_elemtransfer.race.course import MARKS
from nequip_elemtransfer.race.entrants import KNOWN, SCRATCH, TRANSFER
from nequip_elemtransfer.race.folds import LEAST

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class RaceOptions:
    """What a race is asked besides the source and the structures.

    Args:
        starts: names; ``transfer``, ``scratch`` and ``map`` are known
        sources: name -> trained model, for starts by transfer from other models
        steps: of each training; None for as many as a plan's training has, or as the minutes allow
        minutes: that the whole race may take; None if steps are given
        folds: at most
        group_by: name in ``Atoms.info`` whose value structures share that are held out together
        device: ``cpu`` or ``cuda``
        plan: what the plan before it is asked

    Raises:
        ValueError: a start is not known or comes twice, or a number is out of range
    """

    starts: tuple[str, ...] = (TRANSFER, SCRATCH)
    sources: Mapping[str, str] = field(default_factory=dict)
    steps: int | None = None
    minutes: float | None = None
    folds: int = 5
    group_by: str | None = None
    device: str = "cpu"
    plan: PlanOptions = PlanOptions()

    def __post_init__(self) -> None:
        for name in self.starts:
            if name not in KNOWN:
                raise ValueError(
                    f"--starts has {name!r}{suggest(name, KNOWN)}, or NAME=SOURCE for a transfer from another model."
                )
        for name in self.sources:
            if name in KNOWN or not re.fullmatch(r"[A-Za-z0-9_]+", name):
                raise ValueError(
                    f"--starts names another source {name!r}: use letters, digits and underscores, and no name of "
                    f"{', '.join(KNOWN)}."
                )
        if len(set(self.starts)) < len(self.starts):
            raise ValueError(f"--starts lists {', '.join(self.starts)}: each start once.")
        if len(self.names) < 2:
            raise ValueError("a race needs two starts at least: give --starts transfer scratch, for instance.")
        if self.folds < LEAST:
            raise ValueError(
                f"--folds is {self.folds}: give at least {LEAST}, or nothing is known of how errors differ."
            )
        if self.steps is not None and self.steps < MARKS:
            raise ValueError(f"--budget is {self.steps} steps: give at least {MARKS}, a validation each.")
        if self.device not in DEVICES:
            raise ValueError(f"--device is {self.device!r}: choose {' or '.join(DEVICES)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Of all starts."""
        return (*self.starts, *self.sources)

    def asked(self) -> dict[str, Any]:
        """What makes two races the same, as plain data."""
        return {
            "starts": list(self.starts),
            "sources": dict(self.sources),
            "steps": self.steps,
            "minutes": self.minutes,
            "folds": self.folds,
            "group_by": self.group_by,
            "device": self.device,
            "elements": dict(self.plan.elements),
            "chemical_species": dict(self.plan.chemical_species),
            "kept_types": self.plan.kept_types,
            "seed": self.plan.seed,
            "data_options": asdict(self.plan.data),
        }


def parse_budget(text: str) -> tuple[int | None, float | None]:
    """``600`` steps, or ``20min``: steps and minutes, one of which is None.

    Raises:
        ValueError: it is neither
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(min|h|)", text.strip())
    if found is None or float(found[1]) <= 0 or (not found[2] and "." in found[1]):
        raise ValueError(
            f"--budget is {text!r}: give steps of each training as 600, or time of the race as 20min or 2h."
        )
    if not found[2]:
        return int(found[1]), None
    return None, float(found[1]) * (60 if found[2] == "h" else 1)
