"""A model of today says what NequIP 0.5.6 or 0.6.1 said with the weights it was made from."""

from itertools import product

import numpy as np
import pytest
import torch
from old_models import FIXTURES, NAMES, config_of, in_precision, predict, references, state_of

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.checkpoints.legacy.model import load_old_model

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}  # eV, eV/Å, eV/Å³


def built(path):
    converted = load_old_model(path)
    model = arch.build(converted.architecture)
    model.load_state_dict(converted.state)
    return model.eval()


def assert_says_the_same(model, name, precision):
    """On a cluster with an atom out of reach of all others, and on two crystals."""
    compared = []
    for atoms, old in references(name, precision):
        new = predict(model, name, atoms, config_of(name)["r_max"])
        for quantity, value in old.items():
            np.testing.assert_allclose(new[quantity], value, rtol=0, atol=TOLERANCE[precision], err_msg=quantity)
        compared.append(sorted(old))
    assert compared == [["energy", "forces"], ["energy", "forces", "stress"], ["energy", "forces", "stress"]]


@pytest.mark.parametrize("name", NAMES)
def test_double_precision(name, tmp_path):
    assert_says_the_same(built(in_precision(tmp_path / name, name, "float64")), name, "float64")


@pytest.mark.parametrize("name", ["v056_hco_l2", "v056_si", "v061_si", "v061_sic_zbl"])
def test_single_precision(name, tmp_path):
    assert_says_the_same(built(in_precision(tmp_path / name, name, "float32")), name, "float32")


@pytest.mark.parametrize("name", ["e3nn04_sic_l2", "v056_si", "v061_si"])
def test_deployed_file_is_the_model_of_its_folder(name):
    """Bitwise: the same numbers by another way."""
    deployed, folder = load_old_model(FIXTURES / name / "deployed.pth"), load_old_model(FIXTURES / name)
    assert deployed.architecture == folder.architecture
    assert deployed.architecture["model_dtype"] == ("float64" if name == "e3nn04_sic_l2" else "float32")
    assert deployed.changes == folder.changes
    assert deployed.state.keys() == folder.state.keys()
    assert all(torch.equal(tensor, folder.state[key]) for key, tensor in deployed.state.items())


def test_old_models_are_what_they_should_be():
    """One and three types, l_max 1 to 3, with and without parity, trained roots: else the tests above prove less."""
    kinds = {
        (len(c["type_names"]), c["l_max"], c["parity"], c.get("BesselBasis_trainable", True))
        for c in map(config_of, NAMES)
    }
    assert {n for n, *_ in kinds} == {1, 2, 3}
    assert {(l_max, parity) for _, l_max, parity, _ in kinds} == set(product((1, 2, 3), (True, False)))
    assert {trained for *_, trained in kinds} == {True, False}
    assert {c["e3nn_version"] for c in map(config_of, NAMES)} == {"0.4.4", "0.5.9"}
    roots = state_of("v061_si")["model.model.func.radial_basis.basis.bessel_weights"] / torch.pi
    assert (roots - torch.arange(1.0, 5.0)).abs().min() > 1e-3
