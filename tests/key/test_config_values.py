"""Numbers, species and references that the key accepts, and those it cannot mean."""

import math

import pytest
from keys import MINIMAL, SHA256, message_of, parse


def test_one_shift_for_all_types_is_refused():
    """Shifts are absolute energies: one number for several elements is a mistake."""
    assert "`element_transfer.energy_shifts` is -3.9; choices: fit, source," in message_of(
        MINIMAL | {"energy_shifts": -3.9}
    )


@pytest.mark.parametrize("setting", ["length_scale", "energy_scale"])
@pytest.mark.parametrize("value", [0, -0.75])
@pytest.mark.parametrize("per_type", [False, True])
def test_scales_are_positive(setting, value, per_type):
    message = message_of(MINIMAL | {setting: {"Ge": value} if per_type else value})
    whose = " for 'Ge'" if per_type else ""
    assert f"`element_transfer.{setting}` must be positive, found {value!r}{whose}." in message


def test_shifts_may_be_zero_or_negative():
    assert parse(energy_shifts={"Ge": 0}).energy_shifts == {"Ge": 0.0}
    assert parse(energy_shifts={"Ge": -4}).energy_shifts == {"Ge": -4.0}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("length_scale", math.nan),
        ("energy_scale", math.inf),
        ("length_scale", {"Ge": math.inf}),
        ("energy_scale", {"Ge": math.nan}),
        ("energy_shifts", {"Ge": -math.inf}),
        ("length_scale", {"Ge": True}),
        ("energy_scale", {"Ge": "0.75"}),
        ("energy_shifts", {"Ge": None}),
    ],
)
def test_numbers_are_finite_numbers(setting, value):
    found = f"{value['Ge']!r} for 'Ge'" if isinstance(value, dict) else f"{value!r}"
    message = message_of(MINIMAL | {setting: value})
    assert f"`element_transfer.{setting}` needs finite numbers, found {found}." in message


@pytest.mark.parametrize("setting", ["length_scale", "energy_scale", "energy_shifts"])
def test_numbers_per_type_for_an_unknown_type(setting):
    message = message_of({"source": "si.ckpt", "elements": {"Ge": "Si", "Sn": "Si"}, setting: {"Ge": 1.0, "sn": 1.0}})
    assert f"`element_transfer.{setting}` names the type 'sn', which is not in `elements`" in message
    assert "did you mean 'Sn'?" in message and "Choices: Ge, Sn" in message


@pytest.mark.parametrize("setting", ["length_scale", "energy_scale", "energy_shifts"])
def test_numbers_per_type_that_leave_types_out(setting):
    elements = {"Ge": "Si", "Sn": "Si", "Pb": "Si"}
    message = message_of({"source": "si.ckpt", "elements": elements, setting: {"Sn": 1.0}})
    assert f"`element_transfer.{setting}` gives no number for Ge, Pb: name every type of `elements`" in message


@pytest.mark.parametrize("value", ["", "2f7c", SHA256[:-1], SHA256 + "0", "g" * 64, 12, True])
def test_malformed_sha256(value):
    message = message_of(MINIMAL | {"sha256": value})
    assert f"found {value!r}" in message and "64 hexadecimal digits that `sha256sum` prints" in message


@pytest.mark.parametrize("value", ["compiled", "jit", True])
def test_unknown_compile_mode(value):
    message = message_of(MINIMAL | {"compile_mode": value})
    assert f"`element_transfer.compile_mode` is {value!r}" in message and "Choices: eager, compile" in message
    assert ("did you mean 'compile'?" in message) == (value == "compiled")


def test_species_of_types_named_otherwise():
    config = parse(elements={"tip": "Si", "Ge": "bulk"}, chemical_species={"tip": "Ge", "bulk": "Si"})
    assert config.species(["tip", "Ge", "bulk", "C"]) == ["Ge", "Ge", "Si", "C"]
    assert parse().species(["Ge", "Si"]) == ["Ge", "Si"]


@pytest.mark.parametrize("value", ["Ge", ["Ge"], 3])
def test_species_must_be_a_mapping(value):
    message = message_of(MINIMAL | {"chemical_species": value})
    assert f"found {value!r}" in message and "{GeBulk: Ge}" in message


@pytest.mark.parametrize("symbol", ["Gee", "X", "ge", None, False, 32])
def test_species_must_be_elements(symbol):
    message = message_of(MINIMAL | {"chemical_species": {"tip": symbol}})
    assert f"gives 'tip' the element {symbol!r}, which does not exist" in message
    assert ("did you mean 'Ge'?" in message) == (symbol in ("Gee", "ge"))


# ---- numbers that cannot be meant


@pytest.mark.parametrize(
    ("setting", "inside", "outside"),
    [
        ("length_scale", [1 / 14, 0.271, 14.0], [0.071, 14.01, 108, 1e9, 1e-300]),
        ("energy_scale", [1e-6, 27.2, 1e6], [0.99e-6, 1.01e6, 1e300, 1e-300]),
    ],
)
def test_scales_are_ratios_that_occur(setting, inside, outside):
    for number in inside:
        assert getattr(parse(**{setting: number}), setting) == number
        assert getattr(parse(**{setting: {"Ge": number}}), setting) == {"Ge": number}
    for number in outside:
        for value in (number, {"Ge": number}):
            message = message_of(MINIMAL | {setting: value})
            assert f"`element_transfer.{setting}` is {number!r}" in message and "which cannot be meant: " in message
            assert " lies between " in message


def test_energies_of_atoms_are_those_of_their_electrons():
    """Oganesson with all its electrons has about -1.5e6 eV, germanium -5.7e4."""
    assert parse(energy_shifts={"Ge": -1.5e6}).energy_shifts == {"Ge": -1.5e6}
    for number in (-1e10, 1e10, 2.1e6):
        message = message_of(MINIMAL | {"energy_shifts": {"Ge": number}})
        assert f"is {number!r} for 'Ge', which cannot be meant: the energy of an atom lies between -2e6 eV" in message


def test_species_of_what_is_no_type():
    config = parse(chemical_species={"GeBulk": "Ge", "Si1": "Si"})
    config.require_known_types(["Si1", "GeBulk"])  # a source may have both
    with pytest.raises(ValueError, match="names 'GeBulk', which is a type of neither target nor .* Choices: Ge, Si"):
        config.require_known_types(["Si1"])


def test_lattice_constants_in_any_unit():
    for scale in (0.1, 1.0, 1 / 0.529177, 100):  # nm, Å, bohr, pm
        lattice = {"Si": scale * 5.469, "Ge": scale * 5.763}
        assert parse(length_scale={"lattice": lattice}).length_scale == {"lattice": lattice}
    with pytest.raises(ValueError, match="`element_transfer.length_scale.lattice` names 'Sn', which is a type of n"):
        parse(length_scale={"lattice": {"Si": 5.469, "Ge": 5.763, "Sn": 6.5}}).require_known_types(["Si"])


def test_isolated_atoms_are_of_target_types():
    message = message_of(MINIMAL | {"energy_shifts": {"isolated_atoms": {"Ge": -0.1, "Si": -0.2}}})
    assert "`element_transfer.energy_shifts.isolated_atoms` names the type 'Si', which is not in `elements`" in message
