import pytest
from ase.data import chemical_symbols

from nequip_elemtransfer.mapping.element_map import interpolate, period_and_group


@pytest.mark.parametrize(
    ("symbol", "place"),
    [
        ("H", (1, 1)),
        ("He", (1, 18)),
        ("Li", (2, 1)),
        ("C", (2, 14)),
        ("Mg", (3, 2)),
        ("Al", (3, 13)),
        ("Sc", (4, 3)),
        ("Ti", (4, 4)),
        ("Cu", (4, 11)),
        ("Ge", (4, 14)),
        ("Ag", (5, 11)),
        ("Cs", (6, 1)),
        ("La", (6, 3)),
        ("Hf", (6, 4)),
        ("Au", (6, 11)),
        ("Pb", (6, 14)),
        ("Rn", (6, 18)),
        ("Ra", (7, 2)),
        ("Rf", (7, 4)),
        ("Og", (7, 18)),
    ],
)
def test_place_of_an_element(symbol, place):
    assert period_and_group(symbol) == place


def test_places_are_in_the_order_of_atomic_numbers_and_all_different():
    places = [period_and_group(symbol) for symbol in chemical_symbols[1:119]]
    assert places == sorted(set(places))
    # lanthanides and actinides lie between groups 3 and 4
    assert all(3 < period_and_group(symbol)[1] < 4 for symbol in ("Ce", "Gd", "Lu", "Th", "U", "Lr"))


@pytest.mark.parametrize("symbol", ["X", "Gee", "ge", ""])
def test_what_is_no_element_has_no_place(symbol):
    with pytest.raises(ValueError, match=f"'{symbol}' is not a chemical element"):
        period_and_group(symbol)


@pytest.mark.parametrize(
    ("target", "candidates", "expected"),
    [
        ("Si", ["Ge", "Si"], {"Si": 1.0}),  # the element itself
        ("Ge", ["Si", "Sn"], {"Si": 0.5, "Sn": 0.5}),  # above and below in its group
        ("Si", ["Pb", "C", "O"], {"C": 0.75, "Pb": 0.25}),  # by distance; the group before the period
        ("Ge", ["C", "Si", "Sn", "Pb"], {"Si": 0.5, "Sn": 0.5}),  # the next of each side
        ("Pb", ["C", "Si"], {"Si": 1.0}),  # only one side
        ("P", ["Si", "Cl"], {"Si": 2 / 3, "Cl": 1 / 3}),  # left and right in its period
        ("Al", ["Cl", "Si"], {"Si": 1.0}),
        ("P", ["Ge", "Se", "Kr"], {"Ge": 0.5, "Se": 0.5}),  # nearest by rows plus columns
        ("P", ["Pb", "Ge"], {"Ge": 1.0}),
        ("P", ["Kr", "Ge"], {"Ge": 1.0}),
    ],
)
def test_weights_by_place(target, candidates, expected):
    assert interpolate(target, candidates) == pytest.approx(expected, rel=1e-15)
