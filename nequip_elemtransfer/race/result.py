"""What a race says, as far as it has come: read from its folder at any time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.intervals import Interval, Ratio, paired_ratio
from nequip_elemtransfer.plan.result import plain
from nequip_elemtransfer.race.course import FULL, HALF, MARKS, SHORT, STOP_MARK, Leg
from nequip_elemtransfer.race.errors import HeldOutErrors, at_size, exponent, held_out_errors
from nequip_elemtransfer.race.laps import predictions
from nequip_elemtransfer.race.lineup import Lineup
from nequip_elemtransfer.race.standings import Curve, Duel, Mark, curve, duel, leader
from nequip_elemtransfer.structures.labels import Labels
from nequip_elemtransfer.structures.reading import read_structures


@dataclass(frozen=True)
class Expected:
    """Errors on new structures of the same kind as those of the race, of one kind of label.

    Args:
        mae, rmse: of the trainings on folds, over the structures that each held out
        mae_of_all, rmse_of_all: the same extrapolated to a training on all structures
        one_more: by which factor one structure more would change them
    """

    mae: Interval
    rmse: Interval
    mae_of_all: Interval
    rmse_of_all: Interval
    one_more: Interval | None


@dataclass(frozen=True)
class RaceResult:
    """All that a race says.

    Args:
        lineup: the race
        curves: by kind of label and start
        stopped: the duels that ended a start before its time
        duels: at the end of the budget, of each start that got there with the first
        winner: name of the start; None before the end
        longer: by which factor errors differ with all steps from those with a third, of the kind that decides; None
            before it is known
        exponents: by kind of label, how fast errors fall with the number of structures
        expected: by kind of label
    """

    lineup: Lineup
    curves: Mapping[LabelKind, Mapping[str, Curve]]
    stopped: Mapping[str, Duel]
    duels: Sequence[Duel]
    winner: str | None
    longer: Ratio | None
    exponents: Mapping[LabelKind, Interval]
    expected: Mapping[LabelKind, Expected]

    @property
    def judge(self) -> LabelKind:
        """The kind of error that decides."""
        return self.lineup.judge

    @property
    def told_apart(self) -> bool:
        """Whether every other start has lost for certain."""
        return all(found.decided for found in (*self.stopped.values(), *self.duels))

    @property
    def schedule(self) -> str:
        """``full`` or ``short``: by which the errors of the winner are lower."""
        return SHORT if self.longer is not None and self.longer.ratio > 1 else FULL

    @property
    def steps(self) -> int:
        """Optimizer steps of that schedule."""
        return (
            self.lineup.budget.steps if self.schedule == FULL else round(self.lineup.budget.steps * STOP_MARK / MARKS)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        curves = {
            kind: {start: [_mark(found[mark]) for mark in sorted(found)] for start, found in of_kind.items()}
            for kind, of_kind in self.curves.items()
        }
        lineup = vars(self.lineup) | {"budget": vars(self.lineup.budget)}
        lineup.pop("legs", None)
        return plain(
            {
                **lineup,
                "curves": curves,
                "stopped": {start: _duel(found) for start, found in self.stopped.items()},
                "duels": [_duel(found) for found in self.duels],
                "winner": self.winner,
                "told_apart": self.told_apart if self.winner else None,
                "steps": self.steps if self.longer else None,
                "longer": None if self.longer is None else vars(self.longer),
                "exponents": {kind: vars(found) for kind, found in self.exponents.items()},
                "expected": {
                    kind: {name: None if part is None else vars(part) for name, part in vars(found).items()}
                    for kind, found in self.expected.items()
                },
            }
        )


def read_race(out: Path) -> RaceResult:
    """What the race in a folder says so far.

    Raises:
        FileNotFoundError: the folder holds no race
    """
    lineup = Lineup.read(out)
    curves = {kind: {start: curve(lineup.of(start), out, kind) for start in lineup.starts} for kind in lineup.kinds}
    judge = lineup.judge
    stopped = _stopped(lineup, curves, judge)
    racing = [start for start in lineup.starts if start not in stopped]
    winner, duels, longer = None, list[Duel](), None
    exponents, expected = dict[LabelKind, Interval](), dict[LabelKind, Expected]()
    if all(_complete(curves[judge][start], MARKS, lineup) for start in racing):
        winner = leader({start: curves[judge][start] for start in racing}, MARKS)
        found = [duel(start, winner, MARKS, curves, judge) for start in racing if start != winner]
        duels = [one for one in found if one is not None]
        short = {kind: curve(lineup.of(winner, SHORT), out, kind) for kind in lineup.kinds}
        if _complete(short[judge], STOP_MARK, lineup):
            longer = _ratio(curves[judge][winner], MARKS, short[judge], STOP_MARK)
            exponents = _exponents(lineup, out, winner, short)
        schedule = SHORT if longer is not None and longer.ratio > 1 else FULL
        expected = _expected(lineup, out, winner, schedule, exponents)
    return RaceResult(lineup, curves, stopped, duels, winner, longer, exponents, expected)


def _stopped(lineup: Lineup, curves: Mapping[LabelKind, Mapping[str, Curve]], judge: LabelKind) -> dict[str, Duel]:
    if not all(_complete(curves[judge][start], STOP_MARK, lineup) for start in lineup.starts):
        return {}
    best = leader(curves[judge], STOP_MARK)
    # a start that is ahead so far may be one that is going to lose
    duels = {start: duel(start, best, STOP_MARK, curves, judge) for start in lineup.starts if start != best}
    lost = {start: found for start, found in duels.items() if found is not None and found.lost}
    for start, found in duels.items():
        if found is not None and found.decided and not found.lost:
            turned = duel(best, start, STOP_MARK, curves, judge)
            if turned is not None:
                lost[best] = turned
    return lost


def _complete(found: Curve, mark: int, lineup: Lineup) -> bool:
    return mark in found and len(found[mark].folds) == len(lineup.folds)


def _ratio(own: Curve, mark: int, other: Curve, other_mark: int) -> Ratio | None:
    """Of errors of the same folds; these overlap as those of any two starts do."""
    folds = own[mark].folds
    return paired_ratio(folds, other[other_mark].folds, overlap=1 / (len(folds) - 1))


def _exponents(lineup: Lineup, out: Path, winner: str, short: Mapping[LabelKind, Curve]) -> dict[LabelKind, Interval]:
    found: dict[LabelKind, Interval] = {}
    factor = lineup.n_trained() / lineup.n_trained(HALF)
    for kind in lineup.kinds:
        half = curve(lineup.of(winner, HALF), out, kind)
        if not (_complete(half, STOP_MARK, lineup) and _complete(short[kind], STOP_MARK, lineup)):
            continue
        ratio = _ratio(short[kind], STOP_MARK, half, STOP_MARK)
        slope = None if ratio is None else exponent(ratio, factor)
        if slope is not None:
            found[kind] = slope
    return found


def _expected(
    lineup: Lineup, out: Path, winner: str, schedule: str, exponents: Mapping[LabelKind, Interval]
) -> dict[LabelKind, Expected]:
    legs = lineup.of(winner, schedule)
    n_all, n_trained = len(lineup.groups), lineup.n_trained(schedule)
    found: dict[LabelKind, Expected] = {}
    for kind in lineup.kinds:
        errors = _errors(lineup, out, legs, kind)
        if errors is None:
            continue
        slope, mae, rmse = exponents.get(kind), errors.mae(), errors.rmse()
        one = Interval(1.0, 1.0, 1.0, len(legs))
        found[kind] = Expected(
            mae,
            rmse,
            at_size(mae, slope, n_all / n_trained),
            at_size(rmse, slope, n_all / n_trained),
            None if slope is None else at_size(one, slope, (n_all + 1) / n_all),
        )
    return found


def _errors(lineup: Lineup, out: Path, legs: Sequence[Leg], kind: LabelKind) -> HeldOutErrors | None:
    """Of the models at the end of a schedule; None before all are there."""
    predicted, reference = list[Atoms](), list[Atoms]()
    sizes, groups, folds = list[int](), list[int](), list[int]()
    for leg in legs:
        own = predictions(out, leg.name)
        if len(own) != len(leg.held_out):
            return None
        held_out = read_structures(leg.files(out)[1]).structures
        predicted += own
        reference += held_out
        sizes += [len(atoms) for atoms in held_out]
        groups += [lineup.groups[i] for i in leg.held_out]
        folds += [leg.fold] * len(held_out)
    numbers = [np.array(values) for values in (sizes, groups, folds)]
    return held_out_errors(kind, _labels(predicted), _labels(reference), *numbers)


def _labels(structures: Sequence[Atoms]) -> Labels:
    """What calculators of structures hold, NaN where it is missing."""
    results = [{} if atoms.calc is None else atoms.calc.results for atoms in structures]
    return Labels(
        energies=np.array([float(np.ravel(found.get("energy", np.nan))[0]) for found in results]),
        forces=np.concatenate(
            [np.asarray(found.get("forces", np.full((len(a), 3), np.nan))) for a, found in zip(structures, results)]
        ),
        stresses=np.array([_full(found.get("stress")) for found in results]),
    )


def _full(stress: Any) -> np.ndarray:
    return np.full((3, 3), np.nan) if stress is None else voigt_6_to_full_3x3_stress(np.asarray(stress))


def _mark(mark: Mark) -> dict[str, Any]:
    return {
        "steps": mark.steps,
        "middle": mark.interval.middle,
        "low": mark.interval.low,
        "high": mark.interval.high,
        "folds": {str(fold): error for fold, error in mark.folds.items()},
    }


def _duel(found: Duel) -> dict[str, Any]:
    return {
        "start": found.start,
        "against": found.against,
        "mark": found.mark,
        "decided": found.decided,
        "so_far": {kind: vars(ratio) for kind, ratio in found.so_far.items()},
        "expected": {kind: vars(ratio) for kind, ratio in found.expected.items()},
    }
