"""What a race was asked and is made of, as plain data in its folder: with it, a race goes on without its plan."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.output.atomic import write_text
from nequip_elemtransfer.race.course import FULL, HALF, SHORT, Budget, Leg, leg
from nequip_elemtransfer.race.folds import half_of
from nequip_elemtransfer.study.grid import read_json

FILE = "lineup.json"


@dataclass(frozen=True)
class Lineup:
    """A race.

    Args:
        asked: name -> value of what was asked for, to know the same race again
        source, data: paths
        plan: what the plan says of the transfer, in a word
        species: chemical symbol of each type
        kinds: of labels that are trained on
        judge: the kind by whose errors starts are judged, which every fold has
        starts: names, in the order in which they were asked for
        groups: number of each structure's group, of which one is held out whole
        folds: indices of the structures that are held out in turn
        budget: of each training
    """

    asked: Mapping[str, Any]
    source: str
    data: str
    plan: str
    species: Sequence[str]
    kinds: Sequence[LabelKind]
    judge: LabelKind
    starts: Sequence[str]
    groups: Sequence[int]
    folds: Sequence[Sequence[int]]
    budget: Budget

    def write(self, out: Path) -> None:
        """Write it into the folder of the race."""
        write_text(out / FILE, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, out: Path) -> "Lineup":
        """Read what :meth:`write` has left in the folder of a race.

        Raises:
            FileNotFoundError: the folder holds no race
        """
        if not (out / FILE).is_file():
            raise FileNotFoundError(f"{out} is no folder of a race: it has no {FILE}.")
        entries = read_json(out / FILE)
        return cls(**entries | {"budget": Budget(**entries["budget"])})

    @cached_property
    def legs(self) -> list[Leg]:
        """All trainings that may be run."""
        groups, every = np.array(self.groups), np.arange(len(self.groups))
        found = []
        for start in self.starts:
            for number, fold in enumerate(self.folds):
                held_out = np.array(fold)
                train = np.setdiff1d(every, held_out)
                half = half_of(train, groups, number)
                for schedule, part in ((FULL, train), (SHORT, train), (HALF, half)):
                    found.append(leg(start, number, schedule, part, held_out, self.budget))
        return found

    def of(self, start: str, schedule: str = FULL) -> list[Leg]:
        """The trainings of a start by a schedule, a fold each."""
        return [leg for leg in self.legs if leg.start == start and leg.schedule == schedule]

    def n_trained(self, schedule: str = FULL) -> float:
        """Structures that a training has, the mean over folds."""
        return float(np.mean([len(leg.train) for leg in self.of(self.starts[0], schedule)]))
