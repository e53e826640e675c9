import math

import pytest
import yaml

from nequip_elemtransfer.config import TransferConfig

MINIMAL = {"source": "si.ckpt", "elements": {"Ge": "Si"}}
SHA256 = "0123456789abcdef" * 4


def parse(**key):
    return TransferConfig.from_mapping(MINIMAL | key)


def message_of(key):
    with pytest.raises(ValueError) as error:
        TransferConfig.from_mapping(key)
    return str(error.value)


def test_defaults():
    assert TransferConfig.from_mapping(MINIMAL) == TransferConfig(
        source="si.ckpt",
        elements={"Ge": "Si"},
        length_scale="fit",
        energy_scale="fit",
        energy_shifts="fit",
        sha256=None,
        fit_weights={"energy": 1.0, "forces": 1.0, "stress": 1.0},
        kept_types="frozen",
        compile_mode=None,
        chemical_species={},
    )


def test_settings_left_empty_are_defaults():
    empty = dict.fromkeys(
        [
            "length_scale",
            "energy_scale",
            "energy_shifts",
            "sha256",
            "fit_weights",
            "kept_types",
            "compile_mode",
            "chemical_species",
        ]
    )
    assert parse(**empty) == TransferConfig.from_mapping(MINIMAL)


def test_type_names_keep_the_order_of_elements():
    config = parse(elements={"Sn": "Si", "C": "Si", "Ge": {"Si": 0.25, "Pb": 0.75}})
    assert config.type_names == ["Sn", "C", "Ge"]
    assert config.elements["Ge"] == {"Si": 0.25, "Pb": 0.75}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("length_scale", "covalent_radii"),
        ("length_scale", "fit"),
        ("length_scale", "none"),
        ("length_scale", 1.08),
        ("length_scale", {"Ge": 1.08}),
        ("length_scale", {"lattice": {"Si": 5.469, "Ge": 5.763}}),
        ("energy_scale", "fit"),
        ("energy_scale", "none"),
        ("energy_scale", 0.75),
        ("energy_scale", {"Ge": 0.75}),
        ("energy_shifts", "fit"),
        ("energy_shifts", "source"),
        ("energy_shifts", {"Ge": -3.9}),
        ("energy_shifts", "isolated_atoms"),
        ("energy_shifts", {"isolated_atoms": {"Ge": -0.1}}),
        ("fit_weights", {"energy": 2.0, "forces": 1.0, "stress": 0.0}),
        ("kept_types", "frozen"),
        ("kept_types", "fit"),
        ("sha256", SHA256),
        ("compile_mode", "eager"),
        ("compile_mode", "compile"),
    ],
)
def test_accepted_values_are_kept(setting, value):
    assert getattr(parse(**{setting: value}), setting) == value


def test_numbers_become_floats_in_the_order_of_elements():
    config = parse(elements={"Ge": "Si", "Sn": "Si"}, length_scale={"Sn": 2, "Ge": 1}, energy_scale=1)
    assert list(config.length_scale.items()) == [("Ge", 1.0), ("Sn", 2.0)]
    assert isinstance(config.length_scale["Sn"], float) and isinstance(config.energy_scale, float)


def test_sha256_is_lowered_and_may_be_all_digits():
    assert parse(sha256=SHA256.upper()).sha256 == SHA256
    # unquoted, YAML makes a number of it
    assert parse(sha256=int("1" * 64)).sha256 == "1" * 64


@pytest.mark.parametrize("key", [None, "si.ckpt", ["source"], 3])
def test_key_must_be_a_mapping(key):
    message = message_of(key)
    assert repr(key) in message and "`source` and `elements`" in message


def test_unknown_key_suggests_the_nearest_and_lists_all():
    message = message_of(MINIMAL | {"lenght_scale": 1.08})
    assert "'lenght_scale'" in message and "did you mean 'length_scale'?" in message
    for name in ("source", "elements", "length_scale", "energy_scale", "energy_shifts", "sha256", "compile_mode"):
        assert name in message.split("Choices:")[1]


def test_unknown_key_like_no_other_suggests_nothing():
    message = message_of(MINIMAL | {"xyzzy": 1})
    assert "'xyzzy'" in message and "did you mean" not in message and "Choices: source, elements" in message


@pytest.mark.parametrize("name", ["source", "elements"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_missing_source_or_elements(name, how):
    key = MINIMAL | {name: None}
    if how == "absent":
        del key[name]
    message = message_of(key)
    assert f"`element_transfer.{name}` is missing" in message
    assert "`source: ../si/best.ckpt`" in message and "`elements: {Ge: Si}`" in message


@pytest.mark.parametrize("source", ["", 3, True, ["si.ckpt"], {"path": "si.ckpt"}])
def test_source_must_be_a_path(source):
    assert f"`element_transfer.source` must be a path, found {source!r}" in message_of(MINIMAL | {"source": source})


@pytest.mark.parametrize("elements", ["Ge", {}, [], ["Ge"], 3])
def test_elements_must_map_types(elements):
    message = message_of(MINIMAL | {"elements": elements})
    assert f"found {elements!r}" in message and "`elements: {Ge: Si}`" in message


@pytest.mark.parametrize("line", ["elements: {No: Fm}", "elements: {Fm: No}", "elements: {Fm: {No: 1.0}}"])
def test_nobelium_read_as_false(line):
    message = message_of(MINIMAL | yaml.safe_load(line))
    assert "holds False" in message and "quotes, as in 'No'" in message


def test_quoted_nobelium():
    assert TransferConfig.from_mapping(MINIMAL | yaml.safe_load("elements: {'No': Fm}")).type_names == ["No"]


@pytest.mark.parametrize("start", [None, 3, ["Si"]])
def test_start_must_be_a_type_name(start):
    message = message_of(MINIMAL | {"elements": {"Ge": start}})
    assert f"holds {start!r} where a type name is expected" in message and "{Ge: Si}" in message


@pytest.mark.parametrize("target", ["Ge_bulk", "Ge 1", "Ge-", ""])
def test_target_names_nequip_would_refuse(target):
    message = message_of(MINIMAL | {"elements": {target: "Si"}})
    assert f"target type {target!r}" in message and "only letters and digits" in message


def test_source_types_may_have_any_name():
    assert parse(elements={"Ge": "Si_bulk"}).elements == {"Ge": "Si_bulk"}


@pytest.mark.parametrize(
    ("blend", "total"),
    [({"Si": 0.5, "Sn": 0.4}, "0.9"), ({"Si": 1, "Sn": 1}, "2"), ({"Si": 0.999}, "0.999"), ({}, "0")],
)
def test_blend_must_sum_to_one(blend, total):
    message = message_of(MINIMAL | {"elements": {"Ge": blend}})
    assert "the blend for 'Ge'" in message and f"sum to {total}:" in message and "{Si: 0.5, Sn: 0.5}" in message


def test_blend_of_thirds_is_close_enough_to_one():
    assert parse(elements={"Ge": {"Si": 1 / 3, "Sn": 1 / 3, "Pb": 1 / 3}})


@pytest.mark.parametrize("weight", [-0.5, 1.5, True, "0.5", None, math.nan, math.inf])
def test_blend_weights_are_numbers_from_zero_to_one(weight):
    message = message_of(MINIMAL | {"elements": {"Ge": {"Si": weight, "Sn": 0.5}}})
    assert f"'Si' the weight {weight!r}" in message and "'Ge'" in message and "numbers from 0 to 1" in message


@pytest.mark.parametrize("setting", ["length_scale", "energy_scale", "energy_shifts"])
@pytest.mark.parametrize("value", ["1.08", "Fit", "off"])
def test_unknown_word_lists_the_choices(setting, value):
    message = message_of(MINIMAL | {setting: value})
    assert f"`element_transfer.{setting}` is {value!r}" in message
    words = {
        "length_scale": "fit, covalent_radii, none, a number, a number per type such as {Ge: ...}, {lattice: ",
        "energy_scale": "fit, none, a number, a number per type such as {Ge: ...}",
        "energy_shifts": "fit, source, isolated_atoms, a number per type such as {Ge: ...}, {isolated_atoms: ",
    }
    assert f"Choices: {words[setting]}" in message
    assert ("did you mean 'fit'?" in message) == (value == "Fit")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("fit_weights", 1.0, "must be a mapping such as {energy: 1, forces: 1, stress: 1}, found 1.0"),
        ("fit_weights", {"force": 1.0}, "has no 'force'; did you mean 'forces'?"),
        ("fit_weights", {"stress": -1.0}, "gives 'stress' the weight -1.0"),
        ("fit_weights", {"stress": "high"}, "gives 'stress' the weight 'high'"),
        ("fit_weights", dict.fromkeys(["energy", "forces", "stress"], 0), "leaves out every kind of label"),
        ("kept_types", "refit", "`element_transfer.kept_types` is 'refit'; did you mean 'fit'? Choices: frozen, fit"),
        ("length_scale", {"lattice": {"Ge": -5.66}}, "`element_transfer.length_scale.lattice` must be positive"),
        ("length_scale", {"lattice": {"Ge": "a"}}, "`element_transfer.length_scale.lattice` needs finite numbers"),
        ("length_scale", {"lattice": 5.66}, "'lattice' stands alone and maps types to numbers"),
        ("length_scale", {"lattice": None}, "'lattice' stands alone and maps types to numbers"),
        ("length_scale", {"lattice": {"Si": 5.4, "Ge": 5.6}, "Ge": 1.0}, "'lattice' stands alone"),
        ("energy_shifts", {"isolated_atoms": ["Ge"]}, "'isolated_atoms' stands alone and maps types to numbers"),
        *((name, 10**400, f"`element_transfer.{name}` is 1000") for name in ("length_scale", "energy_scale")),
        ("energy_shifts", {"Ge": -(10**400)}, "`element_transfer.energy_shifts` is -1000"),
        ("fit_weights", {"energy": 10**400}, "gives 'energy' the weight 1000"),
        ("fit_weights", {"energy": 1e300}, "give 0, or a number from 1e-6 to 1e6"),
        ("fit_weights", {"energy": 1e-320}, "give 0, or a number from 1e-6 to 1e6"),
        ("kept_types", False, "`element_transfer.kept_types` is False. Choices: frozen, fit"),
        ("kept_types", "", "`element_transfer.kept_types` is ''. Choices: frozen, fit"),
        ("chemical_species", {"Ge": ["Ge"]}, "gives 'Ge' the element ['Ge'], which does not exist"),
        ("chemical_species", {"Ge": {"Ge": 1}}, "gives 'Ge' the element {'Ge': 1}, which does not exist"),
        ("energy_shifts", {"isolated_atoms": {"Ge": math.nan}}, "energy_shifts.isolated_atoms` needs finite numbers"),
    ],
)
def test_fits_and_references_that_cannot_be(setting, value, message):
    found = message_of(MINIMAL | {setting: value})
    assert message in found and len(found) < 400


def test_a_weight_left_out_is_one():
    assert parse(fit_weights={"stress": 3}).fit_weights == {"energy": 1.0, "forces": 1.0, "stress": 3.0}


def test_energies_of_isolated_atoms():
    assert parse().isolated_atom_energies is None
    assert parse(energy_shifts={"Ge": -3.9}).isolated_atom_energies is None
    assert parse(energy_shifts="isolated_atoms").isolated_atom_energies == {}
    assert parse(energy_shifts={"isolated_atoms": {"Ge": -0.1}}).isolated_atom_energies == {"Ge": -0.1}


def test_misspelt_word_suggests_the_nearest():
    assert "did you mean 'covalent_radii'?" in message_of(MINIMAL | {"length_scale": "covalent_radius"})


@pytest.mark.parametrize("setting", ["length_scale", "energy_scale", "energy_shifts"])
@pytest.mark.parametrize("value", [True, False, [1.08]])
def test_wrong_kind_of_value(setting, value):
    message = message_of(MINIMAL | {setting: value})
    assert f"`element_transfer.{setting}` is {value!r}; choices:" in message and "{Ge: ...}" in message


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
        ("length_scale", [1 / 3, 0.34, 3.0], [0.333, 3.001, 5.4, 108, 1e9, 1e-300]),
        ("energy_scale", [0.001, 27.2, 1000], [0.00099, 1001, 1e300, 1e-300]),
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


def test_lattice_constants_are_of_one_structure_in_one_unit():
    for scale in (0.1, 1.0, 1 / 0.529177, 100):  # nm, Å, bohr, pm
        lattice = {"Si": scale * 5.469, "Ge": scale * 5.763}
        assert parse(length_scale={"lattice": lattice}).length_scale == {"lattice": lattice}
    for lattice in ({"Si": 0.5469, "Ge": 5.763}, {"Si": 3.0, "Ge": 9.1}):
        message = message_of(MINIMAL | {"length_scale": {"lattice": lattice}})
        assert f"`element_transfer.length_scale.lattice` is {lattice}" in message and "in one unit" in message
    with pytest.raises(ValueError, match="`element_transfer.length_scale.lattice` names 'Sn', which is a type of n"):
        parse(length_scale={"lattice": {"Si": 5.469, "Ge": 5.763, "Sn": 6.5}}).require_known_types(["Si"])


def test_isolated_atoms_are_of_target_types():
    message = message_of(MINIMAL | {"energy_shifts": {"isolated_atoms": {"Ge": -0.1, "Si": -0.2}}})
    assert "`element_transfer.energy_shifts.isolated_atoms` names the type 'Si', which is not in `elements`" in message
