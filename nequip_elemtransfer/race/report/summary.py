"""A race as text for the terminal, 80 columns wide."""

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path

from nequip_elemtransfer.config import KIND_NAMES, LabelKind
from nequip_elemtransfer.intervals import Interval, Ratio
from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.race.course import MARKS, STOP_MARK
from nequip_elemtransfer.race.lineup import Lineup
from nequip_elemtransfer.race.result import RaceResult
from nequip_elemtransfer.race.standings import Duel
from nequip_elemtransfer.study.run.training_configs import GROUP, PRIMARY

UNITS: dict[LabelKind, str] = {"forces": "meV/Å", "energy": "meV/atom", "stress": "meV/Å³"}
_SHOWN = (0, 1, 2, STOP_MARK, 6, 8, 10, MARKS)
_WIDTH, _IN_A_ROW = 80, 3


def standings_text(result: RaceResult) -> str:
    """Held-out errors so far, and the starts that were stopped."""
    judge = result.judge
    lines = [f"Held-out MAE of {KIND_NAMES[judge]}, {UNITS[judge]}: mean of {len(result.lineup.folds)} folds [95 %]"]
    for starts in _rows(result.lineup.starts):
        curves = {start: result.curves[judge][start] for start in starts}
        marks = [mark for mark in _SHOWN if any(mark in found for found in curves.values())]
        rows = []
        for mark in marks:
            steps = next(found[mark].steps for found in curves.values() if mark in found)
            cells = [milli(found[mark].interval) if mark in found else "" for found in curves.values()]
            rows.append([str(steps), *cells])
        lines.append(table(["steps", *starts], rows, [True] * (1 + len(starts))))
    lines += [textwrap.fill(stopped_sentence(found, result), _WIDTH) for found in result.stopped.values()]
    return "\n".join(lines) + "\n"


def summary(result: RaceResult) -> str:
    """Who wins, by how much, how many steps, and the errors to expect."""
    sentences = [textwrap.fill(sentence, _WIDTH) for sentence in (verdict_sentence(result), steps_sentence(result))]
    parts = [sentences[0], _duels(result), sentences[1], _expected(result)]
    return "\n\n".join(part for part in parts if part)


def verdict_sentence(result: RaceResult) -> str:
    """Which start, and whether that is certain."""
    if result.winner is None:
        return "The race is not finished."
    others = [start for start in result.lineup.starts if start != result.winner]
    if result.told_apart:
        return f"{result.winner} wins, told apart from {' and '.join(others)} by errors of {KIND_NAMES[result.judge]}."
    close = [found.start for found in result.duels if not found.decided]
    return (
        f"{result.winner} has the lowest errors of {KIND_NAMES[result.judge]}, but is not told apart from "
        f"{' and '.join(close)}."
    )


def stopped_sentence(found: Duel, result: RaceResult) -> str:
    """Why a start was stopped."""
    steps = result.curves[result.judge][found.start][found.mark].steps
    ratio = found.expected[result.judge]
    return (
        f"{found.start} was stopped after {steps} steps: at the end its errors would be "
        f"{ratio.percent} against {found.against} (90 %)."
    )


def steps_sentence(result: RaceResult) -> str:
    """How many steps, and what a third of them does."""
    if result.longer is None:
        return ""
    budget, third = result.lineup.budget.steps, round(result.lineup.budget.steps * STOP_MARK / MARKS)
    change = f"errors of {KIND_NAMES[result.judge]} with {budget} steps against {third}: {result.longer.percent}"
    if not result.longer.told_apart:
        return f"Train for {result.steps} steps: {change}, not told apart."
    if result.longer.ratio < 1:
        return f"Train for {result.steps} steps: {change}. A larger --budget may gain more."
    return f"Train for {result.steps} steps: {change}, more do harm."


def milli(interval: Interval) -> str:
    """``85.5 [40.6, 117]`` of an error in eV and Å, in meV and Å."""
    if interval.low is None or interval.high is None:
        return _three_digits(1000 * interval.middle)
    low, high = (_three_digits(1000 * end) for end in (interval.low, interval.high))
    return f"{_three_digits(1000 * interval.middle)} [{low}, {high}]"


def _three_digits(value: float) -> str:
    """Three digits that count, and all of a larger number."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def ratio_cell(ratio: Ratio | None) -> str:
    """By how much errors differ; a dash where it is not known."""
    return "–" if ratio is None else ratio.percent


def launcher_text(lineup: Lineup, out: Path) -> str:
    """The command that runs all starts to the end through a launcher of Hydra."""
    command = ["nequip-train", "-cp", str((out / PRIMARY).resolve()), "-cn", PRIMARY, "--multirun"]
    command += ["hydra/launcher=submitit_local", f"+{GROUP}=glob(*,exclude=[*-short-*,*-half-*])"]
    n = len(lineup.starts) * len(lineup.folds)
    return (
        f"{n} trainings are ready in {out}. Run them with\n  {shlex.join(command)}\n"
        "and give the command without --prepare, which goes on from there."
    )


def _rows(starts: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(starts[i : i + _IN_A_ROW]) for i in range(0, len(starts), _IN_A_ROW)]


def _duels(result: RaceResult) -> str:
    rows = []
    for found in (*result.stopped.values(), *result.duels):
        name = f"{found.start} / {found.against}" + (" (foreseen)" if found.mark < MARKS else "")
        for kind, ratio in found.expected.items():
            rows.append([name, KIND_NAMES[kind], ratio.percent, "" if ratio.told_apart else "not told apart"])
            name = ""
    return table(["errors", "of", "differ by", ""], rows, [False, False, True, False]) if rows else ""


def _expected(result: RaceResult) -> str:
    if not result.expected:
        return ""
    n = len(result.lineup.groups)
    rows = [
        [
            f"{KIND_NAMES[kind]}, {UNITS[kind]}",
            milli(found.mae_of_all),
            milli(found.rmse_of_all),
            "–" if found.one_more is None else f"{100 * (found.one_more.middle - 1):+.1f} %".replace("-", "−"),
        ]
        for kind, found in result.expected.items()
    ]
    header = [f"to expect with all {n}", "MAE [95 %]", "RMSE [95 %]", "one more"]
    trained = result.lineup.n_trained()
    note = textwrap.fill(
        f"On new structures like these, extrapolated from folds with {trained:.3g} of {n}. One more: how errors change "
        "with one structure more.",
        _WIDTH,
    )
    return f"{table(header, rows, [False, True, True, True])}\n{note}"
