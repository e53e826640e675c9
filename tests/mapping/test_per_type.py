import sys
from types import ModuleType

import pytest
import torch
from nequip.model import model_builder
from nequip.nn import GraphModuleMixin

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.mapping.per_type import named_tensors, type_axes

TYPES = ("H", "Si", "C")


def found(build, architecture):
    """Type axes by tensor name without the common prefix."""
    axes = type_axes(build(architecture), architecture)
    return {name.removeprefix("model.func."): rule for name, rule in axes.items()}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_nequip(nequip_architecture, build, n):
    """One number for all types, such as a scale or an average number of neighbours, has no type axis."""
    architecture = nequip_architecture(*TYPES[:n])
    assert found(build, architecture) == {"type_embed.embed_module.weight": ((0, 1),)}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_nequip_with_every_option_that_carries_types(nequip_architecture, build, n):
    types = TYPES[:n]
    architecture = nequip_architecture(
        *types,
        type_embed_num_features=3,
        avg_num_neighbors=dict.fromkeys(types, 12.0),
        per_type_energy_scales=dict.fromkeys(types, 1.3),
        per_type_energy_shifts_trainable=True,
        per_edge_type_cutoff=dict.fromkeys(types, 3.0),
        pair_potential={
            "_target_": "nequip.nn.pair_potential.LennardJones",
            "lj_sigma": [[1.0] * n] * n,
            "lj_epsilon": 0.1,
        },
        categorical_graph_field_embed=[{"field": "charge", "num_features": 2, "min": -1, "max": 1}],
    )
    assert found(build, architecture) == {
        "type_embed.embed_module.weight": ((0, 1),),
        "edge_norm._rmax_recip": ((0, 2),),
        "layer0_convnet.conv.avg_num_neighbors_norm.norm_const": ((0, 1),),
        "per_type_energy_scale_shift.scales": ((0, 1),),
        "per_type_energy_scale_shift.shifts": ((0, 1),),
        "pair_potential.sigma": ((0, 1), (1, 1)),
        "pair_potential.delta": ((0, 1), (1, 1)),
        "pair_potential.epsilon": ((0, 1), (1, 1)),
    }


def test_zbl(nequip_architecture, build):
    potential = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["Si", "C"]}
    architecture = nequip_architecture("bulk", "tip", pair_potential=potential)
    assert found(build, architecture)["pair_potential.atomic_numbers"] == ((0, 1),)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("embedding", "expected"),
    [
        (
            "bessel",
            {
                "radial_chemical_embed.type_embed.center_embed.weight": ((0, 1),),
                "radial_chemical_embed.type_embed.neighbor_embed.weight": ((0, 1),),
            },
        ),
        ("spline", {"radial_chemical_embed.spline.class_embed.weight": ((0, 2),)}),
    ],
)
def test_allegro(allegro_architecture, build, embedding, expected, n):
    architecture = allegro_architecture(*TYPES[:n], embedding=embedding)
    assert found(build, architecture) == expected


def test_allegro_with_tables_over_types(allegro_architecture, build):
    architecture = allegro_architecture(
        "H", "Si", avg_num_neighbors={"H": 8.0, "Si": 16.0}, per_edge_type_cutoff={"H": 3.0}
    )
    axes = found(build, architecture)
    assert axes["edge_norm._rmax_recip"] == ((0, 2),)
    assert axes["allegro.avg_num_neighbors_norm.norm_const"] == ((0, 1),)
    assert axes["edge_eng_sum.norm_module.norm_const"] == ((0, 1),)


def test_named_tensors_include_those_left_out_of_the_state_dict(nequip_architecture, build):
    model = build(nequip_architecture("Si"))
    names = [name for name, _ in named_tensors(model)]
    norm = "model.func.layer0_convnet.conv.avg_num_neighbors_norm.norm_const"
    assert norm in names and norm not in model.state_dict()
    assert set(model.state_dict()) < set(names) and len(set(names)) == len(names)


def test_type_that_is_called_as_the_one_we_add(nequip_architecture, build):
    """A type may have any name."""
    types = ("Probe", "Si", "Probe0")
    assert found(build, nequip_architecture(*types)) == found(build, nequip_architecture(*TYPES))


# ---- the models of a made-up NequIP extension


class _Layer(GraphModuleMixin, torch.nn.Module):
    """Holds one tensor whose shape is up to the test."""

    def __init__(self, shape, name="weight"):
        super().__init__()
        self._init_irreps(irreps_in={}, irreps_out={})
        self.register_parameter(name, torch.nn.Parameter(torch.zeros(shape)))

    def forward(self, data):
        return data


SHAPES = {
    "per_type": lambda n: (5, n),
    "per_pair": lambda n: (n * n, 2, n),
    "not_typed": lambda n: (3, 2),
    "unordered_pairs": lambda n: (n * (n + 1) // 2,),
    "doubled": lambda n: (2 * n,),
    "other_pairs": lambda n: (n, n * (n - 1)),
    "fewer": lambda n: (9 - n,),
    "as_many_axes_as_types": lambda n: (2,) * n,
}


@model_builder
def MadeUpModel(type_names, r_max, tensor):
    return _Layer(SHAPES[tensor](len(type_names)))


@model_builder
def LayerForEachType(type_names, r_max):
    return _Layer((2,), name="of_" + type_names[-1])


@pytest.fixture
def extension(monkeypatch):
    """``made_up`` as an installed NequIP extension with two model builders."""
    module = ModuleType("made_up")
    module.MadeUpModel, module.LayerForEachType = MadeUpModel, LayerForEachType
    monkeypatch.setitem(sys.modules, "made_up", module)
    monkeypatch.setattr(arch, "trusted_packages", lambda: {"nequip", "made_up"})

    def make(types, name="MadeUpModel", **options):
        return {
            "_target_": f"made_up.{name}",
            "seed": 1,
            "model_dtype": "float64",
            "type_names": list(types),
            "r_max": 4.0,
        } | options

    return make


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("tensor", "rule"), [("per_type", ((1, 1),)), ("per_pair", ((0, 2), (2, 1))), ("not_typed", None)]
)
def test_extension_that_follows_the_rules_needs_no_code_of_ours(extension, n, tensor, rule):
    architecture = extension(TYPES[:n], tensor=tensor)
    axes = type_axes(arch.build(architecture), architecture)
    assert axes == ({"model.weight": rule} if rule else {})


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("tensor", ["unordered_pairs", "doubled", "other_pairs", "fewer", "as_many_axes_as_types"])
def test_extension_with_a_tensor_no_rule_covers_is_refused_by_its_name(extension, n, tensor):
    architecture = extension(TYPES[:n], tensor=tensor)
    with pytest.raises(ValueError, match=r"made_up\.MadeUpModel cannot be transferred.*: model\.weight\.$"):
        type_axes(arch.build(architecture), architecture)


def test_extension_with_tensors_named_by_type_is_refused(extension):
    architecture = extension(TYPES, "LayerForEachType")
    with pytest.raises(ValueError, match=r"cannot be transferred.*: model\.of_C, model\.of_Probe\.$"):
        type_axes(arch.build(architecture), architecture)


def test_extension_without_an_option_the_transfer_needs(extension):
    architecture = extension(TYPES, tensor="per_type", per_edge_type_cutoff={"H": 2.0})
    with pytest.raises(ValueError, match="^made_up.MadeUpModel does not take per_edge_type_cutoff: .*`length_scale: n"):
        arch.build(architecture)


def test_extension_that_is_not_installed_is_refused(extension, monkeypatch):
    architecture = extension(TYPES, tensor="per_type")
    monkeypatch.setattr(arch, "trusted_packages", lambda: {"nequip"})
    with pytest.raises(ValueError, match="'made_up.MadeUpModel' is not part of NequIP or an installed"):
        arch.build(architecture)
