"""Data and models the tests of this folder share."""

from functools import cache

import pytest
from real_runs import MODEL, install, package, train, training_config, write_structures

from nequip_elemtransfer import resolvers


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with {Si,Ge}_train.xyz and {Si,Ge}_val.xyz."""
    return write_structures(tmp_path_factory.mktemp("data"), Si=["Si"], Ge=["Ge"])


@pytest.fixture(scope="session")
def source(data, tmp_path_factory):
    """Checkpoint of a tiny Si model, float32, trained with EMA."""
    folder = tmp_path_factory.mktemp("si")
    train(folder, training_config(data, "Si", MODEL))
    return folder / "out" / "best.ckpt"


@pytest.fixture(scope="session")
def source_package(source):
    """The same model, packaged."""
    return package(source, source.parent / "si.nequip.zip")


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
