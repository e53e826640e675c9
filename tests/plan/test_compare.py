"""``plan --compare``: calculators of which the errors are known, beside a start that is exact."""

import json

import ase.io
import numpy as np
import pytest
from units import ENERGY, LENGTH, SHIFT

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.plan import PlanOptions, plan
from nequip_elemtransfer.plan.making import compare_alone
from nequip_elemtransfer.plan.report.html import html_report
from nequip_elemtransfer.plan.report.summary import summary

KNOWN = '''
import time

import ase.io
import numpy as np

from ase.calculators.calculator import Calculator, all_changes


class Known(Calculator):
    """Labels that the structures of a file hold, times a factor and with another zero of energy.

    without: labels that it lacks; fails: on structures with fewer atoms than this; waits: seconds, doing nothing.
    """

    def __init__(self, factor=1.0, zero=0.0, without=(), fails=0, waits=0.0):
        super().__init__()
        self.factor, self.zero, self.fails, self.waits = factor, zero, fails, waits
        self.implemented_properties = [name for name in ("energy", "forces", "stress") if name not in without]
        self.known = {}
        for atoms in ase.io.read("labels.xyz", ":"):
            self.known[round(float(atoms.positions.sum()), 6)] = dict(atoms.calc.results)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(self.waits)
        if len(atoms) < self.fails:
            raise RuntimeError("too small")
        nothing = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}  # moved, to be timed
        results = self.known.get(round(float(atoms.positions.sum()), 6), nothing)
        found = {name: self.factor * results[name] for name in self.implemented_properties}
        found["energy"] += self.zero * len(atoms)
        self.results = found
'''


@pytest.fixture
def files(source, crystals, tmp_path, monkeypatch):
    """Structures that the source explains exactly in other units, and a calculator that knows their labels."""
    structures = crystals(source, "Ge", 10, 5.5 * LENGTH)
    ase.io.write(tmp_path / "ge.xyz", structures)
    monkeypatch.setattr("nequip_elemtransfer.plan.making.load_source", lambda path: source)
    monkeypatch.setattr("nequip_elemtransfer.plan.making.source_structures", lambda *_: ([], "none is at hand"))
    ase.io.write(tmp_path / "labels.xyz", structures)
    (tmp_path / "known.py").write_text(KNOWN)
    monkeypatch.chdir(tmp_path)

    def describe(name, **arguments):
        lines = ["_target_: known.Known", *(f"{key}: {value}" for key, value in arguments.items())]
        (tmp_path / f"{name}.yaml").write_text("\n".join(lines) + "\n")
        return str(tmp_path / f"{name}.yaml")

    return tmp_path, describe


def test_what_is_fitted_is_found(files):
    """A calculator off by a factor and a zero is wrong as it is, better with its zero, exact with its scale."""
    folder, describe = files
    made = plan(
        "si.ckpt",
        folder / "ge.xyz",
        PlanOptions(elements={"Ge": "Si"}, compare={"half": describe("half", factor=0.5, zero=2.0)}),
    )
    raw, zero, scaled = made.comparison.rows[0].steps
    assert [step.name for step in (raw, zero, scaled)] == [
        "half",
        "half, energy zero fitted",
        "half, energy scale fitted",
    ]
    labels = [atoms.get_forces() for atoms in ase.io.read(folder / "ge.xyz", ":")]
    assert raw.force_mae.value == pytest.approx(0.5 * np.abs(np.concatenate(labels)).mean(), rel=1e-9)
    assert zero.force_mae.value == raw.force_mae.value
    energies = [atoms.get_potential_energy() / len(atoms) for atoms in ase.io.read(folder / "ge.xyz", ":")]
    assert raw.energy_mae.value == pytest.approx(np.mean([abs(2.0 - 0.5 * e) for e in energies]), rel=1e-9)
    assert 0 < zero.energy_mae.value < 0.2 * raw.energy_mae.value
    assert raw.energy_mae_refitted.value == zero.energy_mae.value
    for error in (scaled.force_mae, scaled.energy_mae, scaled.stress_mae):
        assert error.value == pytest.approx(0, abs=1e-9)
    assert made.comparison.cost.clock > 0 and made.comparison.rows[0].cost.clock > 0
    assert made.comparison.atoms == 8


def test_terminal_page_and_json_name_the_better_start(files):
    folder, describe = files
    bad = describe("bad", factor=-1.0)
    made = plan("si.ckpt", folder / "ge.xyz", PlanOptions(elements={"Ge": "Si"}, compare={"bad": bad}))
    assert "The better start in forces is this start" in made.comparison.better
    assert "A step costs, in steps of this start: bad " in made.comparison.better
    for text in (summary(made), html_report(made)):
        assert "bad, energy zero fitted" in text and "The better start in forces is this start" in text
    row = made.to_dict()["comparison"]["rows"][0]
    assert row["name"] == "bad" and row["steps"][2]["force_mae"]["value"] > 0
    assert SHIFT != 0 and ENERGY != 1  # or the fits had nothing to find
    assert plan("si.ckpt", folder / "ge.xyz", PlanOptions(elements={"Ge": "Si"})).comparison is None


def test_what_a_calculator_lacks(files):
    """No stress: no stress error. Fails on some structures: named, and the errors are those of the others."""
    folder, describe = files
    structures = ase.io.read(folder / "ge.xyz", ":")
    structures[2] = structures[2][:4]
    structures[2].calc = None
    ase.io.write(folder / "ge.xyz", structures)
    options = {"stressless": describe("stressless", without="[stress]"), "large": describe("large", fails=6)}
    made = plan("si.ckpt", folder / "ge.xyz", PlanOptions(elements={"Ge": "Si"}, compare=options))
    stressless, large = made.comparison.rows
    assert stressless.steps[0].stress_mae is None and stressless.steps[0].force_mae.value == pytest.approx(0, abs=1e-9)
    assert large.failed == {2: "RuntimeError: too small"}
    assert large.steps[0].force_mae.value == pytest.approx(0, abs=1e-9)
    assert any(
        note.startswith("large has no labels of 1 structures, the first no. 2 (RuntimeErr") for note in made.notes
    )


@pytest.mark.parametrize(
    "argument, sentence",
    [
        ("emt=nowhere.yaml", "'nowhere.yaml' does not exist: give a YAML file with a calculator"),
        ("emt", "--compare takes pairs"),
        (
            "emt=emt.yaml",
            "--compare emt has labels of none of the 10 structures: NotImplementedError: No EMT-potential",
        ),
        ("none=none.yaml", "--compare none cannot be made from"),
    ],
)
def test_bad_input(files, capsys, monkeypatch, argument, sentence):
    folder, _ = files
    monkeypatch.chdir(folder)
    (folder / "emt.yaml").write_text("_target_: ase.calculators.emt.EMT\n")
    (folder / "none.yaml").write_text("_target_: no_such_package.Model\n")
    assert (
        main(["plan", "nequip.net:group/si:1", "ge.xyz", "--elements", "Ge=Si", "--compare", argument, "--out", "made"])
        == 2
    )
    assert sentence in capsys.readouterr().err and not (folder / "made").exists()


def test_without_a_source_the_errors_are_the_same(files):
    """The folds are those of the plan, so what is fitted outside each is too."""
    folder, describe = files
    options = {"half": describe("half", factor=0.5, zero=2.0), "exact": describe("exact")}
    beside = plan("si.ckpt", folder / "ge.xyz", PlanOptions(elements={"Ge": "Si"}, compare=options))
    alone = compare_alone(folder / "ge.xyz", PlanOptions(compare=options))
    assert alone.baseline == beside.ladder[0]
    assert [row.steps for row in alone.comparison.rows] == [row.steps for row in beside.comparison.rows]
    assert list(alone.comparison.costs) == ["half", "exact"] and all(alone.comparison.costs.values())
    assert alone.comparison.better.startswith("The better start in forces is ")


def test_a_call_that_waits_costs_time_and_no_processor(files):
    folder, describe = files
    (row,) = compare_alone(
        folder / "ge.xyz", PlanOptions(compare={"waits": describe("waits", waits=0.1)})
    ).comparison.rows
    assert row.cost.clock >= 1000 * 0.1 / 8  # ms per atom
    assert row.cost.clock - row.cost.processor >= 0.9 * 1000 * 0.1 / 8


def test_command_without_a_source(files, capsys):
    folder, describe = files
    half = describe("half", factor=0.5, zero=2.0)
    assert main(["plan", "none", "ge.xyz", "--compare", f"half={half}", "--out", "made"]) == 0
    printed = capsys.readouterr().out
    assert "half, energy scale fitted" in printed and "this start" not in printed
    assert {path.name for path in (folder / "made").iterdir() if path.suffix} == {"report.json", "report.html"}
    report = json.loads((folder / "made" / "report.json").read_text())
    assert report["comparison"]["rows"][0]["steps"][2]["force_mae"]["value"] == pytest.approx(0, abs=1e-9)
    page = (folder / "made" / "report.html").read_text()
    assert "half, energy zero fitted" in page and "this start" not in page


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([], "without a source there is nothing to do but --compare"),
        (
            ["--compare", "a=half.yaml", "--elements", "Ge=Si", "--fit"],
            "without a source, --elements, --fit mean nothing",
        ),
        (["--compare", "a=nowhere.yaml"], "'nowhere.yaml' does not exist"),
        (["--compare", "a=half.yaml", "--max-structures", "0"], "max_structures must be at least 1"),
    ],
)
def test_bad_input_without_a_source(files, capsys, arguments, sentence):
    folder, describe = files
    describe("half")
    assert main(["plan", "none", "ge.xyz", *arguments, "--out", "made"]) == 2
    assert sentence in capsys.readouterr().err and not (folder / "made" / "report.json").exists()


def test_structures_without_labels_and_without_a_source(files):
    folder, describe = files
    structures = ase.io.read(folder / "ge.xyz", ":")
    for atoms in structures:
        atoms.calc = None
    ase.io.write(folder / "bare.xyz", structures)
    with pytest.raises(ValueError, match="no structure has energies, forces or stresses"):
        compare_alone(folder / "bare.xyz", PlanOptions(compare={"a": describe("half")}))
