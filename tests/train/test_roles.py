import pytest

from nequip_elemtransfer.mapping.per_type import type_axes
from nequip_elemtransfer.train.roles import find_roles


def found(build, architecture, assigned=None):
    """Place of each parameter, by its name without the common prefix."""
    model = build(architecture)
    places = find_roles(model, type_axes(model, architecture), assigned)
    assert list(places) == [name for name, _ in model.named_parameters()]
    return {name.removeprefix("model.func."): str(place) for name, place in places.items()}


def test_nequip(nequip_architecture, build):
    architecture = nequip_architecture(
        "Si",
        num_layers=2,
        bessel_trainable=True,
        readout_mlp_hidden_layers_depth=1,
        per_type_energy_scales_trainable=True,
        per_type_energy_shifts_trainable=True,
        pair_potential={"_target_": "nequip.nn.pair_potential.LennardJones", "lj_sigma": 1.0, "lj_epsilon": 0.1},
    )
    assert found(build, architecture) == {
        "type_embed.embed_module.weight": "type_rows",
        "bessel_encode.bessel_weights": "radial_networks",
        "layer0_convnet.conv.linear_1.weight": "interactions.0",
        "layer0_convnet.conv.edge_mlp.mlp.0.weight": "radial_networks",
        "layer0_convnet.conv.edge_mlp.mlp.2.weight": "radial_networks",
        "layer0_convnet.conv.linear_2.weight": "interactions.0",
        "layer1_convnet.conv.linear_1.weight": "interactions.1",
        "layer1_convnet.conv.edge_mlp.mlp.0.weight": "radial_networks",
        "layer1_convnet.conv.edge_mlp.mlp.2.weight": "radial_networks",
        "layer1_convnet.conv.linear_2.weight": "interactions.1",
        "layer1_convnet.conv.sc.weight": "interactions.1",
        "per_atom_energy_readout.mlp_module.mlp.0.weight": "readout",
        "per_atom_energy_readout.mlp_module.mlp.2.weight": "readout",
        "per_type_energy_scale_shift.scales": "energy_scales",
        "per_type_energy_scale_shift.shifts": "energy_shifts",
        "pair_potential.epsilon": "pair_potential",
        "pair_potential.sigma": "pair_potential",
        "pair_potential.delta": "pair_potential",
    }


def test_allegro(allegro_architecture, build):
    """One module of several layers; what is before it sees single pairs."""
    architecture = allegro_architecture("Si", "Ge", num_layers=2)
    assert found(build, architecture) == {
        "radial_chemical_embed.type_embed.center_embed.weight": "type_rows",
        "radial_chemical_embed.type_embed.neighbor_embed.weight": "type_rows",
        "radial_chemical_embed.type_embed.basis_linear.mlp.0.weight": "radial_networks",
        "scalar_embed_mlp.mlp_module.mlp.0.weight": "radial_networks",
        "scalar_embed_mlp.mlp_module.mlp.2.weight": "radial_networks",
        "tensor_embed.env_embed_linear.mlp.0.weight": "radial_networks",
        "allegro.first_layer_env_embed_projection.mlp.0.weight": "interactions.0",
        "allegro.latents.0.mlp.0.weight": "interactions.0",
        "allegro.latents.0.mlp.2.weight": "interactions.0",
        "allegro.latents.1.mlp.0.weight": "interactions.1",
        "allegro.latents.1.mlp.2.weight": "interactions.1",
        "allegro.tps.0.weights": "interactions.0",
        "allegro.tps.1.weights": "interactions.1",
        "edge_readout.mlp_module.mlp.0.weight": "readout",
        "edge_readout.mlp_module.mlp.2.weight": "readout",
    }


def test_splines_of_pairs_are_type_rows(allegro_architecture, build):
    places = found(build, allegro_architecture("Si", embedding="spline"))
    assert places["radial_chemical_embed.spline.class_embed.weight"] == "type_rows"


@pytest.fixture
def charged(nequip_architecture):
    """A model with an embedding of something else than types, which no rule covers."""
    return nequip_architecture(
        "Si", categorical_graph_field_embed=[{"field": "charge", "num_features": 2, "min": -1, "max": 1}]
    )


CHARGE = "model.func.type_embed.categorical_graph_field_embed_modules.charge.weight"


def test_unknown_parameters_are_named(charged, build):
    with pytest.raises(ValueError, match=rf"no role that the architecture tells: {CHARGE}\. Give them one"):
        found(build, charged)


def test_unknown_parameters_are_given_a_role(charged, build):
    places = found(build, charged, {"*charge*": "interactions.0", "*linear_1*": "readout"})
    assert places[CHARGE.removeprefix("model.func.")] == "interactions.0"
    assert places["layer0_convnet.conv.linear_1.weight"] == "readout"
    assert places["layer0_convnet.conv.linear_2.weight"] == "interactions.0"


@pytest.mark.parametrize(
    "assigned, message",
    [
        ({"*charge*": "readuot"}, "names 'readuot', which is no role here; did you mean 'readout'"),
        ({"*charge*": "readout.1"}, "only interactions have layers"),
        ({"nothing": "readout"}, "`parameters` names 'nothing', which the model does not have"),
    ],
)
def test_wrong_assignments(charged, build, assigned, message):
    with pytest.raises(ValueError, match=message):
        found(build, charged, assigned)


def test_a_model_without_interactions_is_unknown(build, nequip_architecture):
    """Nobody can say which of its parameters come before the atoms interact."""
    model = build(nequip_architecture("Si"))
    for module in list(model.modules()):
        module._modules.pop("avg_num_neighbors_norm", None)
    with pytest.raises(ValueError, match=r"layer0_convnet\.conv\.linear_1\.weight.*per_atom_energy_readout"):
        find_roles(model, {})
