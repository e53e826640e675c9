"""A record is accepted of whatever the key may say, and refused where a field is of another kind."""

import copy

import pytest
from ase.build import bulk
from made_labels import labelled_by, transfer

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.output.refusal import RefusedFile
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.transfer.transfer import Transfer

SETTINGS = [
    {"length_scale": "covalent_radii"},
    {"length_scale": "none"},
    {"length_scale": 1.08},
    {"length_scale": {"Ge": 1.08}},
    {"length_scale": {"lattice": {"Si": 5.469, "Ge": 5.763}}},
    {"energy_scale": "none"},
    {"energy_scale": 0.8},
    {"energy_scale": {"Ge": 0.8}},
    {"energy_shifts": "source"},
    {"energy_shifts": {"Ge": -3.9}},
    {"energy_shifts": {"isolated_atoms": {"Ge": -0.1}}},
]


@pytest.fixture(scope="module")
def record(nequip_architecture, graph):
    """Of a transfer without fits, but for what a setting asks for."""
    architecture = nequip_architecture("Si")
    source = SourceModel("si.ckpt", "0" * 64, architecture, arch.build(architecture).state_dict())

    def frames(r_max):
        return [graph(bulk("Ge", "diamond", a=5.7, cubic=True), ["Ge"], r_max)]

    def make(setting):
        key = {"source": "si.ckpt", "elements": {"Ge": "Si"}, "length_scale": 1.05, "energy_scale": 1.0}
        key |= {"energy_shifts": "source"}
        return Transfer(TransferConfig.from_mapping(key | setting), source, frames).run().provenance

    return make


def test_errors_are_those_of_what_was_fitted(nequip_architecture):
    """Of one structure: the others, by which errors are known, are missing."""
    architecture = nequip_architecture("Si")
    source = SourceModel("si.ckpt", "0" * 64, architecture, arch.build(architecture).state_dict())
    model, target = transfer(source, {"Ge": "Si"}, length_scale=1.05, energy_scale=0.8, energy_shifts="source")
    frames = labelled_by(model, target.architecture, [0], n_frames=1)
    key = {"source": "si.ckpt", "elements": {"Ge": "Si"}, "length_scale": 1.05}
    made = Transfer(TransferConfig.from_mapping(key), source, lambda r_max: frames).run().provenance
    assert made["length_scale"]["errors"] == {"Ge": 0.0}
    assert made["energy_scale"]["errors"] == {"Ge": None}
    assert made["pair_potential"] is None
    TransferRecord.from_dict(made)
    for name in ("length_scale", "energy_scale", "energy_shifts"):  # as earlier versions wrote it
        del made[name]["errors"]
    del made["pair_potential"]
    TransferRecord.from_dict(made)


@pytest.mark.parametrize("name", ["length_scale", "energy_scale", "energy_shifts"])
@pytest.mark.parametrize("errors", [None, 0.1, {"Ge": "0.1"}, {"Ge": -0.1}, {"Ge": float("inf")}, {1: 0.1}], ids=str)
def test_other_errors_are_refused(record, name, errors):
    altered = copy.deepcopy(record({}))
    altered[name]["errors"] = errors
    with pytest.raises(RefusedFile, match=f"`{name}.errors` of the record of its transfer is .*no transfer writes"):
        TransferRecord.from_dict(altered)


def test_a_pair_potential_that_is_no_name_is_refused(record):
    with pytest.raises(RefusedFile, match="`pair_potential` of the record of its transfer is"):
        TransferRecord.from_dict(record({}) | {"pair_potential": {"Ge": 1.0}})


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_each_setting_of_the_key_is_accepted(record, setting):
    ((name, value),) = setting.items()
    made = record(setting)
    assert made[name]["setting"] == value
    TransferRecord.from_dict(made)


@pytest.mark.parametrize(
    "setting",
    [
        None,
        True,
        float("nan"),
        [1.0],
        {"lattice": None},
        {"cell": {"Ge": 5.7}},
        {"lattice": {"Si": {"Ge": 1.0}}},
        {1: 1.0},
    ],
    ids=str,
)
def test_another_setting_is_refused(record, setting):
    altered = copy.deepcopy(record({}))
    altered["length_scale"]["setting"] = setting
    with pytest.raises(
        RefusedFile, match="`length_scale.setting` of the record of its transfer is .*no transfer writes"
    ):
        TransferRecord.from_dict(altered)


def test_chemical_species(record):
    """They are kept, were not always there, and name elements."""
    made = record({"chemical_species": {"Ge": "Ge"}})
    assert made["chemical_species"] == {"Ge": "Ge"}
    TransferRecord.from_dict(made)
    TransferRecord.from_dict({name: value for name, value in made.items() if name != "chemical_species"})
    for species in ({"Ge": "Gx"}, {"Ge": "X"}, {"Ge": 32}, {1: "Ge"}, ["Ge"], None):
        with pytest.raises(RefusedFile, match="chemical_species"):
            TransferRecord.from_dict(made | {"chemical_species": species})
