"""The report of runs whose errors follow known laws, written as NequIP and Lightning log them."""

import csv
import json
import math
from dataclasses import replace

import pytest

from nequip_elemtransfer.study.grid import Grid, Run
from nequip_elemtransfer.study.report.comparison import spread
from nequip_elemtransfer.study.report.page import number, write_report

SIZES, SEEDS = (5, 10, 25, 100), (0, 1, 2)
STEPS = range(0, 301, 25)
# test error a n^-b: force in eV/Å, energy in eV/atom, stress in eV/Å³
LAWS = {
    "scratch": ((0.4, 0.5), (0.04, 0.5), (0.01, 0.5)),
    "element_map": ((0.3, 0.5), (0.08, 0.5), (0.01, 0.5)),
    "corresponding_states": ((0.1, 0.5), (0.02, 0.5), (0.004, 0.5)),
}
COLUMNS = {"forces_mae": 0, "per_atom_energy_mae": 1, "stress_mae": 2}


def run_of(start, size, seed):
    name = f"{start}-n{size}-seed{seed}"
    settings = {"start": start, "model": "default", "train_on": "default", "size": size, "seed": seed}
    return Run(name, settings, "config.yaml", ())


def write_run(out, run):
    """Metrics of a training whose validation error falls as exp(-steps/100) to the error on the test set."""
    settings = run.settings
    laws = LAWS[settings["start"]]
    rows = []
    final = [a * settings["size"] ** -b * (1 + 0.02 * (settings["seed"] - 1)) for a, b in laws]
    for steps in STEPS:
        errors = {f"val0_epoch/{name}": final[i] * (1 + math.exp(-steps / 100)) for name, i in COLUMNS.items()}
        errors["val0_epoch/weighted_sum"] = (steps - 150) ** 2 + settings["seed"]  # best after 150 steps
        rows.append(errors | {"training_steps": float(steps), "training_seconds": 0.5 * steps})
        rows.append({"train_loss_step/forces_mse": 1.0})
    for index, factor in enumerate((1.0, 0.5, 1.5)):
        rows.append({f"test{index}_epoch/{name}": factor * final[i] for name, i in COLUMNS.items()})
    folder = out / "runs" / run.name
    (folder / "metrics").mkdir(parents=True)
    with open(folder / "metrics" / "metrics.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, sorted(set().union(*rows)))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "finished.json").write_text("{}")


@pytest.fixture
def out(tmp_path):
    runs = [run_of(start, size, seed) for start in LAWS for size in SIZES for seed in SEEDS]
    Grid(tuple(runs), {"all": "a.xyz", "crystal": "b.xyz", "liquid": "c.xyz"}).write(tmp_path)
    for run in runs:
        write_run(tmp_path, run)
    return tmp_path


def report_of(out):
    write_report(out)
    report = json.loads((out / "report.json").read_text())
    return report, {curve["start"]: curve for curve in report["curves"]}


def test_the_page_is_headed_by_what_the_study_is_about(out):
    write_report(out)
    page = (out / "report.html").read_text()
    heading = "Element map, corresponding states against scratch; 5, 10, 25, 100 structures; tested on a.xyz"
    assert f"<h1>{heading}</h1>" in page and f"<title>{heading}</title>" in page
    assert "<th>" not in page and page.count("<svg role='img' aria-label=") == page.count("<svg ")


def test_errors_and_words(out):
    _, curves = report_of(out)
    for start, laws in LAWS.items():
        for test_set, factor in (("all", 1.0), ("crystal", 0.5), ("liquid", 1.5)):
            for size, point in zip(SIZES, curves[start]["test_sets"][test_set]):
                force = point["errors"]["forces_mae"]
                mean = factor * laws[0][0] * size**-0.5
                assert force["mean"] == pytest.approx(mean) and force["count"] == 3
                assert force["low"] == pytest.approx(0.98 * mean) and force["high"] == pytest.approx(1.02 * mean)
                assert force["deviation"] == pytest.approx(0.02 * mean)
    for point in curves["element_map"]["test_sets"]["all"]:
        expected = {"forces_mae": 0.75, "per_atom_energy_mae": 2.0, "stress_mae": 1.0}
        # seeds at 0.98, 1 and 1.02 of the law, from both starts: each pair has the same ratio
        for end in ("ratio", "low", "high"):
            ratios = {name: ratio[end] for name, ratio in point["ratios"].items()}
            assert ratios == {name: pytest.approx(value) for name, value in expected.items()}
        assert point["steps"] == {"mean": 150, "low": 150, "high": 150, "deviation": 0, "count": 3}


def test_another_baseline(out):
    """Against the element map, its third of the force error, and scratch is a third higher."""
    grid = replace(Grid.read(out), baseline="element_map")
    grid.write(out)
    _, curves = report_of(out)
    ratios = {
        start: [point["ratios"]["forces_mae"]["ratio"] for point in curve["test_sets"]["all"]]
        for start, curve in curves.items()
        if start != "element_map"
    }
    assert ratios == {"scratch": [pytest.approx(4 / 3)] * 4, "corresponding_states": [pytest.approx(1 / 3)] * 4}
    assert all(point["ratios"] == {} for point in curves["element_map"]["test_sets"]["all"])
    assert curves["element_map"]["efficiency"]  # structures are counted against scratch all the same


def test_data_efficiency(out):
    """Errors a quarter as large at b = 1/2 are worth 16 times the structures; beyond 100 only a bound is known."""
    _, curves = report_of(out)
    force = [e for e in curves["corresponding_states"]["efficiency"] if e["quantity"] == "forces_mae"]
    assert force[0]["equivalent"] == {"size": pytest.approx(80), "bound": "equal", "factor": pytest.approx(16)}
    assert [e["equivalent"]["bound"] for e in force] == ["equal", "more than", "more than", "more than"]
    assert force[0]["interval"] == [pytest.approx(16)] * 2 and force[1]["interval"] is None  # seeds are alike here
    assert force[1]["equivalent"]["factor"] == 10
    assert {seed: e["factor"] for seed, e in force[0]["of_seeds"].items()} == {str(s): pytest.approx(16) for s in SEEDS}
    energy = [e for e in curves["element_map"]["efficiency"] if e["quantity"] == "per_atom_energy_mae"]
    assert energy[0]["equivalent"] == {"size": 5, "bound": "less than", "factor": 1.0}
    assert energy[3]["equivalent"] == {"size": pytest.approx(25), "bound": "equal", "factor": pytest.approx(0.25)}
    assert curves["scratch"]["efficiency"] == []


def test_steps_and_seconds(out):
    """Three quarters of the error are reached when 1 + exp(-t/100) falls to (1 + exp(-3)) / 0.75, after 92 steps."""
    _, curves = report_of(out)
    speed = [s for s in curves["element_map"]["speed"] if s["quantity"] == "forces_mae"]
    assert len(speed) == 12
    for entry in speed:
        assert entry["scratch"] == {"steps": 300, "seconds": 150.0, "total_steps": 300}
        assert entry["start"] == {"steps": 100, "seconds": 50.0, "total_steps": 300}
    energy = [s for s in curves["element_map"]["speed"] if s["quantity"] == "per_atom_energy_mae"]
    assert {s["start"]["steps"] for s in energy} == {None}
    ahead = [s for s in curves["corresponding_states"]["speed"] if s["quantity"] == "forces_mae"]
    assert {s["start"]["steps"] for s in ahead} == {0}


def test_gaps(out):
    """Failed and missing runs are named and leave the rest as it is; a curve may lack a whole size."""
    failed = out / "runs" / "scratch-n5-seed0"
    (failed / "finished.json").unlink()
    (failed / "failed.json").write_text(json.dumps({"exit_code": 1, "reason": "ValueError: <no> reason"}))
    for seed in SEEDS:
        (out / "runs" / f"corresponding_states-n10-seed{seed}" / "finished.json").unlink()
    report, curves = report_of(out)
    first = curves["scratch"]["test_sets"]["all"][0]
    assert first["missing"] == ["scratch-n5-seed0"] and first["errors"]["forces_mae"]["count"] == 2
    second = curves["corresponding_states"]["test_sets"]["all"][1]
    assert second["errors"] == {} and len(second["missing"]) == 3
    assert [e["size"] for e in curves["corresponding_states"]["efficiency"]] == [5, 25, 100] * 3
    html = (out / "report.html").read_text()
    assert "<code>scratch-n5-seed0</code>: failed (<code>ValueError: &lt;no&gt; reason</code>)" in html
    assert sum(entry["state"] == "finished" for entry in report["runs"]) == 32


def test_nothing_is_finished(out):
    for path in out.glob("runs/*/finished.json"):
        path.unlink()
    report, curves = report_of(out)
    assert all(point["errors"] == {} for curve in curves.values() for point in curve["test_sets"]["all"])
    assert "0 of 36 trainings are finished" in (out / "report.html").read_text()


def test_repeated_validations_count_once(out):
    """After an interruption the steps since the restart point are done again; the later ones count."""
    metrics = out / "runs" / "scratch-n5-seed0" / "metrics"
    lines = (metrics / "metrics.csv").read_text().splitlines()
    (metrics / "metrics.before_1.csv").write_text("\n".join(lines[:12]) + "\n")
    (metrics / "metrics.csv").write_text("\n".join([lines[0], *lines[8:]]) + "\n")
    report, _ = report_of(out)
    (entry,) = (entry for entry in report["runs"] if entry["name"] == "scratch-n5-seed0")
    assert [v["steps"] for v in entry["validations"]] == list(STEPS)


def test_numbers_to_two_digits_of_their_deviation():
    assert number(spread([5.651, 5.673])) == "5.662 ± 0.016"
    assert number(spread([100.0, 100.0])) == "100 ± 0"
    assert number(spread([2e-8, -1.2e-7])) == "0 ± 0"  # an acoustic branch at Γ
    assert number(spread([9.1e-05, 4.5e-05])) == "0.000068 ± 0.000033"
    assert number(None) == "–" and number(0.03075) == "0.03075"
