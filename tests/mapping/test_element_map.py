import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer.config import start_text
from nequip_elemtransfer.mapping.element_map import ElementMap

SOURCE_TYPES = ("Si", "Sn", "Pb", "C")
TARGET_TYPES = ("Ge", "Si", "Sn", "Fl")


@st.composite
def starts(draw, source_types):
    """A source type, or a blend of some with weights that sum to one."""
    used = draw(st.lists(st.sampled_from(source_types), min_size=1, unique=True))
    if len(used) == 1 and draw(st.booleans()):
        return used[0]
    parts = draw(st.lists(st.integers(1, 9), min_size=len(used), max_size=len(used)))
    return {name: part / sum(parts) for name, part in zip(used, parts)}


@st.composite
def elements_and_types(draw):
    source_types = SOURCE_TYPES[: draw(st.integers(1, len(SOURCE_TYPES)))]
    targets = draw(st.lists(st.sampled_from(TARGET_TYPES), min_size=1, unique=True))
    return {target: draw(starts(source_types)) for target in targets}, source_types


element_maps = elements_and_types().map(lambda drawn: ElementMap.from_elements(*drawn))


@given(elements_and_types())
def test_weights_are_those_asked_for_and_rows_sum_to_one(drawn):
    elements, source_types = drawn
    element_map = ElementMap.from_elements(elements, source_types)
    assert element_map.target_types == tuple(elements)
    assert element_map.source_types == source_types
    assert element_map.weights.shape == (len(elements), len(source_types))
    for t, start in enumerate(elements.values()):
        asked_for = {start: 1.0} if isinstance(start, str) else start
        assert_array_equal(element_map.weights[t], [asked_for.get(name, 0.0) for name in source_types])
    assert_allclose(element_map.weights.sum(axis=1), 1.0, rtol=1e-15)


@given(element_maps, st.integers(0, 2**32 - 1))
def test_per_type_is_the_sum_over_source_types(element_map, seed):
    values = np.random.default_rng(seed).normal(size=(len(element_map.source_types), 3))
    expected = np.zeros((len(element_map.target_types), 3))
    for t in range(len(element_map.target_types)):
        for s in range(len(element_map.source_types)):
            expected[t] += element_map.weights[t, s] * values[s]
    assert_allclose(element_map.per_type(values), expected, rtol=1e-13, atol=1e-13)


@given(element_maps, st.integers(0, 2**32 - 1))
def test_per_pair_is_the_sum_over_pairs_of_source_types(element_map, seed):
    n_target, n_source = element_map.weights.shape
    values = np.random.default_rng(seed).normal(size=(n_source, n_source))  # not symmetric: center by neighbor
    expected = np.zeros((n_target, n_target))
    for t in range(n_target):
        for u in range(n_target):
            for s in range(n_source):
                for v in range(n_source):
                    expected[t, u] += element_map.weights[t, s] * element_map.weights[u, v] * values[s, v]
    assert_allclose(element_map.per_pair(values), expected, rtol=1e-13, atol=1e-13)


@given(element_maps)
def test_describe_names_the_same_map(element_map):
    described = element_map.describe()
    assert list(described) == list(element_map.target_types)
    again = ElementMap.from_elements(described, element_map.source_types)
    assert_array_equal(again.weights, element_map.weights)


@given(element_maps)
def test_one_more_type_starts_as_the_first_does(element_map):
    extended = element_map.extended("New")
    assert extended.target_types == (*element_map.target_types, "New")
    assert extended.source_types == element_map.source_types
    assert_array_equal(extended.weights[:-1], element_map.weights)
    assert_array_equal(extended.weights[-1], element_map.weights[0])
    assert extended.target_species == (*element_map.target_species, element_map.target_species[0])
    assert_array_equal(extended.random, [*element_map.random, element_map.random[0]])


def test_identity():
    identity = ElementMap.identity(SOURCE_TYPES)
    assert identity.target_types == identity.source_types == SOURCE_TYPES
    values = np.random.default_rng(0).normal(size=(4, 4))
    assert_array_equal(identity.per_type(values), values)
    assert_array_equal(identity.per_pair(values), values)
    assert identity.kept.tolist() == [True] * 4
    assert identity.describe() == {name: name for name in SOURCE_TYPES}


def test_kept_types_start_from_their_own_name_alone():
    elements = {"Si": "Si", "Ge": "Si", "Sn": "Si", "Pb": {"Pb": 0.5, "Sn": 0.5}, "C": {"C": 1.0, "Si": 0.0}}
    assert ElementMap.from_elements(elements, SOURCE_TYPES).kept.tolist() == [True, False, False, False, True]


def test_describe_leaves_out_weights_of_zero():
    elements = {"Ge": {"Si": 0.25, "Sn": 0.75, "Pb": 0.0}, "Fl": {"Pb": 1.0}}
    assert ElementMap.from_elements(elements, SOURCE_TYPES).describe() == {"Ge": {"Si": 0.25, "Sn": 0.75}, "Fl": "Pb"}


@pytest.mark.parametrize("start", ["Sb", {"Si": 0.5, "Sb": 0.5}])
def test_unknown_source_type_lists_what_the_source_has(start):
    with pytest.raises(ValueError) as error:
        ElementMap.from_elements({"Ge": start}, SOURCE_TYPES)
    message = str(error.value)
    assert "starts 'Ge' from 'Sb', which is not a type of the source" in message
    # words for a whole start cannot be in a blend
    assert message.endswith("Choices: Si, Sn, Pb, C, auto, random." if start == "Sb" else "Choices: Si, Sn, Pb, C.")


def test_species_are_the_names_unless_told():
    assert ElementMap.from_elements({"Ge": "Si"}, SOURCE_TYPES).target_species == ("Ge",)
    assert ElementMap.identity(["bulk", "tip"], ["Si", "Ge"]).source_species == ("Si", "Ge")
    named = {"tip": "Ge", "bulk": "Si"}
    element_map = ElementMap.from_elements({"tip": "bulk"}, ["bulk", "C"], lambda ts: [named.get(t, t) for t in ts])
    assert (element_map.target_species, element_map.source_species) == (("Ge",), ("Si", "C"))


def test_auto_starts_from_the_neighbours_in_the_periodic_table():
    """By the element of a type, whatever the type is called; the weights are those of the source's types."""
    elements = {"Ge": "auto", "Pb": "auto", "C": "auto"}
    named = {"white": "Sn"}
    element_map = ElementMap.from_elements(elements, ["white", "Si", "C"], lambda ts: [named.get(t, t) for t in ts])
    assert element_map.describe() == {"Ge": {"white": 0.5, "Si": 0.5}, "Pb": "white", "C": "C"}
    assert element_map.kept.tolist() == [False, False, True]


@pytest.mark.parametrize(("target", "source_types"), [("bulk", ["Si"]), ("Ge", ["bulk", "tip"])])
def test_auto_needs_elements(target, source_types):
    with pytest.raises(ValueError) as error:
        ElementMap.from_elements({target: "auto"}, source_types)
    message = str(error.value)
    assert f"`elements: {{{target}: auto}}` needs chemical elements" in message
    assert ", ".join(source_types) in message and "`chemical_species`" in message


def test_random_types_are_neither_kept_nor_of_any_source_type():
    element_map = ElementMap.from_elements({"Si": "random", "Ge": "Si"}, ["Si", "C"])
    assert element_map.random.tolist() == [True, False]
    assert element_map.kept.tolist() == [False, False]
    assert element_map.weights.tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert element_map.describe() == {"Si": "random", "Ge": "Si"}
    only = ElementMap.from_elements({"Si": "random"}, ["Si"])
    assert only.kept.tolist() == [False]


def test_source_types_called_auto_and_random_are_source_types():
    element_map = ElementMap.from_elements({"Ge": "auto", "C": "random"}, ["random", "auto"])
    assert element_map.weights.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert not element_map.random.any()


def test_unknown_source_type_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'Si'?"):
        ElementMap.from_elements({"Ge": "si"}, SOURCE_TYPES)
    with pytest.raises(ValueError, match="did you mean 'Fe_bulk'?"):
        ElementMap.from_elements({"Co": "Fe_bluk"}, ("Fe_bulk", "Fe_surface"))


def test_text_of_a_start():
    assert start_text("Si") == "Si"
    assert start_text({"Si": 1 / 3, "Sn": 2 / 3}) == "0.333 Si + 0.667 Sn"
