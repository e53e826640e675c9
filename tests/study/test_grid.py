"""The grid of a study, its configs and its structure files; nothing is trained."""

import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from ase.build import bulk
from hydra.utils import get_class
from omegaconf import OmegaConf

from nequip_elemtransfer.study.config.study_file import StudyConfig
from nequip_elemtransfer.study.grid import Grid, structures_in
from nequip_elemtransfer.study.measure.evaluation import evaluation_tasks
from nequip_elemtransfer.study.run.training_configs import validation_size
from nequip_elemtransfer.study.study import prepare_study

EXAMPLES = Path(__file__).resolve().parents[2] / "example_configs"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Structures of silicon and germanium of three temperatures, 30 of each part and 110 of each seed's order."""
    folder = tmp_path_factory.mktemp("data")
    for kind, label in (("mlearn", "AIMD-NVT"), ("sw", "liquid")):
        for element in ("Si", "Ge"):
            frames = [bulk(element, cubic=True) for _ in range(110)]
            for i, atoms in enumerate(frames):
                atoms.rattle(0.1, seed=i)
                atoms.info |= {"group": ("diamond", label)[i % 2], "temperature": 300.0 * (1 + i % 3)}
            (folder / kind).mkdir(exist_ok=True)
            for part in ("train", "val", "test"):
                ase.io.write(folder / kind / f"{element}_{part}.xyz", frames[:30])
            for seed in range(5):
                (folder / kind / f"subset{seed}").mkdir(exist_ok=True)
                ase.io.write(folder / kind / f"subset{seed}" / f"{element}_train.xyz", frames)
    return folder


@pytest.fixture
def workplace(data, tmp_path, monkeypatch):
    """A folder to run the examples in."""
    shutil.copytree(data, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    structures_in.cache_clear()  # of the same paths in another test's folder
    return tmp_path


def config_of(out, run):
    return yaml.safe_load((out / "grid" / "training" / f"{run}.yaml").read_text())


def study(folder, **entries):
    """Write a study of the example configs and prepare it in ``folder/out``."""
    common = {
        "scratch": str(EXAMPLES / "mlearn_ge_scratch.yaml"),
        "transfer": str(EXAMPLES / "mlearn_ge_transfer.yaml"),
        "structures": {"train": "data/mlearn/Ge_train.xyz"},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(common | entries, sort_keys=False))
    return prepare_study(folder / "study.yaml", folder / "out")


def test_example_on_dft_data(workplace):
    grid = prepare_study(EXAMPLES / "study_mlearn_full.yaml", Path("out"))
    assert len(grid.runs) == 6 * 3 * 3
    assert list(grid.test_sets) == ["all", "diamond", "AIMD-NVT"]
    assert grid == Grid.read(Path("out"))
    # 100 steps in epochs of half as many as there are structures
    assert {
        n: config_of(Path("out"), f"scratch-n{n}-seed1")["trainer"]["check_val_every_n_epoch"] for n in (5, 25, 110)
    } == {5: 33, 25: 8, 110: 2}
    transfer = config_of(Path("out"), "corresponding_states-n5-seed2")
    assert transfer["element_transfer"]["source"] == "runs/mlearn_si_long/best.ckpt"
    assert transfer["run"] == ["val", "train", "test"] and transfer["max_steps"] == 20000
    scheduler = OmegaConf.create(transfer).training_module.lr_scheduler.scheduler  # the recipe's, not the config's
    assert scheduler._target_.endswith("ReduceLROnPlateau") and "T_max" not in scheduler
    scratch = config_of(Path("out"), "scratch-n5-seed2")
    assert (scratch["seed"], scratch["data"]["seed"], scratch["training_module"]["model"]["seed"]) == (2, 2, 2)
    parts = [task.name.split(" of ") for task in evaluation_tasks(grid, Path("out"))]
    assert [part for part, _ in parts] == 9 * ["properties"] + 9 * ["stability"] + 4 * ["plan"]
    assert all("n10" in model for part, model in parts if part != "plan")


def test_element_map_alone(workplace):
    study(workplace, starts=["element_map"], sizes=[5])
    alone = config_of(Path("out"), "element_map-n5-seed0")
    assert alone["element_transfer"] | {"elements": 0} == {
        "source": "runs/mlearn_si/best.ckpt",
        "elements": 0,
        "length_scale": "none",
        "energy_scale": "none",
        "energy_shifts": "fit",
    }


def test_example_on_classical_data(workplace):
    grid = prepare_study(EXAMPLES / "study_sw.yaml", Path("out"))
    assert len(grid.runs) == 3 * 5
    models = [task.model for task in evaluation_tasks(grid, Path("out"))]
    assert models == ["reference", *(run.name for run in grid.runs)]


def test_example_of_models_and_labels(workplace):
    grid = prepare_study(EXAMPLES / "study_sw_labels.yaml", Path("out"))
    assert [run.name for run in grid.runs[:2]] == ["source-invariant", "source-equivariant"]
    assert len(grid.runs) == 2 + 2 * 2 * 2 * 2
    runs = {run.name: run for run in grid.runs}
    start = runs["corresponding_states-invariant-atomic_energies-n10-seed0"]
    assert start.needs == "source-invariant"
    assert config_of(Path("out"), start.needs)["run"] == ["train", "test"]
    config = config_of(Path("out"), start.name)
    source = workplace / "out" / "runs" / start.needs / "best.ckpt"
    assert config["element_transfer"]["source"] == str(source)
    assert config["training_module"]["loss"]["extra_metrics"][0]["field"] == "atomic_energy"
    from_scratch = runs["scratch-invariant-totals-n10-seed0"]
    assert from_scratch.needs is None
    for run in ("source-invariant", from_scratch.name):
        assert config_of(Path("out"), run)["training_module"]["model"]["l_max"] == 0


def test_example_of_temperatures(workplace):
    for seed in range(3):  # the labels of the real data
        path = Path(f"data/sw/subset{seed}/Ge_train.xyz")
        frames = ase.io.read(path, ":")
        for atoms in frames:
            atoms.info["temperature"] = {300.0: 224.0, 600.0: 671.9, 900.0: 1119.8}[atoms.info["temperature"]]
        ase.io.write(path, frames)
    grid = prepare_study(EXAMPLES / "study_sw_temperature.yaml", Path("out"))
    assert len(grid.runs) == 2 * 2 * 3
    for run in grid.runs:
        temperatures = {atoms.info["temperature"] for atoms in ase.io.read(run.training_set, ":")}
        assert temperatures == {{"cold": 224.0, "hot": 1119.8}[run.settings["train_on"]]}


def test_training_temperature(workplace):
    """One temperature to train on, the others to test on."""
    grid = study(
        workplace,
        structures={"train": "data/mlearn/Ge_train.xyz", "test": "data/mlearn/Ge_test.xyz", "test_by": "temperature"},
        starts=["scratch"],
        sizes=[4],
        train_on={"cold": {"temperature": 300}, "warm": {"temperature": [600, 900]}},
    )
    assert [run.name for run in grid.runs] == ["scratch-cold-n4-seed0", "scratch-warm-n4-seed0"]
    everything = ase.io.read("data/mlearn/Ge_train.xyz", ":")
    for run, wanted in zip(grid.runs, ([0, 3, 6, 9], [1, 2, 4, 5])):
        chosen = ase.io.read(run.training_set, ":")
        for atoms, index in zip(chosen, wanted, strict=True):
            np.testing.assert_array_equal(atoms.positions, everything[index].positions)
    assert list(grid.test_sets) == ["all", "300", "600", "900"]
    assert [len(ase.io.read(path, ":")) for path in grid.test_sets.values()] == [30, 10, 10, 10]


def test_a_pretraining_comes_before_all_trainings_of_its_start(workplace):
    """Once for each model, from the source where its config transfers, and its best model is the start's source."""
    Path("taught.xyz").write_bytes(Path("data/mlearn/Ge_train.xyz").read_bytes())
    pretrain = {"overrides": ["max_steps=7"], "structures": {"train": "taught.xyz"}}
    grid = study(
        workplace,
        source=str(EXAMPLES / "mlearn_si.yaml"),
        models={"small": ["training_module.model.num_features=8"], "large": []},
        starts={
            "scratch": None,
            "teacher": {"config": "transfer", "pretrain": {"config": "transfer", **pretrain}},
            "alone": {"config": "transfer", "pretrain": {"config": "scratch", **pretrain}},
        },
        sizes=[4],
        seeds=[0, 1],
        overrides=["max_steps=9"],
    )
    needs = {run.name: run.needs for run in grid.runs if run.settings.get("seed") != 1}
    assert needs == {
        **{f"source-{model}": None for model in ("small", "large")},
        **{f"pretrain-teacher-{model}": f"source-{model}" for model in ("small", "large")},
        **{f"pretrain-alone-{model}": None for model in ("small", "large")},
        **{f"scratch-{model}-n4-seed0": None for model in ("small", "large")},
        **{f"teacher-{model}-n4-seed0": f"pretrain-teacher-{model}" for model in ("small", "large")},
        **{f"alone-{model}-n4-seed0": f"pretrain-alone-{model}" for model in ("small", "large")},
    }
    names = [run.name for run in grid.runs]
    assert all(run.needs is None or names.index(run.needs) < names.index(run.name) for run in grid.runs)
    configs = {name: config_of(Path("out"), name) for name in names}
    runs = workplace / "out" / "runs"
    assert configs["pretrain-teacher-small"]["element_transfer"]["source"] == str(runs / "source-small" / "best.ckpt")
    for start in ("teacher", "alone"):
        before, after = configs[f"pretrain-{start}-small"], configs[f"{start}-small-n4-seed1"]
        assert after["element_transfer"]["source"] == str(runs / f"pretrain-{start}-small" / "best.ckpt")
        assert before["data"]["train_file_path"] == "taught.xyz" != after["data"]["train_file_path"]
        assert (before["max_steps"], after["max_steps"]) == (7, 9)  # the study's overrides are of its own trainings
    assert configs["pretrain-alone-small"]["training_module"]["model"]["num_features"] == 8
    assert Grid.read(Path("out")) == grid


def test_a_source_that_only_a_pretraining_from_scratch_would_need_is_not_trained(workplace):
    alone = {"config": "transfer", "pretrain": {"config": "scratch"}}
    grid = study(workplace, source=str(EXAMPLES / "mlearn_si.yaml"), starts={"alone": alone}, sizes=[4])
    assert [run.name for run in grid.runs] == ["pretrain-alone", "alone-n4-seed0"]


def test_example_of_a_teacher(workplace):
    Path("ge").mkdir()
    for name in ("teacher", "teacher_val"):
        Path(f"ge/{name}.xyz").write_bytes(Path("data/mlearn/Ge_train.xyz").read_bytes())
    grid = prepare_study(EXAMPLES / "study_teacher.yaml", Path("out"))
    assert len(grid.runs) == 1 + 3 * 3
    before, after = (config_of(Path("out"), name) for name in ("pretrain-teacher", "teacher-n10-seed0"))
    assert before["data"]["val_file_path"] == "ge/teacher_val.xyz"
    assert before["element_transfer"]["elements"] == {"Ge": "Si"}
    assert after["element_transfer"] == {
        "source": str(workplace / "out" / "runs" / "pretrain-teacher" / "best.ckpt"),
        "elements": {"Ge": "Ge"},
        "kept_types": "fit",
        "length_scale": "none",
        "energy_scale": "fit",
        "energy_shifts": "fit",
    }
    # an equal protocol from here on
    other = config_of(Path("out"), "corresponding_states-n10-seed0")
    assert {**other, "element_transfer": 0} == {**after, "element_transfer": 0}


def test_a_training_file_for_each_seed(workplace):
    for seed in (0, 1):
        Path(f"subset_{seed}.xyz").write_bytes(Path("data/mlearn/Ge_train.xyz").read_bytes())
    grid = study(workplace, structures={"train": "subset_{seed}.xyz"}, starts=["scratch"], sizes=[4], seeds=[0, 1])
    assert [Path(run.training_set).name for run in grid.runs] == [
        "train-default-seed0-n4.xyz",
        "train-default-seed1-n4.xyz",
    ]


def test_all_may_be_listed_as_a_number_too(workplace):
    assert len(study(workplace, starts=["scratch"], sizes=[30, "all"]).runs) == 1


def test_a_study_begun_with_an_earlier_layout_goes_on(workplace):
    """Its configs name the callbacks where they were; they are written anew, and no other difference is passed over."""
    study(workplace, starts=["scratch"], sizes=[4])
    path = workplace / "out" / "grid" / "training" / "scratch-n4-seed0.yaml"
    now = path.read_text()
    before = now.replace("study.run.callbacks.", "study.training_callbacks.")
    assert before != now
    (workplace / "out" / "runs" / "scratch-n4-seed0").mkdir(parents=True)
    path.write_text(before)
    study(workplace, starts=["scratch"], sizes=[4])
    assert path.read_text() == now
    path.write_text(before.replace("CSVLogger", "WandbLogger"))
    with pytest.raises(ValueError, match="was made with other settings"):
        study(workplace, starts=["scratch"], sizes=[4])


def test_the_callbacks_are_found_where_the_configs_say(workplace):
    study(workplace, starts=["scratch"], sizes=[4])
    callbacks = config_of(Path("out"), "scratch-n4-seed0")["trainer"]["callbacks"]
    own = [entry["_target_"] for entry in callbacks if entry["_target_"].startswith("nequip_elemtransfer.")]
    assert [get_class(target).__name__ for target in own] == [
        "ValidateLastStep",
        "TrainingClock",
        "RestoreBatchOrder",
    ]


def test_a_study_begun_before_goes_on_with_the_last_step_validated(workplace):
    study(workplace, starts=["scratch"], sizes=[4])
    path = workplace / "out" / "grid" / "training" / "scratch-n4-seed0.yaml"
    now = path.read_text()
    before = now.replace("  - _target_: nequip_elemtransfer.ValidateLastStep\n", "")
    assert before != now
    (workplace / "out" / "runs" / "scratch-n4-seed0").mkdir(parents=True)
    path.write_text(before)
    study(workplace, starts=["scratch"], sizes=[4])
    assert path.read_text() == now


def test_without_validation_the_last_state_is_the_best(workplace):
    """What NequIP asks for is there and not read; nothing chooses among states, and each is saved."""
    structures = {"train": "data/mlearn/Ge_train.xyz", "validation": "none"}
    study(workplace, sizes=[4], structures=structures)
    for start in ("scratch", "element_map", "corresponding_states"):
        config = config_of(Path("out"), f"{start}-n4-seed0")
        data, trainer = config["data"], config["trainer"]
        assert data["val_file_path"] == data["train_file_path"] and "train-default-n4.xyz" in data["val_file_path"]
        assert config["run"] == ["train", "test"] and trainer["limit_val_batches"] == 0
        saving = [entry for entry in trainer["callbacks"] if "filename" in entry]
        assert [entry["filename"] for entry in saving] == ["best", "restart"] and saving[0]["every_n_epochs"] == 1
        # Lightning refuses two that save alike
        assert not [entry for entry in saving if "monitor" in entry] and saving[1]["every_n_epochs"] == 25
        assert validation_size(config) == 0
    assert Grid.read(workplace / "out").validation == "none"


def test_a_validation_file_takes_the_place_of_the_configs(workplace):
    structures = {"train": "data/mlearn/Ge_train.xyz", "validation": "data/mlearn/Ge_train.xyz"}
    study(workplace, starts=["scratch"], sizes=[4], structures=structures)
    config = config_of(Path("out"), "scratch-n4-seed0")
    assert config["data"]["val_file_path"] == "data/mlearn/Ge_train.xyz" and config["run"] == ["val", "train", "test"]
    assert validation_size(config) == len(ase.io.read("data/mlearn/Ge_train.xyz", ":"))
    # what the config names, by other entries of it, and what is no longer there
    study(workplace, starts=["element_map"], sizes=[4])
    of_config = config_of(Path("out"), "element_map-n4-seed0")
    assert of_config["data"]["val_file_path"] == "${data_dir}/Ge_val.xyz" and validation_size(of_config) == 30
    assert validation_size(of_config | {"data_dir": "elsewhere"}) is None
    structures["validation"] = "nowhere.xyz"
    with pytest.raises(FileNotFoundError, match="`structures.validation` names 'nowhere.xyz'"):
        study(workplace, starts=["scratch"], sizes=[4], structures=structures)


@pytest.mark.parametrize("override", ["+recipe=converged", "+training_module.lr_scheduler.monitor=val0"])
def test_what_goes_by_the_validation_error_needs_one(workplace, override):
    structures = {"train": "data/mlearn/Ge_train.xyz", "validation": "none"}
    with pytest.raises(ValueError, match="goes by the validation error .*`structures.validation: none`"):
        study(workplace, starts=["scratch"], sizes=[4], structures=structures, overrides=[override])


def test_structures_that_changed_are_refused(workplace):
    study(workplace, starts=["scratch"], sizes=[4])
    study(workplace, starts=["scratch"], sizes=[4])
    Path("data/mlearn/Ge_train.xyz").write_bytes(Path("data/mlearn/Ge_train.xyz").read_bytes().replace(b"Ge", b"Si"))
    structures_in.cache_clear()
    with pytest.raises(ValueError, match="was made from other structures"):
        study(workplace, starts=["scratch"], sizes=[4])


@pytest.mark.parametrize(
    "entries, sentence",
    [
        ({"size": [3]}, "no key 'size'; did you mean 'sizes'?"),
        ({"starts": ["scrach"]}, "did you mean 'scratch'?"),
        ({"starts": {"staged": {"overrides": []}}}, "`starts.staged` needs `config`"),
        ({"starts": {"a": {"config": "transfer", "pretrain": 3}}}, "`starts.a.pretrain` must be a mapping with config"),
        (
            {"starts": {"a": {"config": "transfer", "pretrain": {"config": "transfer", "structure": {}}}}},
            "`starts.a.pretrain` has no key 'structure'; did you mean 'structures'?",
        ),
        (
            {"starts": {"a": {"config": "transfer", "pretrain": {"overrides": []}}}},
            "`starts.a.pretrain` needs `config`",
        ),
        (
            {"starts": {"a": {"config": "transfer", "pretrain": {"config": "transfer", "structures": {"val": "a"}}}}},
            "`starts.a.pretrain.structures` needs `train`",
        ),
        (
            {"starts": {"a": {"config": "scratch", "pretrain": {"config": "transfer"}}}},
            "`starts.a` has `pretrain`, but its config starts from random weights",
        ),
        ({"sizes": [0]}, "`sizes` has 0: integers of at least 1"),
        ({"sizes": [5, 5]}, "`sizes` lists 5 twice"),
        ({"sizes": [5], "structures": None}, "`sizes` needs `structures.train`"),
        ({"seeds": []}, "`seeds` must be a list with at least one entry"),
        ({"seeds": [True]}, "`seeds` has True"),
        ({"models": {"a": {"source": ["si.ckpt"]}}}, "`models.a.source` must be a trained model, found ['si.ckpt']"),
        ({"models": {"a": [], "b": []}}, "several `models` start from the same source"),
        ({"models": {}}, "the grid has no runs: `models` is empty"),
        ({"models": {"l=1": []}}, "use letters, digits and underscores"),
        ({"axes": {"seed": {"a": []}}}, "which every study has already"),
        ({"baseline": "adam"}, "`baseline` is 'adam', which is none of the `starts`. Choices: scratch, c"),
        ({"axes": {"labels": {"a": ["max_steps"]}}}, "`axes.labels.a` must list Hydra overrides"),
        ({"structures": {"train": "Ge_{size}.xyz"}}, "{seed} is the only placeholder"),
        ({"structures": {"train": "a.xyz", "test_by": "group"}}, "`structures.test`, which is missing"),
        ({"validate_every": 0}, "`validate_every` has 0"),
        ({"scratch": "mlearn_ge_scratch.yml"}, "names end in .yaml"),
        ({"scratch": None}, "the start 'scratch' needs the key `scratch`"),
    ],
)
def test_bad_entries_are_one_sentence(entries, sentence):
    common = {
        "scratch": "mlearn_ge_scratch.yaml",
        "transfer": "mlearn_ge_transfer.yaml",
        "structures": {"train": "Ge.xyz"},
        "starts": ["scratch", "corresponding_states"],
    }
    with pytest.raises(ValueError) as error:
        StudyConfig.from_mapping(common | entries, EXAMPLES)
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "entries, sentence",
    [
        ({"structures": {"train": "nowhere.xyz"}}, "'nowhere.xyz', which does not exist"),
        ({"sizes": [31]}, "`sizes` has 31, but data/mlearn/Ge_train.xyz holds 30 structures"),
        (
            {"structures": {"train": "data/mlearn/Ge_train.xyz", "test": "data/mlearn/Ge_test.xyz", "test_by": "kind"}},
            "labels in the file: group, temperature",
        ),
        ({"overrides": ["data.no_such=1"]}, "is refused by Hydra"),
        (
            {
                "starts": {
                    "a": {"config": "transfer", "pretrain": {"config": "transfer", "structures": {"train": "x.xyz"}}}
                }
            },
            "`starts.a.pretrain.structures.train` names 'x.xyz', which does not exist",
        ),
        ({"overrides": ["trainer.callbacks.0.filename=model"]}, "must have a ModelCheckpoint"),
    ],
)
def test_what_does_not_fit_is_refused(workplace, entries, sentence):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        study(workplace, **{"starts": ["scratch"]} | entries)
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert not (workplace / "out").exists()
