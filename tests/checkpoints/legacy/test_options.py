"""Options of NequIP 0.5 and 0.6: how those versions looked them up, and what is refused by name."""

import pytest
import torch
from old_models import FIXTURES, changed, config_of, state_of, write_folder

from nequip_elemtransfer.checkpoints.legacy.model import load_old_model
from nequip_elemtransfer.checkpoints.legacy.options import check_builders, read_options
from nequip_elemtransfer.checkpoints.legacy.reading import OldModel, read_old_model

BUILDERS = ["SimpleIrrepsConfig", "EnergyModel", "PerSpeciesRescale", "StressForceOutput", "RescaleEnergyEtc"]


def options(version=(0, 6, 1), **changes):
    return read_options(OldModel("old", version, config_of("v061_si") | changes, {}), n_layers=2)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"nonlinearity_scalars": {"e": "ssp", "o": "tanh"}}, "`nonlinearity_scalars`: 'ssp' for even scalars"),
        ({"InteractionBlock_nonlinearity_scalars": {"e": "ssp"}}, "`nonlinearity_scalars`: 'ssp' for even scalars"),
        ({"nonlinearity_gates": {"e": "relu", "o": "tanh"}}, "`nonlinearity_gates`: {'e': 'relu', 'o': 'tanh'}: "),
        ({"layer1_convnet_nonlinearity_type": "norm"}, "`nonlinearity_type`: not the same in all layers"),
        ({"radial_basis_basis": "e3nn_basis"}, "`radial_basis_basis`: 'e3nn_basis': the Bessel basis, "),
        ({"cutoff": "cosine"}, "`cutoff`: 'cosine': the Bessel basis, the polynomial cutoff"),
        ({"layer0_convnet_convolution": "my.Block"}, "`layer0_convnet_convolution`: 'my.Block': "),
        ({"PolynomialCutoff_kwargs": {"p": 5}}, "`PolynomialCutoff_kwargs`: {'p': 5}: arguments are read by their own"),
        ({"BesselBasis_r_max": 5.0}, "`r_max`: 5.0: one cutoff radius is read"),
        ({"edge_sh_normalization": "norm"}, "`edge_sh_normalization`: 'norm': component is"),
        ({"spharm_edges_edge_sh_normalize": False}, "`edge_sh_normalize`: False: true is"),
        ({"avg_num_neighbors": "auto"}, "`avg_num_neighbors`: 'auto', a number that was never put in"),
        ({"layer1_convnet_feature_irreps_hidden": "3x0e"}, "`feature_irreps_hidden`: not the same in all layers"),
        ({"irreps_edge_sh": "0e+1u"}, "`irreps_edge_sh`: '0e.1u': "),
        ({"irreps_edge_sh": "0e+1e+1e"}, "`irreps_edge_sh`: 1x0e.1x1e.1x1e: each irrep once"),
        ({"feature_irreps_hidden": "2x0e+2x1o+2x0e"}, "`feature_irreps_hidden`: 2x0e.2x1o.2x0e: each irrep once"),
        ({"type_names": ["Si-bulk"]}, r"`type_names`: \['Si-bulk'\]: today's names are letters and digits"),
        ({"model_dtype": "bfloat16"}, "`model_dtype`: 'bfloat16': float32 and float64 are read"),
        (
            {"model_builders": [*BUILDERS, "PairPotentialTerm"], "pair_style": "LJ"},
            "`pair_style`: 'LJ': .* ZBL is read",
        ),
        ({"model_builders": [*BUILDERS, "PairPotentialTerm"], "pair_style": "ZBL"}, "`units`: None: ZBL has metal or"),
    ],
)
def test_without_counterpart(changes, problem):
    with pytest.raises(ValueError, match=f"^source 'old' has {problem}.* Train it again with a current NequIP.$"):
        options(**changes)


@pytest.mark.parametrize("missing", ["r_max", "type_names", "feature_irreps_hidden", "irreps_edge_sh"])
def test_incomplete_configuration(missing):
    with pytest.raises(ValueError, match=f"the configuration of source 'old' does not say `{missing}`"):
        options(**{missing: None})


@pytest.mark.parametrize(
    ("builders", "problem"),
    [
        (["allegro.model.Allegro", *BUILDERS[2:]], "made by the model builder 'allegro.model.Allegro': .* Allegro 0.2"),
        ([*BUILDERS, "GaussianMixtureModelUncertainty"], "made by the model builder 'GaussianMixtureModelUncertainty'"),
        ([*BUILDERS[:2], "PairPotentialTerm", *BUILDERS[2:]], "has PairPotentialTerm before PerSpeciesRescale"),
    ],
)
def test_builders_that_are_not_read(tmp_path, builders, problem):
    folder = changed(tmp_path / "old", "v061_si", model_builders=builders)
    with pytest.raises(ValueError, match=problem):
        load_old_model(folder)


def test_builders_may_be_named_in_full(tmp_path):
    check_builders(read_old_model(changed(tmp_path / "old", "v061_si", model_builders=["nequip.model.EnergyModel"])))


def test_nonlinearities_left_out_are_those_of_the_version():
    assert options().nonlinearity_gates == {"e": "silu", "o": "tanh"}
    with pytest.raises(ValueError, match=r"'ssp' for even scalars, .*NequIP 0\.5 has ssp unless told otherwise"):
        options(version=(0, 5, 6))
    told = options(version=(0, 5, 6), nonlinearity_scalars={"e": "silu", "o": "tanh"})
    assert told.nonlinearity_gates == {"e": "ssp", "o": "abs"}


def test_longer_names_count_more():
    assert options().p == 6.0
    assert options(p=4).p == 4.0
    assert options(p=4, PolynomialCutoff_p=5).p == 5.0
    assert options(p=4, PolynomialCutoff_p=5, radial_basis_cutoff_p=7).p == 7.0
    assert options(layer0_convnet_resnet=True, layer1_convnet_resnet=True, resnet=False).resnet is True


def test_precision_of_0_5_is_the_one_of_its_data():
    silu = {"nonlinearity_scalars": {"e": "silu", "o": "tanh"}}
    found = read_options(OldModel("old", (0, 5, 6), config_of("v056_hco_l2") | silu, {}), n_layers=2)
    assert found.model_dtype == "float64"
    assert options(default_dtype="float64").model_dtype == "float32"


# ---- what only the weights or the layers show


def test_resnet_that_acts_is_refused(tmp_path):
    """In the fixture v061_si_l3, no two layers have the same features, so there it does not."""
    with pytest.raises(ValueError, match="has `resnet`: true, but today's last layer"):
        load_old_model(changed(tmp_path / "old", "v061_si", resnet=True))


def test_even_function_of_odd_scalars_is_refused(tmp_path):
    nonlinearities = {"nonlinearity_scalars": {"e": "silu", "o": "abs"}}
    with pytest.raises(ValueError, match="has abs for odd scalars in `nonlinearity_scalars`"):
        load_old_model(changed(tmp_path / "old", "v061_si_l3", **nonlinearities))


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({"model.shift_by": torch.tensor(-3.5)}, "has `global_rescale_shift`, -3.5 eV for any number of atoms"),
        ({"model.model.func.charges.weight": torch.ones(2)}, "parts that are not read: the tensors charges.weight"),
        (
            {"model.model.func.pair_potential.atomic_numbers": torch.tensor([14.0])},
            "has a pair potential in its config",
        ),
        (
            {"model.model.func.conv_to_output_hidden.linear.weight": torch.ones(7)},
            "do not fit its configuration: 7 wei",
        ),
        ({"model.model.func.layer1_convnet.conv.sc.weight": torch.ones(7)}, "do not fit its configuration: 7 weights"),
        ({"model.model.func.layer0_convnet.conv.fc.layer1.weight": torch.ones(5, 2)}, "a radial network has 2 outputs"),
    ],
)
def test_weights_without_counterpart(tmp_path, tensors, problem):
    folder = write_folder(tmp_path / "old", config_of("v061_si"), state_of("v061_si") | tensors)
    with pytest.raises(ValueError, match=problem):
        load_old_model(folder)


@pytest.mark.parametrize("missing", ["layer1_convnet.conv.sc.weight", "output_hidden_to_scalar.linear.weight"])
def test_incomplete_weights(tmp_path, missing):
    state = {name: tensor for name, tensor in state_of("v061_si").items() if not name.endswith(missing)}
    with pytest.raises(ValueError, match=f"has no tensors {missing}: its file of weights is incomplete"):
        load_old_model(write_folder(tmp_path / "old", config_of("v061_si"), state))


def test_weights_of_other_types(tmp_path):
    with pytest.raises(ValueError, match="has not the types C, Si of its configuration"):
        load_old_model(write_folder(tmp_path / "old", config_of("v061_sic_zbl"), state_of("v061_si")))


def test_diverged_training(tmp_path):
    state = state_of("v061_si") | {"model.scale_by": torch.tensor(torch.nan)}
    with pytest.raises(ValueError, match="holds numbers that are not finite, in 'scale_by': its training diverged"):
        load_old_model(write_folder(tmp_path / "old", config_of("v061_si"), state))


def test_other_radial_basis_is_refused(tmp_path):
    state = {name: tensor for name, tensor in state_of("v061_si").items() if "bessel_weights" not in name}
    with pytest.raises(ValueError, match="has another radial basis than Bessel's"):
        load_old_model(write_folder(tmp_path / "old", config_of("v061_si"), state))


def test_zbl_constant_must_be_that_of_its_units(tmp_path):
    with pytest.raises(ValueError, match="has a ZBL constant of 7.199.*, which is not that of its units"):
        load_old_model(changed(tmp_path / "old", "v061_sic_zbl", units="real"))


def test_energies_of_types_are_products_with_the_global_scale():
    state, names = state_of("v061_hco_l2"), ["H", "C", "O"]
    converted = load_old_model(FIXTURES / "v061_hco_l2")
    for kind in ("scales", "shifts"):
        stored = state[f"model.model.func.per_species_rescale.{kind}"] * state["model.scale_by"]
        assert converted.architecture[f"per_type_energy_{kind}"] == dict(zip(names, stored.tolist()))
        assert converted.architecture[f"per_type_energy_{kind}_trainable"] is True
        assert torch.equal(converted.state[f"model.func.per_type_energy_scale_shift.{kind}"].reshape(-1), stored)
