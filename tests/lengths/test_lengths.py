import numpy as np
import pytest
from ase.data import chemical_symbols
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.lengths import scales as lengths
from nequip_elemtransfer.lengths.choice import given_lengths
from nequip_elemtransfer.lengths.search import COARSE_FACTORS, FINE_REACH
from nequip_elemtransfer.mapping.element_map import ElementMap

SI_TO_GE = ElementMap.from_elements({"Ge": "Si"}, ["Si"])


def test_covalent_scale_of_germanium_from_silicon():
    """Cordero et al. 2008: 1.20 Å and 1.11 Å."""
    assert lengths.source_radii(SI_TO_GE).tolist() == [1.11]
    assert lengths.covalent_scales(SI_TO_GE).tolist() == [1.20 / 1.11]
    assert 1.20 / 1.11 == pytest.approx(1.08108, abs=1e-5)


def test_covalent_scale_of_a_blend_is_against_the_mean_radius():
    element_map = ElementMap.from_elements({"Ge": {"Si": 0.75, "Sn": 0.25}}, ["Sn", "Si", "unused"])
    assert lengths.source_radii(element_map) == pytest.approx(0.75 * 1.11 + 0.25 * 1.39, rel=1e-15)
    assert lengths.covalent_scales(element_map) == pytest.approx(1.20 / 1.18, rel=1e-15)


def test_kept_types_have_a_covalent_scale_of_exactly_one():
    element_map = ElementMap.from_elements({"Si": "Si", "Ge": "Si", "C": "C"}, ["C", "Si"])
    assert lengths.covalent_scales(element_map).tolist() == [1.0, 1.20 / 1.11, 1.0]


@pytest.mark.parametrize("name", ["bulk", "X"])
def test_type_that_is_no_element_has_no_radius(name):
    """ASE calls a place holder X and gives it a radius."""
    for elements in ({name: "Si"}, {"Ge": name}):
        with pytest.raises(ValueError, match=f"type '{name}' is not a chemical element.*give a number, `fit`"):
            lengths.covalent_scales(ElementMap.from_elements(elements, ["Si", name]))


def test_types_named_otherwise_have_the_radii_of_their_elements():
    named = {"tip": "Ge", "bulk": "Si"}
    element_map = ElementMap.from_elements({"tip": "bulk"}, ["bulk"], lambda types: [named[t] for t in types])
    assert lengths.covalent_scales(element_map).tolist() == [1.20 / 1.11]


@pytest.mark.parametrize(("symbol", "radius"), [("H", 0.31), ("Pa", 2.00), ("Cm", 1.69)])
def test_radii_reach_to_curium(symbol, radius):
    """ASE marks a missing radius with a number that protactinium has."""
    element_map = ElementMap.from_elements({symbol: "Si"}, ["Si"])
    assert lengths.covalent_scales(element_map) == pytest.approx(radius / 1.11, rel=1e-15)


@pytest.mark.parametrize("symbol", ["Bk", "Og"])
def test_element_without_a_radius(symbol):
    with pytest.raises(ValueError, match=f"no covalent radius is known for '{symbol}': give `length_scale`"):
        lengths.covalent_scales(ElementMap.from_elements({symbol: "Si"}, ["Si"]))


KEEP_AND_EXTEND = ElementMap.from_elements({"Si": "Si", "Ge": "Si"}, ["Si"])


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("covalent_radii", [1.0, 1.20 / 1.11]),
        ("none", [1.0, 1.0]),
        (1.07, [1.0, 1.07]),
        ({"Ge": 1.07, "Si": 1.01}, [1.01, 1.07]),
        ({"lattice": {"Si": 5.469, "Ge": 5.763}}, [1.0, 5.763 / 5.469]),
    ],
)
def test_scale_of_each_type_by_setting(setting, expected):
    assert lengths.per_type_scales(setting, KEEP_AND_EXTEND, KEEP_AND_EXTEND.kept).tolist() == expected


def test_pair_scales_of_covalent_radii_are_ratios_of_bond_lengths():
    """(ρ_t + ρ_u) / (ρ_s(t) + ρ_s(u)), and a kept pair exactly one."""
    element_map = ElementMap.from_elements({"Si": "Si", "Ge": "Si", "Sn": "C"}, ["C", "Si"])
    target, source = np.array([1.11, 1.20, 1.39]), np.array([1.11, 1.11, 0.76])
    scales = lengths.pair_scales(lengths.covalent_scales(element_map), element_map)
    assert_allclose(scales, (target[:, None] + target) / (source[:, None] + source), rtol=1e-15)
    assert scales[0, 0] == 1.0
    assert_array_equal(scales, scales.T)


@pytest.mark.parametrize("scale", [1.05, 1.08108, 0.93])
def test_pairs_of_kept_types_keep_their_lengths_whatever_the_others_do(scale):
    element_map = ElementMap.from_elements({"Si": "Si", "C": "C", "Ge": "Si"}, ["C", "Si"])
    scales = lengths.pair_scales(np.array([1.0, 1.0, scale]), element_map)
    assert_array_equal(scales[:2, :2], np.ones((2, 2)))
    assert scales[2, 2] == pytest.approx(scale, rel=1e-15)


def test_one_scale_for_all_types_is_that_of_all_pairs():
    element_map = ElementMap.from_elements({"Ge": "Si", "Sn": "C"}, ["C", "Si"])
    assert_allclose(lengths.pair_scales(np.full(2, 1.07), element_map), 1.07, rtol=1e-15)


def test_types_that_are_no_elements_weigh_equally_in_a_pair():
    element_map = ElementMap.from_elements({"A": "big", "B": "small"}, ["big", "small"])
    scales = lengths.pair_scales(np.array([1.1, 1.3]), element_map)
    assert_allclose(scales, [[1.1, 1.2], [1.2, 1.3]], rtol=1e-15)


def test_a_number_counts_for_kept_types_too_where_they_are_not_frozen():
    assert lengths.per_type_scales(1.07, KEEP_AND_EXTEND, np.zeros(2, dtype=bool)).tolist() == [1.07, 1.07]


def test_lattice_scale_of_a_blend_is_against_the_mean_constant():
    element_map = ElementMap.from_elements({"Ge": {"Si": 0.75, "Sn": 0.25}}, ["Sn", "Si", "unused"])
    found = lengths.lattice_scales({"Ge": 5.66, "Si": 5.43, "Sn": 6.49}, element_map)
    assert found == pytest.approx(5.66 / (0.75 * 5.43 + 0.25 * 6.49), rel=1e-15)


@pytest.mark.parametrize("constants", [{"Ge": 5.66}, {"Si": 5.43}, {}])
def test_lattice_constant_that_is_missing(constants):
    missing = [t for t in ("Ge", "Si") if t not in constants]
    with pytest.raises(ValueError, match=f"gives no lattice constant of {', '.join(missing)}, which λ of Ge needs"):
        lengths.lattice_scales(constants, SI_TO_GE)


def test_first_guess_is_one_where_a_type_is_no_element():
    element_map = ElementMap.from_elements({"tip": "Si"}, ["Si"])
    assert not lengths.has_radii(element_map)
    assert lengths.first_guess(element_map).tolist() == [1.0]
    assert lengths.first_guess(SI_TO_GE).tolist() == [1.20 / 1.11]


NOT_FROZEN = np.zeros(1, dtype=bool)


def chosen(elements, length_scale, source_types):
    """λ of the one target type by the key."""
    element_map = ElementMap.from_elements(elements, source_types)
    config = TransferConfig.from_mapping({"source": "any", "elements": elements, "length_scale": length_scale})
    return given_lengths(config, element_map, NOT_FROZEN).scales.tolist()


@pytest.mark.parametrize("target", chemical_symbols[1:97])
def test_the_key_takes_what_radii_and_fit_come_to(target):
    """What `plan` finds by radii or within the range of its search stands in a config that the key reads."""
    for origin in ("H", "He", "C", "Si", "Cs", "Fr"):
        radii = lengths.covalent_scales(ElementMap.from_elements({target: origin}, [origin]))[0]
        for factor in (COARSE_FACTORS[0] - FINE_REACH, 1.0, COARSE_FACTORS[-1] + FINE_REACH):
            scale = round(factor * radii, 6)
            assert chosen({target: origin}, {target: scale}, [origin]) == [scale]


@pytest.mark.parametrize(
    ("target", "origin", "scale"),
    [("Ge", "Si", 5.4), ("Ge", "Si", 0.333), ("Ge", "Si", 3.01), ("H", "Si", 0.18), ("H", "Si", 3.4), ("Cs", "H", 12)],
)
def test_no_ratio_of_lengths(target, origin, scale):
    """A cutoff, and what half as much again of the radii's ratio does not reach."""
    with pytest.raises(ValueError, match=f"`element_transfer.length_scale` is {scale} for '{target}', which cannot be"):
        chosen({target: origin}, scale, [origin])


@pytest.mark.parametrize("lattice", [{"Si": 0.5469, "Ge": 5.763}, {"Si": 3.0, "Ge": 9.1}])
def test_lattice_constants_in_two_units(lattice):
    with pytest.raises(ValueError, match="gives .* for 'Ge', which cannot be meant: λ.* crystal structure in one unit"):
        chosen({"Ge": "Si"}, {"lattice": lattice}, ["Si"])


def test_types_that_are_no_elements_have_the_usual_range():
    assert chosen({"tip": "bulk"}, 0.34, ["bulk"]) == [0.34]
    with pytest.raises(ValueError, match="between 0.333 and 3 .*: name their elements in `chemical_species`"):
        chosen({"tip": "bulk"}, 0.27, ["bulk"])
