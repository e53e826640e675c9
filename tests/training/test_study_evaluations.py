"""``nequip-elemtransfer study`` with real models: properties, simulations and plans of a finished grid."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from commands import run
from studies import run_study

from nequip_elemtransfer.data.stillinger_weber import lattice_constant
from nequip_elemtransfer.study.grid import Grid
from nequip_elemtransfer.study.measure.evaluation import evaluation_tasks


@pytest.fixture(scope="module")
def evaluated(grid, study, labelled, tmp_path_factory):
    """The finished grid with properties, simulations and a plan for its models of six structures."""
    _, trained = grid
    file = study(
        "evaluated",
        structures={"train": str(labelled / "train.xyz"), "test": str(labelled / "test.xyz"), "test_by": "group"},
        sizes=[3, "all"],
        starts=["scratch", "corresponding_states"],
        **EVALUATIONS,
    )
    out = tmp_path_factory.mktemp("evaluated") / "out"
    run_study(file, out, "--prepare")
    shutil.copytree(trained / "runs", out / "runs")
    code, printed = run_study(file, out, "--jobs", "2")
    assert code == 0
    return file, out, printed


EVALUATIONS = {
    "crystal": {"structure": "diamond", "formula": "Ge", "a": 5.654},
    "reference": {
        "calculator": {
            "_target_": "nequip_elemtransfer.data.stillinger_weber.stillinger_weber_calculator",
            "element": "Ge",
        },
        "values": {"C44": 57.0},
    },
    "properties": {"sizes": ["all"], "supercell": 1, "phonon_supercell": 2, "surfaces": ["111"]},
    "stability": {
        "sizes": ["all"],
        "starts": ["crystal", "vacancy"],
        "temperatures": [100],
        "runs": 1,
        "time": 0.02,
        "supercell": 1,
        "engine": "eager",
    },
    "plan": {"sizes": ["all"]},
}


def test_evaluations(evaluated):
    """Values of the reference are those of the potential; each model has all parts."""
    _, out, printed = evaluated
    assert printed.startswith("11 tasks finished, 0 failed")
    report = json.loads((out / "report.json").read_text())
    reference = report["reference"]
    assert reference["lattice_constant"] == pytest.approx(lattice_constant("Ge"), abs=1e-3)
    assert reference["C44"] == 57.0  # given
    assert reference["bulk_modulus"] == pytest.approx((reference["C11"] + 2 * reference["C12"]) / 3, rel=0.02)
    assert [(entry["start"], entry["size"]) for entry in report["properties"]] == [
        ("scratch", 6),
        ("corresponding_states", 6),
    ]
    simulations = [(entry["start"], entry["begin"], entry["time"]) for entry in report["stability"]]
    assert simulations == [
        (start, begin, 0.02) for begin in ("crystal", "vacancy") for start in ("scratch", "corresponding_states")
    ]
    (forecast,) = report["forecasts"]
    plan = json.loads((out / "evaluations" / "plan" / "corresponding_states-n6-seed0" / "result.json").read_text())
    assert forecast["verdict"] == plan["verdict"]["word"]
    runs = {entry["name"]: entry for entry in report["runs"]}
    transferred, scratch = (runs[f"{start}-n6-seed0"] for start in ("corresponding_states", "scratch"))
    assert forecast["before"] == transferred["validations"][0]["force_mae"]
    assert forecast["after"] == transferred["tests"]["all"]["forces_mae"]
    assert forecast["scratch"] == scratch["tests"]["all"]["forces_mae"]
    html = (out / "report.html").read_text()
    assert "Gaps" not in html and "Out-of-target properties" in html and "Plan and outcome" in html


def test_more_simulations_keep_those_there_are(evaluated, study, labelled):
    file, out, _ = evaluated
    first = {path: path.stat().st_mtime_ns for path in out.glob("evaluations/stability/*/*K-0.json")}
    assert len(first) == 6
    entries = yaml.safe_load(file.read_text())
    entries["stability"]["runs"] = 2
    file.write_text(yaml.safe_dump(entries))
    assert run_study(file, out, "--jobs", "2")[0] == 0
    assert len(list(out.glob("evaluations/stability/*/*K-1.json"))) == 6
    assert {path: path.stat().st_mtime_ns for path in first} == first
    entry = json.loads((out / "report.json").read_text())["stability"][0]
    assert len(entry["survived"]) == 2


def test_failed_evaluation_is_a_gap(evaluated, tmp_path):
    """A reference that cannot be made fails with its log; trainings and models are not touched."""
    file, finished, _ = evaluated
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "evaluations" / "properties")
    entries = yaml.safe_load(file.read_text())
    entries["reference"]["calculator"]["element"] = "Xx"
    broken = file.with_name("broken.yaml")
    broken.write_text(yaml.safe_dump({key: value for key, value in entries.items() if key != "stability"}))
    shutil.rmtree(out / "grid")  # the configs name the other folder's files
    code, printed = run_study(broken, out)
    assert code == 1 and "failed: properties of reference (its log: " in printed
    html = (out / "report.html").read_text()
    assert "<code>properties of reference</code>: failed" in html and "no Stillinger-Weber parameters" in html
    assert "properties of scratch-n6-seed0" not in html.split("</h2>")[0]


def test_hydras_launchers(evaluated, tmp_path):
    """An evaluation as a job, in a process of its own; a study takes over what it finds."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    file, finished, _ = evaluated
    out = tmp_path / "out"
    shutil.copytree(finished / "runs", out / "runs")
    shutil.copytree(finished / "structures", out / "structures")
    code, printed = run_study(file, out, "--prepare")
    assert code == 0 and "measure.job -cp" in printed
    done = "plan-corresponding_states-n6-seed0"
    jobs = ["--multirun", "hydra/launcher=submitit_local", f"+evaluation={done}"]
    options = ["-cp", out / "grid", "-cn", "evaluations", *jobs]
    run(Path(sys.executable).name, "-m", "nequip_elemtransfer.study.measure.job", *options, cwd=tmp_path)
    (task,) = (task for task in evaluation_tasks(Grid.read(out), out) if task.is_finished())
    assert f"{task.kind}-{task.model}" == done
    results = [json.loads((o / task.folder.relative_to(out) / "result.json").read_text()) for o in (out, finished)]
    assert results[0]["verdict"] == results[1]["verdict"]
