import numpy as np
import pytest
import torch

from nequip_elemtransfer.architecture.builders import configured_parameters, set_energies, with_trained_options

SCALE_SHIFT = "model.func.per_type_energy_scale_shift"


def lennard_jones(sigma, **options):
    potential = {"_target_": "nequip.nn.pair_potential.LennardJones", "lj_epsilon": 0.5, "lj_sigma": sigma}
    return {"pair_potential": potential | options}


def test_energies_are_read_back_as_they_are_in_the_model(nequip_architecture, build):
    trainable = {"per_type_energy_scales_trainable": True, "per_type_energy_shifts_trainable": True}
    architecture = nequip_architecture("Si", "C", **trainable)
    model = build(architecture)
    set_energies(model, np.array([1.5, 2.5]), np.array([-5.0, -9.0]))
    assert with_trained_options(architecture, model) == architecture | {
        "per_type_energy_scales": {"Si": 1.5, "C": 2.5},
        "per_type_energy_shifts": {"Si": -5.0, "C": -9.0},
    }
    assert architecture["per_type_energy_scales"] == 1.3


@pytest.mark.filterwarnings("ignore:Found `per_type_energy_shifts=None`")
def test_one_number_stays_one_and_none_stays_none(nequip_architecture, build):
    """A table of equal numbers would be another architecture, with other shapes."""
    architecture = nequip_architecture("Si", "C", per_type_energy_shifts=None)
    assert with_trained_options(architecture, build(architecture)) == architecture


def test_lennard_jones_is_read_from_the_upper_triangle(nequip_architecture, build):
    """NequIP trains and uses that only."""
    architecture = nequip_architecture("Si", "C", **lennard_jones([[2.0, 1.75], [1.75, 1.5]], lj_sigma_trainable=True))
    model = build(architecture)
    sigma = dict(model.named_parameters())["model.func.pair_potential.sigma"]
    with torch.no_grad():
        sigma += torch.tensor([[0.25, 0.5], [100.0, 0.0]])
    potential = with_trained_options(architecture, model)["pair_potential"]
    assert potential["lj_sigma"] == [[2.25, 2.25], [2.25, 1.5]]
    assert potential["lj_epsilon"] == [[0.5, 0.5], [0.5, 0.5]]
    again = build(architecture | {"pair_potential": potential})
    read = dict(again.named_parameters())["model.func.pair_potential.sigma"]
    assert torch.equal(read.triu(), sigma.triu())


@pytest.mark.parametrize("trainable", [False, True])
def test_configured_parameters(nequip_architecture, build, trainable):
    """Parameters only: where energies are not trained they are buffers."""
    options = {"per_type_energy_scales_trainable": trainable} | lennard_jones(2.0)
    names = configured_parameters(build(nequip_architecture("Si", **options)))
    expected = {f"model.func.pair_potential.{kind}" for kind in ("epsilon", "sigma", "delta")}
    assert names == expected | ({f"{SCALE_SHIFT}.scales"} if trainable else set())


def test_set_energies_of_trainable_parameters(nequip_architecture, build):
    trainable = {"per_type_energy_scales_trainable": True, "per_type_energy_shifts_trainable": True}
    table = {"per_type_energy_scales": {"Si": 1.0, "C": 1.0}, "per_type_energy_shifts": {"Si": 0.0, "C": 0.0}}
    scale_shift = build(nequip_architecture("Si", "C", **trainable, **table))
    set_energies(scale_shift, np.array([1.3, 0.8]), np.array([-3.0, -5.5]))
    found = dict(scale_shift.named_parameters())
    assert found[f"{SCALE_SHIFT}.scales"].tolist() == [[1.3], [0.8]]
    assert found[f"{SCALE_SHIFT}.shifts"].tolist() == [[-3.0], [-5.5]]
    assert all(found[f"{SCALE_SHIFT}.{kind}"].is_leaf for kind in ("scales", "shifts"))
