"""Data and models the tests of this folder share."""

import ase.io
import pytest
from real_runs import LATTICE, MODEL, package, structures, train, training_config


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with {Si,Ge}_train.xyz and {Si,Ge}_val.xyz."""
    folder = tmp_path_factory.mktemp("data")
    for element in LATTICE:
        ase.io.write(folder / f"{element}_train.xyz", structures(element, 6))
        ase.io.write(folder / f"{element}_val.xyz", structures(element, 3, seed=1))
    return folder


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
