"""A study that was begun before: reported as it was, evaluated again, and carried on."""

import io
import json
import shutil
from contextlib import redirect_stdout

import pytest
from studies import run_study

from nequip_elemtransfer.cli import main

EVALUATED_AGAIN = ("properties/scratch-n3-seed0", "plan/corresponding_states-n3-seed0")
# parts of a report that follow from files of the study alone
REPORTED = ("runs", "curves", "properties", "stability", "forecasts", "reference")


# errors are compared as ratios today, and models that last are counted instead of simulations
NO_LONGER_SAID = {"differences", "relative", "effect", "survived_interval"}


def same(found, expected, tolerance):
    """Nested lists and mappings whose numbers agree; what is said today besides may stand there too."""
    if isinstance(expected, dict):
        expected = {key: value for key, value in expected.items() if key not in NO_LONGER_SAID}
        return found.keys() >= expected.keys() and all(same(found[k], v, tolerance) for k, v in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(same(a, b, tolerance) for a, b in zip(found, expected))
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=tolerance, abs=tolerance, nan_ok=True)
    return found == expected


def report_of(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_it_is_reported_as_it_was(made_before, tmp_path, monkeypatch):
    monkeypatch.chdir(made_before)  # where its source is
    out = tmp_path / "out"
    shutil.copytree(made_before / "study" / "out", out)
    (out / "report.json").unlink()
    with redirect_stdout(io.StringIO()):
        assert main(["study", "report", str(out)]) == 0
    before, now = report_of(made_before / "study" / "out"), report_of(out)
    assert before["properties"] and before["stability"] and before["forecasts"]
    for part in REPORTED:
        assert same(now[part], before[part], 1e-12), part


def test_it_is_carried_on(made_before, tmp_path, monkeypatch):
    """What is finished stays, two evaluations are made again, one training is ended and one is made."""
    monkeypatch.chdir(made_before)
    out = made_before / "study" / "out"
    before = {name: values_of(out / "evaluations" / name) for name in EVALUATED_AGAIN}
    assert all(len(values) > 5 for values in before.values())
    for name in EVALUATED_AGAIN:
        shutil.rmtree(out / "evaluations" / name)
    finished = {path: path.stat().st_mtime_ns for path in out.rglob("finished.json")}
    code, printed = run_study("study/study.yaml", out)
    assert code == 0 and printed.startswith("11 tasks finished, 0 failed")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for name, values in before.items():
        assert same(values_of(out / "evaluations" / name), values, 1e-3), name  # relaxed and fitted numbers
    expected = json.loads((made_before / "expected.json").read_text(encoding="utf-8"))
    runs = {entry["name"]: entry for entry in report_of(out)["runs"]}
    for name, tests in expected.items():
        assert same(runs[name]["tests"], tests, 1e-6), name
        assert [validation["steps"] for validation in runs[name]["validations"]] == [0, 2, 4]


def values_of(folder):
    """Numbers of an evaluation, by name; of a plan, what was otherwise then is left out.

    That are the words of the verdict, the ends of intervals, and the α that its scan goes by.
    """
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"), object_hook=without_intervals)
    numbers = result.get("values") or result
    if "verdict" in numbers:
        numbers = {name: value for name, value in numbers.items() if name not in ("verdict", "scan")}
    return {name: value for name, value in numbers.items() if isinstance(value, (float, dict)) and name != "settings"}


def without_intervals(entry):
    return {key: value for key, value in entry.items() if key not in ("low", "high")}
