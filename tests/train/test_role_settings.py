import pytest

from nequip_elemtransfer.train.roles import Place, parse_settings

PLACES = [Place("type_rows"), *(Place("interactions", layer) for layer in range(3)), Place("readout")]


@pytest.mark.parametrize(
    "setting, factors",
    [
        (0.5, [0.5, 0.5, 0.5]),
        ("frozen", [0, 0, 0]),
        (["frozen", 0.5, 2], [0, 0.5, 2]),
        ({"lr_factor": 0.8, "depth_decay": 0.5}, [0.2, 0.4, 0.8]),
        ({"lr_factor": [1, 1, 3], "depth_decay": 0.5}, [0.25, 0.5, 3]),
        ({"depth_decay": 0.1}, [0.01, 0.1, 1.0]),
        ({"weight_decay": 0.1}, [None, None, None]),
    ],
)
def test_factors_of_layers(setting, factors):
    parsed = parse_settings({"interactions": setting}, "roles", PLACES)["interactions"]
    assert [parsed.lr_factor(layer, 3) for layer in range(3)] == pytest.approx(factors)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"raedout": 1.0}, "`roles` names 'raedout', which is no role here; did you mean 'readout'"),
        ({"energy_scales": 1.0}, "names 'energy_scales', which is no role here.*type_rows, interactions, readout"),
        ({"readout": -0.5}, "`roles.readout` must be a number of at least 0, found -0.5"),
        ({"readout": True}, "`roles.readout` must be a number of at least 0, found True"),
        ({"readout": float("inf")}, "must be a number of at least 0, found inf"),
        ({"readout": "slow"}, "`roles.readout` must be a number of at least 0 or `frozen`, found 'slow'"),
        ({"readout": []}, "must be a number of at least 0, found \\[\\]"),
        ({"readout": {"lr_facto": 1.0}}, "`roles.readout` has no entry 'lr_facto'; did you mean 'lr_factor'"),
        ({"readout": {"weight_decay": -1}}, "`roles.readout.weight_decay` must be a number of at least 0"),
        ({"readout": {"depth_decay": 0.5}}, "`roles.readout` has a `depth_decay`, but only interactions have a depth"),
        ({"readout": [1.0, 2.0]}, "2 learning-rate factors: it takes one number, having no layers"),
        ({"interactions": [1.0, 2.0]}, "2 learning-rate factors: it takes one number, or one for each of the 3 layers"),
        (["readout"], "`roles` must map roles to settings"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        parse_settings(settings, "roles", PLACES)
