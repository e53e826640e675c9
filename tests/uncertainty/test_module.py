"""The exported module against the arithmetic, for both families."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from nequip_elemtransfer.architecture.builders import set_energies
from nequip_elemtransfer.uncertainty.mahalanobis import Calibration, Known, Uncertainty
from nequip_elemtransfer.uncertainty.module import GRADE_KEY, UNCERTAINTY_KEY, WithUncertainty
from nequip_elemtransfer.uncertainty.readout import Readout, take_readings


@pytest.fixture
def model(request, build):
    family, options = request.param
    return build(request.getfixturevalue(f"{family}_architecture")("Si", "Ge", **options))


@pytest.fixture(scope="module")
def frames(graph):
    """Rattled crystals of two elements; the last is an atom with no neighbour and a pair."""
    found = []
    for seed in range(4):
        atoms = bulk("Ge", "diamond", a=5.6, cubic=True)
        atoms.symbols = ["Si", "Ge"] * 4
        atoms.rattle(0.1, seed=seed)
        found.append(atoms)
    found.append(bulk("Si", "sc", a=20.0).repeat((1, 1, 3)))
    found[-1].positions[1] = found[-1].positions[0] + [2.4, 0, 0]
    return [graph(atoms, ["Si", "Ge"], 4.0) for atoms in found]


FAMILIES = pytest.mark.parametrize(
    "model",
    [
        pytest.param(("nequip", {}), id="NequIP"),
        pytest.param(("nequip", {"readout_mlp_hidden_layers_depth": 1}), id="NequIP, hidden layer"),
        pytest.param(("allegro", {}), id="Allegro"),
    ],
    indirect=True,
)


@FAMILIES
def test_outputs_are_the_arithmetic(model, frames):
    """σ and γ of the module are those of the readout's own input, and all else is the model's to the bit."""
    known = take_readings(model, frames[:4])
    uncertainty = Uncertainty(Known.of(known.features), Calibration(0.3, 1, 3, (0.7, 0.9)))
    assert known.n_atoms.tolist() == [8] * 4
    expected = take_readings(model, frames)
    found = [WithUncertainty(model, uncertainty)(frame.copy()) for frame in frames]
    plain = [model(frame.copy()) for frame in frames]
    for key, value in {
        UNCERTAINTY_KEY: uncertainty.forces_uncertainty(expected.features),
        GRADE_KEY: uncertainty.grades(expected.features),
    }.items():
        assert [tuple(out[key].shape) for out in found] == [(n, 1) for n in expected.n_atoms]
        assert all(out[key].dtype == torch.float64 and not out[key].requires_grad for out in found)
        np.testing.assert_allclose(torch.cat([out[key] for out in found])[:, 0], value, rtol=1e-9)
    for out, alone in zip(found, plain):
        for key in ("atomic_energy", "total_energy", "forces", "stress", "virial"):
            assert torch.equal(out[key], alone[key])
    assert found[0][GRADE_KEY].max() <= 1 + 1e-12 < found[4][GRADE_KEY].max()


@FAMILIES
def test_readout_makes_the_energies(model, frames):
    """What is read at the end is still what it was given: it makes the energies of the network of it."""
    set_energies(model, np.ones(1), np.zeros(1))  # one for both types
    readout, out = Readout.of(model), model(frames[0].copy())
    energies = out["edge_energy" if readout.of_edges else "atomic_energy"].clone()
    assert torch.equal(readout.module({readout.field: out[readout.field]})[readout.module.out_field], energies)


def test_a_model_without_a_readout():
    with pytest.raises(ValueError, match="no modules ScalarMLP that make the energies"):
        Readout.of(torch.nn.Linear(2, 2))
