"""Properties, stability and plans of a study: what is asked for, what is run, and how results are compared."""

import hashlib
import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from nequip_elemtransfer.refusal import RefusedFile
from nequip_elemtransfer.study.config.evaluation_settings import EvaluationSettings
from nequip_elemtransfer.study.folder import State
from nequip_elemtransfer.study.grid import Grid, Run
from nequip_elemtransfer.study.measure import model_calculator
from nequip_elemtransfer.study.measure.evaluation import evaluation_tasks
from nequip_elemtransfer.study.measure.kept import is_kept, keep, made_from
from nequip_elemtransfer.study.measure.model_calculator import trained_calculator
from nequip_elemtransfer.study.measure.plan import source_of
from nequip_elemtransfer.study.measure.properties import EOS_RATIOS
from nequip_elemtransfer.study.report.forecasts import forecasts
from nequip_elemtransfer.study.report.page import write_report
from nequip_elemtransfer.study.report.property_errors import properties, reference_values
from nequip_elemtransfer.study.report.results import RunResult
from nequip_elemtransfer.study.report.survival import survival, survival_curve
from nequip_elemtransfer.study.run.metrics import Validation

CRYSTAL = {"structure": "diamond", "formula": "Ge", "a": 5.66}
EMT = {"_target_": "ase.calculators.emt.EMT"}
MOLECULES = {"file": "Ge_minima.xyz", "element": "Ge"}
STARTS, SIZES, SEEDS = ("scratch", "corresponding_states"), (5, 10), (0, 1)


def grid(**evaluations):
    runs = []
    for start in STARTS:
        for size in SIZES:
            for seed in SEEDS:
                settings = {"start": start, "model": "default", "train_on": "default", "size": size, "seed": seed}
                transfers = start != "scratch"
                runs.append(Run(f"{start}-n{size}-seed{seed}", settings, "c.yaml", (), transfers=transfers))
    return Grid(tuple(runs), evaluations=evaluations)


def put(out, part, model, name="result.json", **content):
    folder = out / "evaluations" / part / model
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"settings": {}} | content))


@pytest.mark.parametrize(
    "entries, sentence",
    [
        ({"properties": {}}, "`properties` needs `crystal`"),
        ({"crystal": {"structure": "diamond", "formula": "Ge"}}, "`crystal` needs `a`"),
        ({"crystal": CRYSTAL | {"a": -1}}, "`crystal.a` must be positive, found -1"),
        ({"crystal": CRYSTAL | {"structure": "hcp"}}, "hcp"),
        (
            {"crystal": {"structure": "zincblende", "formula": "GeSi", "a": 5.6}, "properties": {}},
            "one element, not GeSi",
        ),
        ({"crystal": CRYSTAL, "molecules": MOLECULES}, "has `crystal` or `molecules`, not both"),
        ({"molecules": MOLECULES, "properties": {}}, "`properties` of `molecules` need `reference.calculator`"),
        ({"molecules": {"file": "a.xyz"}}, "`molecules` needs `element`"),
        ({"molecules": MOLECULES | {"element": "Gr"}}, "`molecules.element` is 'Gr', which is no chemical element"),
        ({"molecules": MOLECULES | {"labels": ["alkyl"]}}, "`molecules.labels` must be a mapping"),
        (
            {"molecules": MOLECULES, "stability": {"starts": ["crystal"], "temperatures": [9]}},
            "`stability` needs `crystal`",
        ),
        ({"reference": {"calculator": "EMT"}}, "`reference.calculator` must describe an ASE calculator"),
        ({"reference": {"values": {"c11": 3}}}, "no key 'c11'; did you mean 'C11'?"),
        ({"crystal": CRYSTAL, "properties": {"surfaces": ["211"]}}, "choose from 100, 110, 111"),
        ({"crystal": CRYSTAL, "properties": {"supercell": 0}}, "`properties.supercell` has 0"),
        ({"crystal": CRYSTAL, "properties": {"sizes": []}}, "`properties.sizes` must be a list"),
        ({"crystal": CRYSTAL, "stability": {}}, "`stability` needs `starts`"),
        ({"crystal": CRYSTAL, "stability": {"starts": ["crystal"]}}, "needs `temperatures` in K"),
        (
            {"crystal": CRYSTAL, "stability": {"starts": ["liquid"], "temperatures": [9]}},
            "`stability.starts.liquid` needs `file`",
        ),
        (
            {"crystal": CRYSTAL, "stability": {"starts": ["crystal"], "temperatures": [9], "ensemble": "nve"}},
            "`stability.ensemble` is 'nve': choose nvt or npt",
        ),
        (
            {"crystal": CRYSTAL, "stability": {"starts": ["crystal"], "temperatures": [9], "criteria": {"hotest": 2}}},
            "did you mean 'hottest'?",
        ),
        ({"plan": {"size": [5]}}, "`plan` has no key 'size'; did you mean 'sizes'?"),
    ],
)
def test_bad_entries_are_one_sentence(entries, sentence):
    with pytest.raises(ValueError) as error:
        EvaluationSettings.from_mapping(entries)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_missing_files():
    liquid = {"file": "nowhere.xyz", "temperatures": [1500]}
    found = EvaluationSettings.from_mapping({"crystal": CRYSTAL, "stability": {"starts": {"liquid": liquid}}})
    with pytest.raises(FileNotFoundError, match="`stability.starts.liquid.file` names 'nowhere.xyz', which"):
        found.check_files()
    with pytest.raises(FileNotFoundError, match="`plan.source_data` names 'nowhere.xyz'"):
        EvaluationSettings.from_mapping({"plan": {"source_data": "nowhere.xyz"}}).check_files()


def test_tasks(tmp_path):
    """The reference first where it has a calculator, then the chosen sizes; a plan for each transfer, once."""
    study = grid(
        crystal=CRYSTAL,
        reference={"calculator": EMT},
        properties={"sizes": ["all"]},
        stability={"sizes": [5], "starts": ["crystal"], "temperatures": [300]},
        plan=True,
    )
    names = [task.name for task in evaluation_tasks(study, tmp_path)]
    assert names == [
        "properties of reference",
        *(f"properties of {start}-n10-seed{seed}" for start in STARTS for seed in SEEDS),
        "stability of reference",
        *(f"stability of {start}-n5-seed{seed}" for start in STARTS for seed in SEEDS),
        *(f"plan of corresponding_states-n{n}-seed0" for n in SIZES),
    ]
    needs = {task.name: task.needs for task in evaluation_tasks(study, tmp_path)}
    assert needs["properties of reference"] == needs["plan of corresponding_states-n5-seed0"] == ()
    assert needs["stability of scratch-n5-seed1"] == ("scratch-n5-seed1",)


def test_finished_for_its_settings(tmp_path):
    """More runs, or another crystal, are work to do; another choice of models is not."""

    def first(**stability):
        settings = {"starts": ["crystal"], "temperatures": [300], "runs": 2} | stability
        return evaluation_tasks(grid(crystal=CRYSTAL, stability=settings), tmp_path)[0]

    task = first()
    task.make_ready()
    task.mark_finished()
    assert first().is_finished() and first(sizes=[5]).is_finished()
    assert not first(runs=3).is_finished() and not first(time=1.0).is_finished()


def test_results_for_other_settings_are_moved_aside(tmp_path):
    path = tmp_path / "crystal-300K-0.json"
    keep(path, {"survived": 1.0}, {"time": 1.0, "sizes": (1, 2)})
    assert is_kept(path, {"time": 1.0, "sizes": (1, 2)}) and not is_kept(path, {"time": 2.0, "sizes": (1, 2)})
    keep(path, {"survived": 2.0}, {"time": 2.0})
    assert json.loads(path.read_text())["survived"] == 2.0
    assert json.loads((tmp_path / "crystal-300K-0.before_1.json").read_text())["survived"] == 1.0


def train(out, run, content):
    """Puts a checkpoint where the training of a run leaves it."""
    (out / "runs" / run).mkdir(parents=True, exist_ok=True)
    (out / "runs" / run / "best.ckpt").write_bytes(content)


def test_not_finished_for_another_model(tmp_path):
    """A model that was trained again is evaluated again, one that is bit for bit the same is not."""
    study = grid(crystal=CRYSTAL, reference={"calculator": EMT}, properties={"sizes": [5]})
    reference, task, *_ = evaluation_tasks(study, tmp_path)
    for content in (b"first", b"second"):
        train(tmp_path, task.model, content)
        assert not task.is_finished()
        for each in (task, reference):
            each.make_ready()
            each.mark_finished()
        train(tmp_path, task.model, content)
        assert task.is_finished() and reference.is_finished()
    train(tmp_path, task.model, b"first")
    assert not task.is_finished() and reference.is_finished()


def test_a_plan_is_of_the_source_that_it_read(tmp_path):
    study = grid(plan=True)
    task = evaluation_tasks(study, tmp_path)[0]
    config = tmp_path / "grid" / "training" / f"{task.model}.yaml"
    config.parent.mkdir(parents=True)
    source = tmp_path / "si.ckpt"
    config.write_text(yaml.safe_dump({"element_transfer": {"source": str(source), "elements": {"Ge": "Si"}}}))
    source.write_bytes(b"first")
    task.make_ready()
    task.mark_finished()
    assert task.is_finished()
    train(tmp_path, task.model, b"any")  # is not what the plan is of
    assert task.is_finished()
    source.write_bytes(b"second")
    assert not task.is_finished()


@pytest.mark.parametrize(
    "key, source",
    [
        ({"element_transfer": {"source": "${name}", "elements": {}}, "name": "si.ckpt"}, Path("si.ckpt")),
        ({"element_transfer": {"source": "nequip.net:group/model:1"}}, Path("nequip.net:group/model:1")),
        ({"element_transfer": {"source": "${oc.env:NO_SUCH_VARIABLE}"}}, None),
        ({"training_module": {}}, None),
        (None, None),
    ],
)
def test_sources_as_configs_name_them(tmp_path, key, source):
    if key is not None:
        (tmp_path / "grid" / "training").mkdir(parents=True)
        (tmp_path / "grid" / "training" / "run.yaml").write_text(yaml.safe_dump(key))
    assert source_of(tmp_path, "run") == source and made_from(tmp_path, "plan", "run") == {}


def test_results_of_another_model_are_not_reported(tmp_path):
    """Neither properties nor simulations; they are gaps, and stay where they are until they are made anew."""
    stability = {"sizes": [10], "starts": ["crystal"], "temperatures": [600], "runs": 1, "time": 4.0}
    study = grid(crystal=CRYSTAL, properties={"sizes": [10]}, stability=stability)
    study.write(tmp_path)
    run = "scratch-n10-seed0"
    task = next(task for task in evaluation_tasks(study, tmp_path) if task.name == f"properties of {run}")
    task.make_ready()
    for content in (b"first", b"second"):
        train(tmp_path, run, content)
        settings = made_from(tmp_path, "properties", run)
        assert settings == {"checkpoint": hashlib.sha256(content).hexdigest()}
        put(tmp_path, "properties", run, settings=settings, values={"C11": 100.0}, failed={})
        simulation = {"survived": 4.0, "failure": None}
        put(tmp_path, "stability", run, "crystal-600K-0.json", settings=settings, **simulation)
        task.mark_finished()
        assert len(properties(study, tmp_path)) == len(survival(study, tmp_path)) == 1
        train(tmp_path, run, b"again")
        assert properties(study, tmp_path) == survival(study, tmp_path) == []
    write_report(tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert f"<code>properties of {run}</code>: made with other settings or of another model" in html


def test_a_model_is_compiled_once_for_each_checkpoint(tmp_path, monkeypatch):
    compiled = []

    def compiler(command, **options):
        compiled.append(Path(command[3]).read_bytes())
        Path(command[4]).write_bytes(b"compiled " + compiled[-1])
        return subprocess.CompletedProcess(command, 0)

    for gate in ("require_loadable", "require_loadable_data"):  # these files only stand for checkpoints
        monkeypatch.setattr(model_calculator, gate, lambda path, vouched: None)
    monkeypatch.setattr(model_calculator.subprocess, "run", compiler)
    load = model_calculator.NequIPCalculator
    monkeypatch.setattr(load, "from_compiled_model", lambda path, *_, **__: Path(path).read_bytes())
    checkpoint = tmp_path / "best.ckpt"
    for content in (b"first", b"first", b"second", b"second"):
        checkpoint.write_bytes(content)
        assert trained_calculator(checkpoint, "aotinductor", tmp_path) == b"compiled " + content
    assert compiled == [b"first", b"second"]
    (file,) = tmp_path.glob("*.nequip.pt2")  # the other is of no more use
    assert hashlib.sha256(b"second").hexdigest()[:16] in file.name


@pytest.mark.parametrize("engine", ["eager", "aotinductor"])
def test_a_model_that_is_no_plain_data_is_not_loaded(tmp_path, engine):
    (tmp_path / "best.ckpt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(RefusedFile, match="best.ckpt' is damaged, truncated or not a checkpoint"):
        trained_calculator(tmp_path / "best.ckpt", engine, tmp_path)


@pytest.fixture
def compared(tmp_path):
    """Transfer: nearer in a, further in C11, C44 between scratch's seeds; one vacancy failed; curves known."""
    study = grid(
        crystal=CRYSTAL,
        reference={"calculator": EMT, "values": {"C44": 60.0}},
        properties={"sizes": [10]},
    )
    study.write(tmp_path)

    def bands(shift):
        return {
            "x": [0, 1],
            "frequencies": [[0 + shift, 1 + shift], [2 + shift, 3 + shift]],
            "ticks": [0, 1],
            "labels": ["G", "X"],
        }

    def curve(factor):
        return {"volumes": list(20 * EOS_RATIOS), "energies": [factor * (x - 1) ** 2 - 4 for x in EOS_RATIOS]}

    def values(a, c11, c44):
        return {"lattice_constant": a, "C11": c11, "C44": c44}

    reference = values(5.70, 120.0, 1.0)
    put(tmp_path, "properties", "reference", values=reference, failed={}, phonons=bands(0), equation_of_state=curve(1))
    for seed in SEEDS:
        put(
            tmp_path,
            "properties",
            f"scratch-n10-seed{seed}",
            values=values(5.60 + 0.01 * seed, 119.0, 50.0 + 20 * seed),
            failed={},
            phonons=bands(1.0),
            equation_of_state=curve(2),
        )
        put(
            tmp_path,
            "properties",
            f"corresponding_states-n10-seed{seed}",
            values=values(5.71 - 0.02 * seed, 100.0, 62.0 + 20 * seed),
            failed={"vacancy_formation_energy": "RuntimeError: it moved"} if seed else {},
            phonons=bands(-0.5),
            equation_of_state=curve(1),
        )
    return study, tmp_path


def test_properties_beside_the_reference(compared):
    study, out = compared
    # what the study says goes before what its calculator gives
    assert reference_values(study, out) == {"lattice_constant": 5.70, "C11": 120.0, "C44": 60.0}
    scratch, transfer = properties(study, out)
    assert (scratch.start, transfer.start, transfer.size) == ("scratch", "corresponding_states", 10)
    nearer = {name: quantity.difference for name, quantity in transfer.quantities.items()}
    assert nearer.pop("vacancy_formation_energy") is None  # no reference
    # |a - 5.70| = 0.01, 0.01 against 0.09, 0.10
    assert nearer["lattice_constant"].mean == pytest.approx(-0.085) and nearer["lattice_constant"].high < 0
    assert nearer["C11"].mean > 0
    assert nearer["C44"].low < 0 < nearer["C44"].high
    assert (nearer["phonons"].low, nearer["phonons"].high) == (pytest.approx(-0.5), pytest.approx(-0.5))
    assert nearer["equation_of_state"].relative == pytest.approx(-1.0)
    assert all(quantity.difference is None for quantity in scratch.quantities.values())
    assert transfer.quantities["lattice_constant"].errors.mean == pytest.approx(0.01)
    assert transfer.quantities["phonons"].values.mean == pytest.approx(0.5)  # THz, all bands lower by that
    assert transfer.quantities["equation_of_state"].values.mean == 0.0
    # root mean square of (x - 1)², in meV
    expected = 1000 * ((EOS_RATIOS - 1) ** 4).mean() ** 0.5
    assert scratch.quantities["equation_of_state"].values.mean == pytest.approx(expected)
    assert transfer.quantities["vacancy_formation_energy"].failed == {1: "RuntimeError: it moved"}


def test_report_of_properties(compared):
    study, out = compared
    write_report(out)
    html = (out / "report.html").read_text()
    assert "Out-of-target properties" in html and "it moved" in html and "Stability" not in html
    assert "5.700 ± 0.014 <span" in html and "[−0.085 (−0.15 to −0.021)]" in html
    assert "vacancy_formation_energy of corresponding_states, seed 1: RuntimeError: it moved" in html
    report = json.loads((out / "report.json").read_text())
    assert report["reference"]["C44"] == 60.0 and len(report["properties"]) == 2
    for name in ("equation_of_state", "phonons"):
        assert (out / f"{name}-10-structures.png").read_bytes()[:4] == b"\x89PNG"


def test_survival(tmp_path):
    """Two models from scratch lose 1 and 2 of 2 runs, the transferred ones none; structure beside the reference."""
    settings = {"sizes": [10], "starts": ["crystal"], "temperatures": [600], "runs": 2, "time": 4.0}
    study = grid(crystal=CRYSTAL, reference={"calculator": EMT}, stability=settings)
    study.write(tmp_path)
    flat = {"rdf": [1.0] * 100, "adf": [0.0] * 90, "msd": [0.1] * 3}

    def simulation(model, index, survived=4.0, failure=None, **seen):
        name = f"crystal-600K-{index}.json"
        put(tmp_path, "stability", model, name, survived=survived, failure=failure, **seen)

    simulation("reference", 0, **flat)
    for seed in SEEDS:
        simulation(f"scratch-n10-seed{seed}", 0, 1.0 + seed, "hottest")
        simulation(f"corresponding_states-n10-seed{seed}", 0, **flat | {"rdf": [1.25] * 100})
        simulation(f"corresponding_states-n10-seed{seed}", 1, **flat | {"rdf": [1.25] * 100})
    simulation("scratch-n10-seed0", 1, **flat)
    simulation("scratch-n10-seed1", 1, 3.0, "shortest_bond")

    scratch, transfer = survival(study, tmp_path)
    assert scratch.survived == (1.0, 4.0, 2.0, 3.0) and scratch.survivors == 1
    assert scratch.failures == {"hottest": 2, "shortest_bond": 1}
    assert (scratch.failed_share.low, scratch.failed_share.high) == (0.5, 1.0)
    assert transfer.survivors == 4 and transfer.failures == {} and transfer.failed == (False,) * 4
    assert transfer.difference.mean == -0.75  # -0.5 and -1
    # Wilson, J. Am. Stat. Assoc. 22, 209 (1927), for 4 of 4: 1 / (1 + z²/4)
    assert transfer.survived_interval == (pytest.approx(1 / (1 + 1.959964**2 / 4)), 1.0)
    assert transfer.structure["rdf"].mean == pytest.approx(0.25) and transfer.structure["msd"].mean == 0.0
    assert scratch.structure["rdf"].count == 1  # of one survivor alone
    rdf = transfer.structure_differences["rdf"]  # seed by seed
    assert (rdf.mean, rdf.count, rdf.low) == (pytest.approx(0.25), 1, None)
    assert transfer.structure_noise == {}
    write_report(tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert ">1 of 4</td><td>0.05 to 0.70</td><td></td><td>hottest (2) shortest_bond (1) </td>" in html
    for name in ("survival", "rdf", "adf", "msd"):
        assert (tmp_path / f"{name}-10-structures.png").exists()


def test_survival_curve():
    """Kaplan and Meier: 3 of 4 go on after 1 ps, 2 of 3 of these after 2 ps; none fails at the end."""
    curve = survival_curve([4.0, 1.0, 4.0, 2.0], [False, True, False, True])
    np.testing.assert_allclose(curve["times"], [0.0, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(curve["shares"], [1.0, 0.75, 0.5, 0.5])
    # log(-log S) ± z s, s² = Σ d / (n (n - d)) / log² S
    spread = 1.959964 * math.sqrt(1 / 12 + 1 / 6) / math.log(0.5)
    np.testing.assert_allclose(curve["low"][2], 0.5 ** math.exp(-spread), rtol=1e-6)
    np.testing.assert_allclose(curve["high"][2], 0.5 ** math.exp(spread), rtol=1e-6)
    np.testing.assert_allclose(survival_curve([4.0], [False])["shares"], [1.0, 1.0])


def test_noise_of_structure_functions(tmp_path):
    """Of three simulations at g = 0, 1 and 2 each deviates from the mean of the others by 1.5, 0 and 1.5."""
    settings = {"sizes": [10], "starts": ["crystal"], "temperatures": [600], "runs": 3, "time": 4.0}
    study = grid(crystal=CRYSTAL, reference={"calculator": EMT}, stability=settings)
    for index in range(3):
        seen = {"survived": 4.0, "failure": None, "rdf": [float(index)] * 100}
        for model in ("reference", "scratch-n10-seed0"):
            put(tmp_path, "stability", model, f"crystal-600K-{index}.json", **seen)
    (scratch,) = survival(study, tmp_path)
    assert scratch.structure_noise == {"rdf": pytest.approx(1.0)} and scratch.structure["rdf"].mean == 0.0


@pytest.mark.parametrize(
    "word, after, agrees", [("go", 0.05, True), ("go with care", 0.2, False), ("do not", 0.2, True), ("go", None, None)]
)
def test_forecast(tmp_path, word, after, agrees):
    study = grid(plan={"sizes": [10]})
    ladder = [{"name": str(i), "force_mae": {"value": 0.1 * i}} for i in range(5)]
    verdict = {"word": word, "numbers": {"unexplained": 0.03, "map alone": 0.5, "auc": 0.6}}
    put(tmp_path, "plan", "corresponding_states-n10-seed0", rescales=True, ladder=ladder, verdict=verdict)
    results = []
    for run in study.runs:
        error = after if run.transfers else 0.1
        tests = {} if error is None else {"all": {"forces_mae": error}}
        history = (Validation(0, 0.0, 0.07, 0.01),)
        results.append(RunResult(run, tmp_path, State.FINISHED, "", history, tests))
    (forecast,) = forecasts(study, tmp_path, results)
    assert (forecast.verdict, forecast.unexplained, forecast.auc) == (word, 0.03, 0.6)
    assert (forecast.predicted, forecast.before, forecast.after, forecast.scratch) == (0.4, 0.07, after, 0.1)
    assert forecast.agrees is agrees
    put(tmp_path, "plan", "corresponding_states-n10-seed0", rescales=False, ladder=ladder, verdict=verdict)
    assert forecasts(study, tmp_path, results)[0].predicted == 0.1  # the element map alone
