"""What ``make demo`` prints; the demo itself takes minutes, and is made of commands that other tests run."""

import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "demo")
    import results

    yield results
    del sys.modules["results"], sys.modules["logs"]


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "demo")
    import demo

    yield demo
    for name in ("demo", "results", "logs"):
        del sys.modules[name]


def test_the_silicon_of_a_demo_that_failed_is_taken(demo, tmp_path, capsys):
    """Of the same data, once it is tested; nothing is written over."""
    out = tmp_path / "demo"
    assert demo.trained_silicon(demo.set_aside(out), "sw") is None
    silicon = out / "si"
    for folder in (".hydra", "metrics"):
        (silicon / folder).mkdir(parents=True)
    job = {"job": {"config_name": "sw_si"}}
    (silicon / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": job}))
    (silicon / "metrics" / "metrics.csv").write_text("step,test0_epoch/forces_mae\n10,\n")
    assert demo.trained_silicon(out, "sw") is None
    (silicon / "metrics" / "metrics.csv").write_text("step,test0_epoch/forces_mae\n10,0.1\n")
    assert demo.trained_silicon(out, "mlearn") is None
    kept = demo.set_aside(out)
    assert demo.trained_silicon(kept, "sw") == tmp_path / "demo-1" / "si"
    assert capsys.readouterr().out.endswith("the silicon model is that of demo-1\n")
    (kept / "summary.json").touch()
    assert demo.trained_silicon(kept, "sw") is None


def test_processes_of_the_demo_wait_asleep(demo, tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    settings = demo.Demo(tmp_path, "sw", None, tmp_path / "si")
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        process = demo.start(settings, "python", ["python", "-c", "import os; print(os.environ['OMP_WAIT_POLICY'])"])
        demo.wait(process)
        assert process.log.read_text() == f"{expected}\n"


def errors(force):
    return {"force_mae_eV_per_A": force, "energy_mae_eV_per_atom": 0.0077, "stress_mae_eV_per_A3": 0.00222}


def test_report(results):
    """The source's entry says more than its errors."""
    starts = {"element_map_only": 0.3175, "zero_shot": 0.2778, "scratch": 0.1345, "transfer": 0.0949}
    target = {"element": "Ge", "n_train": 10} | {name: errors(force) for name, force in starts.items()}
    crystal = {"a_angstrom": 5.6438, "C11_GPa": 132.4, "C12_GPa": 50.3, "C44_GPa": 52.9, "vacancy_eV": 2.309}
    summary = {
        "source": {"element": "Si", "steps": 4000} | errors(0.10538),
        "seeds": {"0": {"target": target, "steps": 1000, "steps_to_scratch_accuracy": 99}},
        "crystals": {"Ge by transfer, crystal": crystal},
        "deployed": {"max_force_difference_eV_per_A": 8.8e-07, "md_steps": 500, "md_temperature_K": 303.0},
        "wall_seconds": 600.0,
    }
    lines = results.report(summary).splitlines()
    assert lines[-1].startswith("TorchScript differs from eager by 8.8e-07 eV/Å; 500 MD steps at 303 K")
    rows = {line[:38].strip(): line[38:].split() for line in lines}
    assert rows["Si, the source"] == ["105.4", "7.7", "2.22"]
    names = ("untrained", "from scratch", "by transfer")
    assert [rows[f"Ge {name}"][0] for name in names] == ["277.8", "134.5", "94.9"]
    assert rows["Ge untrained, element map alone"][0] == "317.5"
    assert rows["Ge by transfer, crystal"] == ["5.644", "132", "50", "53", "2.31"]
