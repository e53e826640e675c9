"""Data and models the tests of this folder share."""

from functools import cache

import ase.io
import pytest
import yaml
from ase.calculators.singlepoint import SinglePointCalculator
from real_runs import MODEL, install, package, structures, train, training_config, transfer_config, write_structures
from studies import run_study

from nequip_elemtransfer.data.stillinger_weber import stillinger_weber_calculator
from nequip_elemtransfer.key import look_ups as resolvers


@pytest.fixture(scope="session")
def data(made_once):
    """A folder with {Si,Ge}_train.xyz and {Si,Ge}_val.xyz."""
    return made_once("data", lambda folder: write_structures(folder, Si=["Si"], Ge=["Ge"]))


@pytest.fixture(scope="session")
def source(data, made_once):
    """Checkpoint of a tiny Si model, float32, trained with EMA."""
    return made_once("si", lambda folder: train(folder, training_config(data, "Si", MODEL))) / "out" / "best.ckpt"


@pytest.fixture(scope="session")
def source_package(source, made_once):
    """The same model, packaged."""
    return made_once("si_package", lambda folder: package(source, folder / "si.nequip.zip")) / "si.nequip.zip"


@pytest.fixture(scope="session")
def labelled(made_once):
    """A folder with train.xyz and test.xyz, with atomic energies and a label ``group``."""

    def fill(folder):
        for name, n, seed in (("train", 6, 0), ("test", 4, 1)):
            frames = structures("Ge", n, seed)
            for i, atoms in enumerate(frames):
                atomic = stillinger_weber_calculator("Ge").get_property("energies", atoms)
                atoms.calc = SinglePointCalculator(atoms, energies=atomic, **atoms.calc.results)
                atoms.info["group"] = ("cold", "hot")[i % 2]
            ase.io.write(folder / f"{name}.xyz", frames)

    return made_once("labelled", fill)


@pytest.fixture(scope="session")
def study(data, labelled, source, made_once):
    """Writes a study with entries of its own, and gives its file."""

    def fill(folder):
        scratch = training_config(data, "Ge", MODEL | {"type_names": ["Ge"], "r_max": 4.3}, r_max=4.3)
        for name, config in (("scratch", scratch), ("transfer", transfer_config(data, "none"))):
            config["trainer"]["callbacks"][0] |= {"monitor": "val0_epoch/weighted_sum", "save_on_train_epoch_end": True}
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    folder = made_once("studies", fill)

    def write(name, **entries):
        common = {
            "source": str(source),
            "scratch": "scratch.yaml",
            "transfer": "transfer.yaml",
            "structures": {"train": str(labelled / "train.xyz"), "test": str(labelled / "test.xyz")},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(common | entries, sort_keys=False))
        return folder / f"{name}.yaml"

    return write


@pytest.fixture(scope="session")
def grid(study, labelled, made_once):
    """The study file and the folder of a finished grid of two sizes and two starts."""
    file = study(
        "grid",
        structures={"train": str(labelled / "train.xyz"), "test": str(labelled / "test.xyz"), "test_by": "group"},
        sizes=[3, "all"],
        starts=["scratch", "corresponding_states"],
    )

    def fill(folder):
        code, printed = run_study(file, folder / "out", "--jobs", "2")
        assert code == 0 and printed.startswith("4 tasks finished, 0 failed")

    return file, made_once("grid", fill) / "out"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as ``pip install`` would leave it, Lightning's entry point included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(install(tmp_path_factory.mktemp("site")))
        # most tests that ask for this have the same source
        patch.setattr(resolvers, "load_source", cache(resolvers.load_source))
        yield


@pytest.fixture
def nothing_looked_up(monkeypatch):
    """Nothing looked up yet, as in a process of its own."""
    monkeypatch.setattr(resolvers, "_results", {})
