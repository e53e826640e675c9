"""Data and models the tests of this folder share."""

from functools import cache

import pytest
from real_runs import MODEL, install, package, train, training_config, write_structures

from nequip_elemtransfer import resolvers


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
