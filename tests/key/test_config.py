"""The settings of the key."""

import math

import pytest
import yaml
from keys import MINIMAL, SHA256, message_of, parse

from nequip_elemtransfer.config import TransferConfig


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
