"""A study of several sources: its runs, what it refuses, and its report."""

import json
from pathlib import Path

import pytest
import yaml
from test_report import SEEDS, run_of, write_run

from nequip_elemtransfer.intervals import Replicate
from nequip_elemtransfer.study.config.study_file import StudyConfig
from nequip_elemtransfer.study.grid import Grid, Run, checkpoint_of, make_grid
from nequip_elemtransfer.study.report.page import write_report

EXAMPLES = Path(__file__).resolve().parents[2] / "example_configs"
TRAINED = {"source": "emt_cu.yaml", "sources": {"a": ["seed=0"], "b": ["seed=1"]}}
GIVEN = {"sources": {"a": "runs/a.ckpt", "b": "runs/b.ckpt"}}


def grid_of(**entries):
    common = {"scratch": "emt_ag_scratch.yaml", "transfer": "emt_ag_transfer.yaml"}
    starts = {"starts": ["scratch", "corresponding_states"], "seeds": [0, 1]}
    return make_grid(StudyConfig.from_mapping(common | starts | entries, EXAMPLES), Path("out"), None)


def test_transfers_are_made_from_each_source_and_starts_from_scratch_once():
    runs = {run.name: run for run in grid_of(**TRAINED).runs}
    assert list(runs) == [
        *("source-a", "source-b", "scratch-seed0", "scratch-seed1"),
        *(f"corresponding_states-{source}-seed{seed}" for seed in (0, 1) for source in "ab"),
    ]
    assert runs["source-b"].overrides == ("seed=1",) and Path(runs["source-b"].config).name == "emt_cu.yaml"
    transfer = runs["corresponding_states-b-seed1"]
    assert transfer.needs == "source-b" and transfer.replicate == Replicate(1, "b")
    checkpoint = json.dumps(str(checkpoint_of(Path("out"), "source-b")))
    assert f"++element_transfer.source={checkpoint}" in transfer.overrides
    assert runs["scratch-seed1"].needs is None and runs["scratch-seed1"].replicate == Replicate(1)


def test_trained_sources():
    runs = {run.name: run for run in grid_of(**GIVEN).runs}
    assert len(runs) == 2 + 4
    transfer = runs["corresponding_states-b-seed0"]
    assert transfer.needs is None and '++element_transfer.source="runs/b.ckpt"' in transfer.overrides


def test_models_and_a_pretraining_have_each_source():
    taught = {"config": "transfer", "pretrain": {"config": "transfer"}}
    entries = {"starts": {"corresponding_states": None, "taught": taught}, "seeds": [0]}
    runs = {run.name: run for run in grid_of(**TRAINED, **entries, models={"small": ["a=1"], "large": ["a=2"]}).runs}
    assert runs["source-large-b"].overrides == ("a=2", "seed=1")
    assert runs["pretrain-taught-large-b"].needs == "source-large-b"
    assert runs["taught-large-b-seed0"].needs == "pretrain-taught-large-b"
    from_scratch = taught | {"pretrain": {"config": "scratch"}}
    runs = {run.name for run in grid_of(**TRAINED, starts={"taught": from_scratch, "corresponding_states": None}).runs}
    assert {"pretrain-taught", "taught-seed0", "corresponding_states-a-seed0"} <= runs
    assert not {"pretrain-taught-a", "taught-a-seed0"} & runs


@pytest.mark.parametrize(
    "entries, sentence",
    [
        (GIVEN | {"source": "runs/a.ckpt"}, "`source` names one trained model, 'runs/a.ckpt', and `sources` several"),
        (TRAINED | {"sources": {"a": "runs/a.ckpt"}}, "`sources.a` must list Hydra overrides"),
        ({"sources": {"a": ["seed=1"]}}, "`sources.a` must be a trained model, found ['seed=1']: overrides need"),
        ({"sources": {"a": 3}}, "`sources.a` must be a text, found 3"),
        ({"sources": {}}, "`sources` is empty"),
        ({"sources": ["runs/a.ckpt"]}, "`sources` must be a mapping of names"),
        ({"sources": {"a-b": "runs/a.ckpt"}}, "`sources` has the name 'a-b'"),
        (GIVEN | {"starts": ["scratch"]}, "no start has a source"),
        (GIVEN | {"models": {"one": {"source": "runs/c.ckpt"}}}, "`models.one.source` names the one source of a model"),
        (GIVEN | {"models": {"one": [], "two": []}}, "several `models` start from the same source"),
        ({"axes": {"source": {"a": ["seed=1"]}}}, "`axes` has 'source', which every study has already"),
    ],
)
def test_bad_sources_are_one_sentence(entries, sentence):
    with pytest.raises(ValueError) as error:
        grid_of(**entries)
    assert sentence in str(error.value)


def test_the_report_is_over_seeds_and_sources(tmp_path):
    """All sources are as good as each other here, so the mean is that of one, and the pairs are twice as many."""
    runs = []
    for size in (5, 10):
        for seed in SEEDS:
            scratch, transfer = (run_of(start, size, seed) for start in ("scratch", "corresponding_states"))
            of_sources = [
                Run(f"{source}-{transfer.name}", transfer.settings | {"source": source}, transfer.config, ())
                for source in "ab"
            ]
            runs += [scratch, *of_sources]
    Grid(tuple(runs), {"all": "a.xyz", "crystal": "b.xyz", "liquid": "c.xyz"}).write(tmp_path)
    for run in runs:
        write_run(tmp_path, run)
    write_report(tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    scratch, transfer = report["curves"]
    assert [curve["start"] for curve in report["curves"]] == ["scratch", "corresponding_states"]
    assert scratch["cell"] == transfer["cell"] == {"model": "default", "train_on": "default"}
    point = transfer["test_sets"]["all"][0]
    assert point["errors"]["forces_mae"]["count"] == 6 and point["ratios"]["forces_mae"]["count"] == 6
    assert point["errors"]["forces_mae"]["mean"] == pytest.approx(0.1 * 5**-0.5)
    # (10 / 5) (0.4 / 0.1)² structures from scratch, if the law went on
    (efficiency,) = (e for e in transfer["efficiency"] if e["size"] == 10 and e["quantity"] == "forces_mae")
    assert list(efficiency["of_seeds"]) == [str(seed) for seed in SEEDS]
    speeds = {(s["seed"], s["source"]) for s in transfer["speed"] if s["size"] == 10}
    assert speeds == {(seed, source) for seed in SEEDS for source in "ab"}
    assert yaml.safe_load((tmp_path / "study.json").read_text())["runs"][1]["settings"]["source"] == "a"
