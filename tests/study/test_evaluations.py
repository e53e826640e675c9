"""Properties, stability and plans of a study: what is asked for, what is run, and how results are compared."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from evaluated_grid import CRYSTAL, EMT, SEEDS, SIZES, STARTS, grid, put

from nequip_elemtransfer.output.refusal import RefusedFile
from nequip_elemtransfer.study.config.evaluation_settings import EvaluationSettings, PlanSettings, PropertySettings
from nequip_elemtransfer.study.measure import one_evaluation
from nequip_elemtransfer.study.measure.evaluation import evaluation_tasks, has_result, made_from, write_result
from nequip_elemtransfer.study.measure.one_evaluation import trained_calculator
from nequip_elemtransfer.study.measure.plan import source_of
from nequip_elemtransfer.study.report.page import write_report
from nequip_elemtransfer.study.report.property_errors import properties
from nequip_elemtransfer.study.report.survival import survival

MOLECULES = {"file": "Ge_minima.xyz", "element": "Ge"}


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


def test_true_asks_for_all_of_a_part():
    found = EvaluationSettings.from_mapping({"crystal": CRYSTAL, "properties": True, "plan": True})
    assert (found.properties, found.plan) == (PropertySettings(), PlanSettings())


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
    write_result(path, {"survived": 1.0}, {"time": 1.0, "sizes": (1, 2)})
    assert has_result(path, {"time": 1.0, "sizes": (1, 2)}) and not has_result(path, {"time": 2.0, "sizes": (1, 2)})
    write_result(path, {"survived": 2.0}, {"time": 2.0})
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
        monkeypatch.setattr(one_evaluation, gate, lambda path, vouched: None)
    monkeypatch.setattr(one_evaluation.subprocess, "run", compiler)
    load = one_evaluation.NequIPCalculator
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
