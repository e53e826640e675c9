"""Data and models the tests of this folder share."""

import pytest
from real_runs import MODEL, package, train, training_config, write_structures


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
