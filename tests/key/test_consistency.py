import pytest

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.key import consistency

MODULE = {"_target_": "nequip.train.NequIPLightningModule"}


def key(**entries):
    return TransferConfig.from_mapping({"source": "si.ckpt", "elements": {"Ge": "Si", "Si": "Si"}} | entries)


def datasets(*transforms):
    """A ``data:`` section that lists its datasets, the last with these transforms."""
    good = [{"model_type_names": ["Ge", "Si"]}, {"r_max": 4.5}]
    return {"train_dataset": {"transforms": good}, "val_dataset": [{"transforms": good}, {"transforms": [*transforms]}]}


# ---- the key is there, and used


def test_any_entry_may_look_the_model_up():
    consistency.require_model({"start": "${element_transfer:model}", "training_module": MODULE | {"model": "${start}"}})
    modified = {"_target_": "nequip.model.modify", "model": "${ element_transfer : model }", "modifiers": []}
    consistency.require_model({"training_module": MODULE | {"model": modified}})


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ({"_target_": "nequip.model.NequIPGNNModel"}, "'nequip.model.NequIPGNNModel'"),
        ("${element_transfer:models}", "'${element_transfer:models}'"),
        (None, "None"),
    ],
)
def test_model_that_is_not_looked_up(model, found):
    config = {"element_transfer": {"source": "${element_transfer:model}"}, "training_module": MODULE | {"model": model}}
    with pytest.raises(ValueError) as error:
        consistency.require_model(config)
    assert f"so nothing is transferred: `training_module.model` is {found}; set `model: ${{el" in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"data": {"seed": 1}}, "level. Choices: data"),
        ({"element_transfr": {}}, "did you mean 'element_transfr'"),
        ({"data": [{"element_transfer": {}}]}, r"move it there from `data\[0\].element_transfer`"),
    ],
)
def test_key_that_is_elsewhere(config, message):
    with pytest.raises(ValueError, match=f"has no such key at the top {message}" if "level" in message else message):
        consistency.require_key(config)


# ---- what the data are told


def test_data_that_agree():
    data = datasets({"model_type_names": ["Ge", "Si"], "type_names": None}, {"r_max": 4.5 * (1 - 1e-9)})
    consistency.require_types(data, ["Ge", "Si"])
    consistency.require_cutoff(data, 4.5)
    consistency.require_species(data, key())


@pytest.mark.parametrize("name", ["model_type_names", "type_names"])
@pytest.mark.parametrize("types", [["Si", "Ge"], ["Ge"], ["Ge", "Si", "C"], [], "GeSi", 4.5, {"Ge": 0, "Si": 1}])
def test_types_that_disagree_in_one_of_the_datasets(name, types):
    with pytest.raises(ValueError) as error:
        consistency.require_types(datasets({name: types}), ["Ge", "Si"])
    message = str(error.value)
    assert (
        f"`data.val_dataset[1].transforms[0].{name}` is {types}, and the model's types are ['Ge', 'Si'], in" in message
    )
    assert f"Set `{name}: ${{element_transfer:type_names}}`" in message


@pytest.mark.parametrize("r_max", [4.49, 0.0, -5.0, float("nan"), None, True, "4.5", [4.5]])
def test_neighbour_lists_that_are_too_short(r_max):
    with pytest.raises(ValueError) as error:
        consistency.require_cutoff(datasets({"r_max": r_max}), 4.5)
    place = "`data.val_dataset[1].transforms[0].r_max`"
    assert f"{place} is {r_max!r}, and the model's cutoff is r_max = 4.5 Å: its" in str(error.value)


def test_species_of_a_type():
    """What the key says of a type's element goes before its name."""
    bulk = {"elements": {"GeBulk": "Si"}, "chemical_species": {"GeBulk": "Ge"}}
    consistency.require_species({"chemical_species_to_atom_type_map": {"Ge": "GeBulk"}}, key(**bulk))
    consistency.require_species({"chemical_species_to_atom_type_map": {"Ge": "Bulk"}}, key())  # no element
    with pytest.raises(
        ValueError, match="makes Si atoms the type 'GeBulk', which is Ge for .* {GeBulk: Si}` in the key"
    ):
        consistency.require_species({"chemical_species_to_atom_type_map": {"Si": "GeBulk"}}, key(**bulk))
    with pytest.raises(
        ValueError, match="`data.chemical_species_to_atom_type_map` makes Sn atoms the type 'Ge', which"
    ):
        consistency.require_species({"chemical_species_to_atom_type_map": {"Ge": "Ge", "Sn": "Ge"}}, key())
