"""Each step of the conversion by itself, against e3nn's modules of the old network."""

import pytest
import torch
from e3nn.nn import FullyConnectedNet
from e3nn.o3 import Irreps, Linear
from hypothesis import given
from hypothesis import strategies as st
from nequip.nn import ScalarMLPFunction

from nequip_elemtransfer.checkpoints.legacy.weights import (
    padded,
    radial_network,
    radial_weights,
    readout,
    type_embedding,
)


@pytest.fixture(autouse=True)
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31), st.booleans())
def test_type_embedding_gives_old_features_and_types(n_types, n_features, seed, alike):
    """Also where types are more than features, or all alike."""
    features = torch.randn(n_types, n_features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if alike:
        features = features[:1].repeat(n_types, 1)
    width = max(n_types, n_features)
    embedding, to_features, to_one_hot = type_embedding(features, width)
    one = torch.eye(n_types, dtype=torch.float64)
    torch.testing.assert_close(embedding @ to_one_hot, one, rtol=0, atol=1e-12)
    torch.testing.assert_close(embedding @ to_features, features, rtol=0, atol=1e-12)
    torch.testing.assert_close(embedding @ embedding.T, width * one, rtol=0, atol=1e-12)


def test_type_embedding_with_orthogonal_rows_stays():
    embedding, _, _ = type_embedding(torch.tensor([[0.0, 2.0, 0.0], [-3.0, 0.0, 0.0]]), 3)
    torch.testing.assert_close(embedding, 3**0.5 * torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_radial_network(depth):
    old = FullyConnectedNet([4, *[6] * depth, 5], torch.nn.functional.silu)
    new = ScalarMLPFunction(4, 5, depth, 6, nonlinearity="silu", bias=False, forward_weight_init=True)
    state = {f"fc.{name}": tensor for name, tensor in old.state_dict().items()}
    converted = radial_network(radial_weights(state), new)
    new.load_state_dict({name.removeprefix("edge_mlp."): tensor for name, tensor in converted.items()})
    x = torch.randn(7, 4)
    torch.testing.assert_close(new(x), old(x), rtol=1e-12, atol=1e-12)


def test_two_linear_readouts_are_one():
    """The scalars of the last layer are read, and nothing else of it."""
    features = Irreps("3x0e + 2x0o + 2x1o")
    first, second = Linear(features, "4x0e"), Linear("4x0e", "1x0e")
    state = {
        "conv_to_output_hidden.linear.weight": first.weight,
        "output_hidden_to_scalar.linear.weight": second.weight,
    }
    h = features.randn(5, -1)
    torch.testing.assert_close(h[:, :3] @ readout(state, features), second(first(h)), rtol=1e-12, atol=1e-12)


def test_padded():
    assert padded(torch.tensor([[1.0, 2.0]]), 3).tolist() == [[1.0, 2.0, 0.0]]
