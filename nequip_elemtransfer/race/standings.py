"""How the starts of a race stand: their errors on held-out structures so far, and what is known of who wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.intervals import Interval, Ratio, Replicate, geometric_interval, paired_ratio
from nequip_elemtransfer.race.course import MARKS, Leg
from nequip_elemtransfer.race.entrants import SCRATCH
from nequip_elemtransfer.race.rule import outlook
from nequip_elemtransfer.study.grid import run_folder
from nequip_elemtransfer.study.run.results import Validation, validations

# starts are judged by the first of these that the structures have, as in a plan
JUDGES: tuple[LabelKind, ...] = ("forces", "energy", "stress")


@dataclass(frozen=True)
class Mark:
    """Errors of a start at one validation of its schedule.

    Args:
        steps: optimizer steps done, the mean over folds
        folds: mean absolute error of each fold, eV/Å, eV/atom or eV/Å³; those that have not come so far are left out
        interval: of the geometric mean over folds
    """

    steps: int
    folds: Mapping[Replicate, float]
    interval: Interval


Curve = dict[int, Mark]  # by number of the validation, 0 before the first step


@dataclass(frozen=True)
class Duel:
    """Two starts, fold by fold.

    Args:
        start: name
        against: name of the start whose errors are divided by
        mark: number of the validation at which they are compared
        so_far: by which factor errors differ, of each kind
        expected: the same at the end of the schedule; as it is where they are there
        judge: the kind of error that decides
    """

    start: str
    against: str
    mark: int
    so_far: Mapping[LabelKind, Ratio]
    expected: Mapping[LabelKind, Ratio]
    judge: LabelKind

    @property
    def decided(self) -> bool:
        """Whether the errors that decide are told apart."""
        found = self.expected.get(self.judge)
        return found is not None and found.told_apart

    @property
    def lost(self) -> bool:
        """Whether the start has lost."""
        return self.decided and self.expected[self.judge].ratio > 1


def curve(legs: Sequence[Leg], out: Path, kind: LabelKind) -> Curve:
    """The errors of the trainings of one start and schedule, at each validation that any has reached."""
    seen = {leg: {v.steps: v for v in validations(run_folder(out, leg.name))} for leg in legs}
    found: Curve = {}
    for mark in range(MARKS + 1):
        errors: dict[Replicate, float] = {}
        for leg, by_steps in seen.items():
            error = _error(by_steps.get(mark * leg.every), kind)
            if error:
                errors[Replicate(leg.fold)] = error
        if errors:
            steps = round(sum(mark * leg.every for leg in legs) / len(legs))
            found[mark] = Mark(steps, errors, geometric_interval(errors))
    return found


def duel(
    start: str, against: str, mark: int, curves: Mapping[LabelKind, Mapping[str, Curve]], judge: LabelKind
) -> Duel | None:
    """Compare two starts at a validation.

    Args:
        curves: by kind of label and start

    Returns:
        None where they have no fold in common there
    """
    so_far, expected = dict[LabelKind, Ratio](), dict[LabelKind, Ratio]()
    for kind, of_kind in curves.items():
        own, other = of_kind[start].get(mark), of_kind[against].get(mark)
        if own is None or other is None:
            continue
        n_folds = len(set(own.folds) & set(other.folds))
        # a fold of k has one part of k - 1 held out
        ratio = paired_ratio(own.folds, other.folds, overlap=1 / (n_folds - 1) if n_folds > 1 else 0.0)
        if ratio is None:
            continue
        so_far[kind] = ratio
        at_end = ratio if mark == MARKS else _at_end(ratio, kind, start, against)
        if at_end is not None:
            expected[kind] = at_end
    return Duel(start, against, mark, so_far, expected, judge) if judge in so_far else None


def _at_end(ratio: Ratio, kind: LabelKind, start: str, against: str) -> Ratio | None:
    """The rule is one of ratios of a transfer to a start from scratch."""
    if start == SCRATCH:
        turned = outlook(inverse(ratio), kind, catching_up=True)
        return None if turned is None else inverse(turned)
    return outlook(ratio, kind, catching_up=against == SCRATCH)


def inverse(ratio: Ratio) -> Ratio:
    """The same with the starts exchanged."""
    low, high = (None if end is None else 1 / end for end in (ratio.high, ratio.low))
    return Ratio(1 / ratio.ratio, low, high, ratio.count, ratio.paired)


def leader(curves: Mapping[str, Curve], mark: int) -> str:
    """The start whose errors have the lowest geometric mean at a validation."""
    return min((name for name in curves if mark in curves[name]), key=lambda name: curves[name][mark].interval.middle)


def _error(found: Validation | None, kind: LabelKind) -> float | None:
    if found is None:
        return None
    return {"forces": found.force_mae, "energy": found.energy_mae, "stress": found.stress_mae}[kind]
