import string

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nequip_elemtransfer.architecture.builders import configured_parameters
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.mapping.per_type import (
    TensorReport,
    named_tensors,
    remap_state,
    remap_tensor,
    retype,
    type_axes,
)

sizes = st.integers(1, 4)
seeds = st.integers(0, 2**32 - 1)


def convex_weights(seed, n_target, n_source):
    return np.random.default_rng(seed).dirichlet(np.ones(n_source), size=n_target)


def one_hot(rows, n_source):
    return np.eye(n_source)[rows]


@given(sizes, sizes, st.integers(0, 2), seeds)
def test_one_type_axis_is_the_weighted_sum_of_rows(n_target, n_source, axis, seed):
    m = convex_weights(seed, n_target, n_source)
    shape = [2, 3]
    shape.insert(axis, n_source)
    tensor = torch.tensor(np.random.default_rng(seed + 1).normal(size=shape))
    expected = np.moveaxis(np.tensordot(m, np.moveaxis(tensor.numpy(), axis, 0), axes=1), 0, axis)
    remapped = remap_tensor(tensor, ((axis, 1),), m)
    assert remapped.shape == expected.shape
    np.testing.assert_allclose(remapped, expected, rtol=1e-13, atol=1e-13)


@given(sizes, sizes, seeds)
def test_pair_axis_is_the_kronecker_product(n_target, n_source, seed):
    """Row-major: entry t * n + u of the target belongs to the pair (t, u)."""
    m = convex_weights(seed, n_target, n_source)
    tensor = torch.tensor(np.random.default_rng(seed + 1).normal(size=(n_source**2, 5)))
    remapped = remap_tensor(tensor, ((0, 2),), m)
    np.testing.assert_allclose(remapped, np.kron(m, m) @ tensor.numpy(), rtol=1e-13, atol=1e-13)


@given(sizes, sizes, st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=4), seeds)
def test_any_axes_together(n_target, n_source, powers, seed):
    """Each axis runs over no types (0), types (1) or pairs (2), in any order."""
    m = convex_weights(seed, n_target, n_source)
    tensor = np.random.default_rng(seed + 1).normal(size=[n_source**p if p else 2 for p in powers])
    letters = string.ascii_lowercase[: len(powers)]
    operands, subscripts, out = [], [], ""
    for letter, power in zip(letters, powers):
        out += letter.upper() if power else letter
        if power:
            operands.append(m if power == 1 else np.kron(m, m))
            subscripts.append(letter.upper() + letter)
    expected = np.einsum(",".join([letters, *subscripts]) + "->" + out, tensor, *operands)
    axes = tuple((axis, power) for axis, power in enumerate(powers) if power)
    np.testing.assert_allclose(remap_tensor(torch.tensor(tensor), axes, m), expected, rtol=1e-12, atol=1e-13)


@given(st.data(), sizes, sizes, seeds)
def test_one_hot_weights_pick_rows_bit_by_bit_in_float32(data, n_target, n_source, seed):
    rows = data.draw(st.lists(st.integers(0, n_source - 1), min_size=n_target, max_size=n_target))
    m = one_hot(rows, n_source)
    generator = torch.Generator().manual_seed(seed % 2**31)
    tensor = torch.randn((n_source, 3, n_source**2), generator=generator, dtype=torch.float32)
    remapped = remap_tensor(tensor, ((0, 1), (2, 2)), m)
    pairs = [s * n_source + v for s in rows for v in rows]
    assert remapped.dtype == torch.float32
    assert torch.equal(remapped, tensor[rows][:, :, pairs])


def test_blend_is_summed_in_double_precision():
    """In single precision each of the small parts would be rounded away."""
    tensor = torch.tensor([[1.0], [2.0**-23], [2.0**-23]], dtype=torch.float32)
    blended = remap_tensor(tensor, ((0, 1),), np.array([[0.5, 0.25, 0.25]]))
    assert blended.item() == 0.5 + 2.0**-24


def test_weights_may_be_whole_numbers():
    tensor = torch.tensor([[1.5, 2.5], [3.5, 4.5]])
    assert torch.equal(remap_tensor(tensor, ((0, 1),), np.array([[0, 1], [1, 0]])), tensor.flip(0))


def test_the_source_tensor_is_left_alone():
    tensor = torch.nn.Parameter(torch.ones(2, 3))
    remapped = remap_tensor(tensor, ((0, 1),), np.eye(2))
    assert not remapped.requires_grad
    remapped.zero_()
    assert torch.equal(tensor, torch.ones(2, 3))


# ---- whole states


class Target(torch.nn.Module):
    """Two target types, all kinds of tensors."""

    def __init__(self, n_types=2):
        super().__init__()
        self.embedding = torch.nn.Parameter(torch.full((n_types, 2), torch.nan))
        self.radial = torch.nn.Parameter(torch.full((3,), torch.nan))
        self.plain = torch.nn.Parameter(torch.full((2, 2), torch.nan))
        self.scales = torch.nn.Parameter(torch.full((n_types,), 7.0))
        self.register_buffer("cutoffs", torch.full((n_types**2,), 5.0))
        self.register_buffer("norm", torch.full((n_types,), 3.0), persistent=False)


SOURCE = {
    "embedding": torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "radial": torch.tensor([1.0, 2.0, 3.0]),
    "plain": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
    "scales": torch.tensor([1.0, 1.0, 1.0]),
    "cutoffs": torch.ones(9),
}
AXES = {"embedding": ((0, 1),), "scales": ((0, 1),), "cutoffs": ((0, 2),), "norm": ((0, 1),)}
ELEMENT_MAP = ElementMap.from_elements({"Ge": "C", "Sn": {"H": 0.5, "Si": 0.5}}, ["H", "Si", "C"])


def remapped(target, source=SOURCE, factors=None, element_map=ELEMENT_MAP):
    return remap_state(target, source, AXES, element_map, factors or {}, frozenset({"scales"}))


def test_state_and_report_of_every_kind_of_tensor():
    target = Target()
    state, report = remapped(target, factors={"radial": 2.0, "plain": 1.0})
    assert report == [
        TensorReport("embedding", (2, 2), "remapped"),
        TensorReport("radial", (3,), "rescaled"),
        TensorReport("plain", (2, 2), "copied"),
        TensorReport("scales", (2,), "from config"),
        TensorReport("cutoffs", (4,), "from config"),
        TensorReport("norm", (2,), "from config"),
    ]
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        "embedding": [[5.0, 6.0], [2.0, 3.0]],
        "radial": [2.0, 4.0, 6.0],
        "plain": [[1.0, 2.0], [3.0, 4.0]],
        "scales": [7.0, 7.0],
        "cutoffs": [5.0, 5.0, 5.0, 5.0],
    }
    target.load_state_dict(state)


def test_random_types_keep_the_random_rows_of_the_target():
    """And so do pairs with one."""
    target = Target()
    target.pairs = torch.nn.Parameter(torch.full((2, 4), torch.nan))
    with torch.no_grad():
        for parameter in (target.embedding, target.pairs):
            parameter.copy_(-torch.arange(float(parameter.numel())).reshape(parameter.shape))
    source = SOURCE | {"pairs": torch.arange(18.0).reshape(2, 9)}
    element_map = ElementMap.from_elements({"Ge": "Si", "Sn": "random"}, ["H", "Si", "C"])
    state, report = remap_state(target, source, AXES | {"pairs": ((1, 2),)}, element_map, {}, frozenset({"scales"}))
    assert state["embedding"].tolist() == [[3.0, 4.0], [-2.0, -3.0]]
    # Si, Si is entry 4 of 9
    assert state["pairs"].tolist() == [[4.0, -1.0, -2.0, -3.0], [13.0, -5.0, -6.0, -7.0]]
    actions = {row.name: row.action for row in report}
    assert actions["embedding"] == actions["pairs"] == "remapped, random rows"
    assert actions["plain"] == "copied" and actions["scales"] == "from config"


def test_state_shares_no_memory_with_the_source():
    state, _ = remapped(Target())
    for name in ("plain", "radial"):
        assert state[name].data_ptr() != SOURCE[name].data_ptr()


def test_parameter_the_source_lacks():
    with pytest.raises(ValueError, match="parameter radial of the target does not exist in the source"):
        remapped(Target(), {name: tensor for name, tensor in SOURCE.items() if name != "radial"})


@pytest.mark.parametrize(("name", "shape"), [("plain", (2, 3)), ("radial", (4,)), ("radial", (3, 1)), ("radial", ())])
def test_shape_mismatch_names_the_parameter_and_both_shapes(name, shape):
    target = Target()
    own = tuple(getattr(target, name).shape)
    with pytest.raises(ValueError) as error:
        remapped(target, SOURCE | {name: torch.zeros(shape)})
    assert f"parameter {name} has shape {shape} in the source and {own} in the target" in str(error.value)


def test_typed_parameter_without_a_rule_is_never_copied():
    """With as many source as target types the shapes agree, but that of a remapped one does not."""
    with pytest.raises(ValueError, match=r"parameter scales has shape \(3,\) in the source and \(2,\) in the target"):
        remap_state(Target(), SOURCE, {"embedding": ((0, 1),)}, ELEMENT_MAP, {}, frozenset())


@pytest.mark.parametrize("family", ["nequip", "allegro"])
def test_every_tensor_of_a_model_is_reported_once(request, build, family):
    """Invariant 5."""
    make = request.getfixturevalue(f"{family}_architecture")
    neighbors = {"H": 8.0, "Si": 16.0}
    source = make("H", "Si", num_layers=2, per_type_energy_shifts_trainable=True, avg_num_neighbors=neighbors)
    element_map = ElementMap.from_elements({"Ge": "Si", "C": "H", "Sn": {"H": 0.5, "Si": 0.5}}, ["H", "Si"])
    source_model, target_model = build(source), build(retype(source, element_map))
    state, report = remap_state(
        target_model,
        source_model.state_dict(),
        type_axes(source_model, source),
        element_map,
        {},
        configured_parameters(target_model),
    )
    assert [row.name for row in report] == [name for name, _ in named_tensors(target_model)]
    assert [row.shape for row in report] == [tuple(tensor.shape) for _, tensor in named_tensors(target_model)]
    assert set(state) == set(target_model.state_dict())
    parameters = dict(target_model.named_parameters())
    done = {row.name.removeprefix("model.func."): row.action for row in report if row.name in parameters}
    typed = {
        "nequip": {"type_embed.embed_module.weight"},
        "allegro": {
            f"radial_chemical_embed.type_embed.{center_or_neighbor}_embed.weight"
            for center_or_neighbor in ("center", "neighbor")
        },
    }
    assert {name for name, action in done.items() if action == "remapped"} == typed[family]
    assert {n for n, action in done.items() if action == "from config"} == {"per_type_energy_scale_shift.shifts"}
    assert {action for action in done.values()} == {"remapped", "copied", "from config"}
    assert {row.action for row in report if row.name not in parameters} == {"from config"}


def test_identity_reproduces_every_tensor(nequip_architecture, build):
    """Invariant 1."""
    architecture = nequip_architecture("H", "Si", model_dtype="float32")
    source, target = build(architecture), build(architecture | {"seed": 2})
    axes, identity = type_axes(source, architecture), ElementMap.identity(["H", "Si"])
    state, _ = remap_state(target, source.state_dict(), axes, identity, {}, configured_parameters(target))
    assert list(state) == list(source.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in source.state_dict().items())
