import builtins
import os
from copy import deepcopy

import nequip.utils.file_utils
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nequip.nn.embedding.utils import cutoff_partialdict_to_tensor
from nequip.utils.global_dtype import _GLOBAL_DTYPE
from numpy.testing import assert_allclose, assert_array_equal

import nequip_elemtransfer.source  # noqa: F401  its own import evaluates something, which is no call of ours
from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.mapping.per_type import retype

ZBL = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["Si"]}

# functions that would leave a trace if they were called with a path
CALLS = ["os.system", "os.mkdir", "builtins.eval", "builtins.open", "torch.load", "torch.hub.load", "subprocess.run"]
# objects inside NequIP and its extensions that are no part of a model
NOT_PARTS = [
    "nequip.utils.file_utils.download_url",
    "nequip.utils.file_utils.os",
    "nequip.model.ModelFromPackage",
    "nequip.data.datamodule.ASEDataModule",
    "nequip_elemtransfer.source.read_checkpoint",
]


@pytest.fixture
def called(monkeypatch):
    """What the dangerous functions were called with; none of them does anything while this is in use."""
    calls = []

    def sentinel(name):
        return lambda *args, **kwargs: calls.append(name)

    for name in ("system", "mkdir"):
        monkeypatch.setattr(os, name, sentinel(name))
    monkeypatch.setattr(builtins, "eval", sentinel("eval"))
    monkeypatch.setattr(torch, "load", sentinel("load"))
    monkeypatch.setattr(torch.hub, "load", sentinel("hub.load"))
    monkeypatch.setattr(nequip.utils.file_utils, "download_url", sentinel("download_url"))
    return calls


def refusal(architecture):
    with pytest.raises(ValueError) as error:
        arch.build(architecture)
    with pytest.raises(ValueError) as same:
        arch.check(architecture)
    assert str(same.value) == str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", [*CALLS, *NOT_PARTS])
def test_model_that_is_not_a_builder_is_refused_and_not_called(called, name):
    assert name in refusal({"_target_": name, "path": "evil"})
    assert called == []


@pytest.mark.parametrize("name", [*CALLS, *NOT_PARTS])
@pytest.mark.parametrize("where", ["value", "in a mapping", "in a list"])
def test_part_that_is_not_of_a_model_is_refused_and_not_called(nequip_architecture, called, name, where):
    call = {"_target_": name, "path": "evil"}
    hidden = {
        "value": call,
        "in a mapping": ZBL | {"units": call},
        "in a list": ZBL | {"chemical_species": ["Si", (call,)]},
    }
    assert name in refusal(nequip_architecture("Si", pair_potential=hidden[where]))
    assert called == []


@pytest.mark.parametrize(
    "text", ["${oc.create:{_target_: os.mkdir, _args_: ['%s']}}", "${type_names_from_package:%s}", "x${oc.env:HOME}%s"]
)
def test_interpolation_is_refused_and_not_resolved(nequip_architecture, tmp_path, text):
    """Hydra resolves interpolations in the parts it builds, and one of them can make a call out of a string."""
    marker = tmp_path / "ran"
    hidden = ZBL | {"chemical_species": [text % marker]}
    assert "only plain values are used" in refusal(nequip_architecture("Si", pair_potential=hidden))
    assert not marker.exists()


@pytest.mark.parametrize("name", [None, 3, "", "NequIPGNNModel", ["nequip.model.NequIPGNNModel"]])
def test_builder_must_be_a_dotted_name(name):
    message = refusal({"_target_": name, "type_names": ["Si"]})
    assert repr(name) in message and "installed: " in message and "nequip" in message


@pytest.mark.parametrize("name", ["nequip.model.NequIPGNModel", "nequip.modell.NequIPGNNModel", "nequip.model..x"])
def test_builder_the_installed_version_lacks(name):
    message = refusal({"_target_": name})
    assert repr(name) in message and "does not exist in the installed version" in message


@pytest.mark.parametrize("name", ["NequIPGNNModel", "PresetNequIPGNNModel", "FullNequIPGNNModel"])
def test_builders_of_nequip_are_accepted(name):
    arch.check({"_target_": f"nequip.model.{name}", "type_names": ["Si"], "pair_potential": ZBL})
    arch.check({"_target_": f"nequip.model.nequip_models.{name}", "type_names": ["Si"], "pair_potential": None})


@pytest.mark.parametrize("embedding", ["bessel", "spline"])
def test_builders_of_allegro_are_accepted(allegro_architecture, embedding):
    architecture = allegro_architecture("Si", embedding=embedding)
    arch.check(architecture)
    arch.check(architecture | {"_target_": "allegro.model.allegro_models.FullAllegroModel"})


@pytest.mark.parametrize(
    "name",
    ["nequip.model.NequIPGNNModel", "nequip.model.pair_potential.ZBLPairPotential", "allegro.model.AllegroModel"],
)
def test_model_builder_is_not_a_part(nequip_architecture, name):
    """It takes `type_names` as the factories of parts do, which live in a package's `nn`."""
    if name.startswith("allegro"):
        pytest.importorskip("allegro")
    assert name in refusal(nequip_architecture("Si", pair_potential={"_target_": name, "r_max": 3.0}))


def test_build_leaves_its_argument_and_the_random_state_alone(nequip_architecture):
    arch.initialize_nequip()  # which seeds
    architecture = nequip_architecture("Si", compile_mode="compile")
    before, random = deepcopy(architecture), torch.get_rng_state()
    model = arch.build(architecture)
    assert architecture == before
    assert torch.equal(torch.get_rng_state(), random)
    assert not model.is_compile_graph_model


# ---- other types


REORDERED = ElementMap.from_elements({"Ge": "Si", "C": "H", "Sn": "Si"}, ["H", "Si"])
BLEND = ElementMap.from_elements({"Ge": {"H": 0.25, "Si": 0.75}, "C": "H"}, ["H", "Si"])


def test_retype_maps_tables_over_types_and_keeps_everything_else(nequip_architecture):
    architecture = nequip_architecture(
        "H",
        "Si",
        per_type_energy_shifts={"Si": -5.0, "H": -1.0},
        avg_num_neighbors={"H": 8, "Si": 16},
        convnet_nonlinearity_gates={"e": "silu", "o": "tanh"},
    )
    before = deepcopy(architecture)
    retyped = retype(architecture, REORDERED)
    assert retyped == architecture | {
        "type_names": ["Ge", "C", "Sn"],
        "per_type_energy_shifts": {"Ge": -5.0, "C": -1.0, "Sn": -5.0},
        "avg_num_neighbors": {"Ge": 16.0, "C": 8.0, "Sn": 16.0},
    }
    assert architecture == before
    blended = retype(architecture, BLEND)
    assert blended["per_type_energy_shifts"] == {"Ge": -4.0, "C": -1.0}
    assert blended["avg_num_neighbors"] == {"Ge": 14.0, "C": 8.0}


def test_retype_maps_a_partial_table_of_pair_cutoffs(nequip_architecture):
    """What the table leaves out is r_max, for the new types as well."""
    architecture = nequip_architecture("H", "Si", r_max=4.0, per_edge_type_cutoff={"H": {"H": 2.0}, "Si": 3.0})
    cutoffs = retype(architecture, REORDERED)["per_edge_type_cutoff"]
    assert cutoffs == {
        "Ge": {"Ge": 3.0, "C": 3.0, "Sn": 3.0},
        "C": {"Ge": 4.0, "C": 2.0, "Sn": 4.0},
        "Sn": {"Ge": 3.0, "C": 3.0, "Sn": 3.0},
    }
    # Ge, C: 0.25 * (H, H) + 0.75 * (Si, H)
    blended = retype(architecture, BLEND)["per_edge_type_cutoff"]
    assert blended["Ge"]["C"] == 0.25 * 2.0 + 0.75 * 3.0
    assert blended["C"]["Ge"] == 0.25 * 2.0 + 0.75 * 4.0


def test_retype_without_pair_cutoffs_adds_none(nequip_architecture):
    retyped = retype(nequip_architecture("H", "Si"), REORDERED)
    assert retyped.get("per_edge_type_cutoff") is None


@pytest.mark.parametrize("r_max", [4.0, 5.1])
def test_blended_pair_cutoffs_never_round_above_r_max(r_max):
    """NequIP refuses a pair cutoff above r_max, by however little."""
    types = ["H", "Si", "C"]
    architecture = {"type_names": types, "r_max": r_max, "per_edge_type_cutoff": {"H": r_max}}
    for weights in np.random.default_rng(0).dirichlet(np.ones(3), size=200):
        element_map = ElementMap.from_elements({"Ge": dict(zip(types, weights.tolist())), "Sn": "Si"}, types)
        cutoffs = retype(architecture, element_map)["per_edge_type_cutoff"]
        assert_allclose(cutoff_partialdict_to_tensor(cutoffs, ["Ge", "Sn"], r_max), r_max, rtol=1e-14)


def test_retype_gives_zbl_the_new_species(nequip_architecture):
    architecture = nequip_architecture("H", "Si", pair_potential=ZBL | {"chemical_species": ["H", "Si"]})
    retyped = retype(architecture, REORDERED)
    assert retyped["pair_potential"] == ZBL | {"chemical_species": ["Ge", "C", "Sn"]}
    model = arch.build(retyped)
    assert model.model.func.pair_potential.atomic_numbers.tolist() == [32.0, 6.0, 50.0]
    assert architecture["pair_potential"]["chemical_species"] == ["H", "Si"]


def test_retype_gives_zbl_the_elements_of_types_named_otherwise():
    named = {"tip": "Ge", "bulk": "Si"}
    element_map = ElementMap.from_elements({"tip": "bulk"}, ["bulk"], lambda types: [named[t] for t in types])
    architecture = {"type_names": ["bulk"], "pair_potential": ZBL}
    assert retype(architecture, element_map)["pair_potential"]["chemical_species"] == ["Ge"]


def lennard_jones(sigma):
    return {"_target_": "nequip.nn.pair_potential.LennardJones", "lj_sigma": sigma, "lj_epsilon": 0.1, "lj_style": "lj"}


def test_retype_maps_lennard_jones_matrices_and_keeps_numbers(nequip_architecture):
    architecture = nequip_architecture("H", "Si", pair_potential=lennard_jones([[1.0, 2.0], [2.0, 4.0]]))
    retyped = retype(architecture, REORDERED)["pair_potential"]
    assert retyped == lennard_jones([[4.0, 2.0, 4.0], [2.0, 1.0, 2.0], [4.0, 2.0, 4.0]])
    blended = retype(architecture, BLEND)["pair_potential"]
    assert blended["lj_sigma"] == [[3.0625, 1.75], [1.75, 1.0]]


@given(st.lists(st.integers(1, 99), min_size=3, max_size=3))
def test_blended_lennard_jones_matrices_stay_symmetric(parts):
    """NequIP compares them with their transpose to the last bit."""
    blend = {name: part / sum(parts) for name, part in zip(("H", "Si", "C"), parts)}
    element_map = ElementMap.from_elements({"Ge": blend, "Sn": {"Si": 0.3, "C": 0.7}}, ["H", "Si", "C"])
    architecture = {"pair_potential": lennard_jones([[1.1, 2.3, 1.7], [2.3, 4.1, 0.9], [1.7, 0.9, 3.3]])}
    mapped = np.array(retype(architecture, element_map)["pair_potential"]["lj_sigma"])
    assert_array_equal(mapped, mapped.T)


# ---- cutoffs and per-type options


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"H": 2.0},
        {"Si": {"H": 2.5}},
        {"C": {"H": 1.5, "C": 3.5}, "H": 2.0},
        {"H": {"H": 2.0, "Si": 2.5, "C": 3.0}, "Si": {"H": 1.0, "Si": 1.5, "C": 2.0}, "C": 4.0},
    ],
)
def test_pair_cutoffs_are_those_of_nequip(table):
    types = ["H", "Si", "C"]
    architecture = {"type_names": types, "r_max": 4.0, "per_edge_type_cutoff": table}
    expected = cutoff_partialdict_to_tensor(table, types, 4.0)
    assert expected.dtype == _GLOBAL_DTYPE
    assert_array_equal(arch.pair_cutoffs(architecture), expected.numpy())


@pytest.mark.parametrize("architecture", [{}, {"per_edge_type_cutoff": None}])
def test_pair_cutoffs_without_a_table_are_r_max(architecture):
    assert_array_equal(arch.pair_cutoffs(architecture | {"type_names": ["H", "Si"], "r_max": 5}), np.full((2, 2), 5.0))


def test_pair_table_is_read_back_by_nequip():
    values = np.array([[1.0, 2.0], [3.0, 4.0]])
    table = arch.pair_table(["H", "Si"], values)
    assert table == {"H": {"H": 1.0, "Si": 2.0}, "Si": {"H": 3.0, "Si": 4.0}}
    assert all(type(v) is float for row in table.values() for v in row.values())
    assert_array_equal(cutoff_partialdict_to_tensor(table, ["H", "Si"], 4.0).numpy(), values)


def test_per_type_option():
    architecture = {"type_names": ["H", "Si"], "one": 2, "table": {"Si": 3.0, "H": 1}, "none": None}
    assert arch.per_type_option(architecture, "one").tolist() == [2.0, 2.0]
    assert arch.per_type_option(architecture, "table").tolist() == [1.0, 3.0]
    assert arch.per_type_option(architecture, "none") is None
    assert arch.per_type_option(architecture, "absent") is None


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_is_left_again(training):
    model = torch.nn.Linear(1, 1).train(training)
    with pytest.raises(KeyError), arch.evaluation_mode(model):
        assert not model.training
        raise KeyError
    assert model.training is training
