"""What a race is asked: budgets, starts, and the command for Hydra's launchers."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from nequip_elemtransfer.race import pace
from nequip_elemtransfer.race.course import HALF, MARKS, SHORT, STOP_MARK, Budget, leg
from nequip_elemtransfer.race.lineup import Lineup
from nequip_elemtransfer.race.options import RaceOptions, parse_budget
from nequip_elemtransfer.race.racing import _all_or_nothing
from nequip_elemtransfer.race.report.summary import launcher_text


def test_budgets():
    assert parse_budget("600") == (600, None)
    assert parse_budget("20min") == (None, 20.0) and parse_budget("1.5 h") == (None, 90.0)
    for text in ("0", "600.5", "soon", "20 days", "-5"):
        with pytest.raises(ValueError, match="--budget is"):
            parse_budget(text)


def test_what_no_race_can_be():
    assert RaceOptions(sources={"other": "other.ckpt"}).names == ("transfer", "scratch", "other")
    for options, sentence in (
        ({"starts": ("transfer", "scrach")}, "did you mean 'scratch'"),
        ({"starts": ("transfer", "transfer")}, "each start once"),
        ({"starts": ("transfer",)}, "two starts"),
        ({"sources": {"scratch": "a.ckpt"}}, "names another source 'scratch'"),
        ({"folds": 2}, "--folds is 2"),
        ({"steps": 11}, "at least 12"),
        ({"device": "tpu"}, "choose cpu or cuda"),
    ):
        with pytest.raises(ValueError, match=sentence):
            RaceOptions(**options)


def test_validations_fall_on_epochs_and_the_last_on_the_end():
    """Eight structures in steps of two: four steps an epoch, so every twelfth of 600 is 48 or 52 of them."""
    found = leg("transfer", 0, "full", np.arange(8), np.arange(8, 10), Budget(600, 2))
    assert found.every % 4 == 0 and abs(found.every - 50) <= 2 and found.marks * found.every == MARKS * found.every
    short = leg("transfer", 0, SHORT, np.arange(8), np.arange(8, 10), Budget(600, 2))
    assert short.marks * short.every == STOP_MARK * found.every and short.name == "transfer-short-fold0"


def test_minutes_pay_for_all_trainings(monkeypatch):
    """Two starts in two parts and two short trainings, on five folds by two jobs: the clock's closed form."""
    monkeypatch.setattr(pace, "_measured", lambda out: (0.1, 10.0))
    steps = pace.affordable_steps(20, 2, 5, 2, Path())
    spent = 5 * (6 * 10 + (2 + 2 / 3) * steps * 0.1) / 2
    assert steps % MARKS == 0 and spent <= 1200 < spent + 5 * (2 + 2 / 3) * MARKS * 0.1 / 2
    with pytest.raises(ValueError, match="in which no race can be run: .* give at least 3min"):
        pace.affordable_steps(2, 2, 5, 2, Path())


def test_launchers_run_the_starts_to_the_end_and_nothing_else(tmp_path):
    lineup = Lineup(
        {},
        "",
        "",
        "go",
        ["Ge"],
        ["forces"],
        "forces",
        ["transfer", "scratch"],
        range(6),
        [[0], [1], [2]],
        Budget(60, 2),
    )
    command = shlex.split(launcher_text(lineup, tmp_path).splitlines()[1])
    (override,) = [OverridesParser.create().parse_override(part) for part in command if part.startswith("+training")]
    chosen = override.value().filter([one.name for one in lineup.legs])
    assert sorted(chosen) == sorted(one.name for start in lineup.starts for one in lineup.of(start))
    assert len(lineup.legs) == 3 * len(chosen) and {one.schedule for one in lineup.legs} > {SHORT, HALF}


def test_nothing_stays_of_a_race_that_cannot_be_prepared(tmp_path):
    for name, others in (("new", ()), ("old", ("notes.txt",))):
        out = tmp_path / name
        with pytest.raises(ValueError, match="too few minutes"), _all_or_nothing(out):
            (out / "plan").mkdir(parents=True)
            for other in others:
                (out / other).touch()
            raise ValueError("too few minutes")
        assert [path.name for path in out.glob("*")] == list(others) and out.exists() == bool(others)
