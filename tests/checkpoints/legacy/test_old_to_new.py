"""From an old model to what one does with a model: transfer, plan, package, deploy, fine-tune."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nequip.integrations.ase import NequIPCalculator
from old_models import FIXTURES, predict, references
from omegaconf import OmegaConf

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.deploy.write import Recipe, write_and_verify
from nequip_elemtransfer.key.look_ups import look_up
from nequip_elemtransfer.model import TransferredModel
from nequip_elemtransfer.source import load_source

sys.path.append(str(Path(__file__).parents[2] / "training"))  # real_runs: real nequip-train on tiny data

from real_runs import package, train, training_config, transfer_config, write_structures  # noqa: E402

OLD = FIXTURES / "v061_si"
R_MAX = 3.6  # Å


@pytest.fixture(scope="module")
def data(made_once):
    """A folder with {Si,Ge}_train.xyz and {Si,Ge}_val.xyz."""
    return made_once("data", lambda folder: write_structures(folder, Si=["Si"], Ge=["Ge"]))


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    new = tmp_path_factory.mktemp("new") / "si.ckpt"
    assert main(["import", str(OLD / "deployed.pth"), str(new)]) == 0
    return new


def test_start_without_scales_is_the_old_model(data):
    """Relabelling: germanium from silicon has the old predictions of silicon, and no other fixed ones."""
    key = {"length_scale": "none", "energy_scale": "none", "energy_shifts": "source"}
    start = look_up("model", OmegaConf.create(transfer_config(data, OLD, **key)))
    model = TransferredModel(start["architecture"], start["provenance"]).eval()
    for atoms, old in references("v061_si", "float32"):
        new = predict(model, "v061_si", atoms, R_MAX)
        for quantity, value in old.items():
            np.testing.assert_allclose(new[quantity], value, rtol=0, atol=1e-5)


def test_transfer_trains(data, tmp_path):
    """The real command, with a length scale, which the model must obey exactly to be taken."""
    train(tmp_path, transfer_config(data, OLD))
    trained = load_source(str(tmp_path / "out" / "best.ckpt"))
    assert trained.type_names == ["Ge"]
    assert trained.provenance["source"] == str(OLD)
    ratio = trained.provenance["length_scale"]["per_type"]["Ge"]
    assert trained.r_max == pytest.approx(R_MAX * ratio) and ratio == pytest.approx(1.20 / 1.11)  # covalent radii


def test_plan(data, capsys):
    command = ["plan", str(OLD), str(data / "Ge_train.xyz"), "--source-data", str(data / "Si_train.xyz")]
    assert main([*command, "--max-structures", "6"]) == 0
    assert capsys.readouterr().out.startswith("Verdict: ")


def test_deployed_by_todays_command_says_what_the_old_model_said(imported, tmp_path):
    """From the deployed file of then to one of now."""
    file = tmp_path / "si.nequip.pth"
    verdict = write_and_verify(Recipe(imported), file)
    assert verdict.passed, verdict.report
    calculator = NequIPCalculator.from_compiled_model(str(file), chemical_species_to_atom_type_map=True)
    for atoms, old in references("v061_si", "float32"):
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(float(old["energy"]), abs=1e-5)
        np.testing.assert_allclose(atoms.get_forces(), old["forces"], rtol=0, atol=1e-5)
        if "stress" in old:
            np.testing.assert_allclose(atoms.get_stress(voigt=False), old["stress"], rtol=0, atol=1e-5)


def test_fine_tuning_starts_from_the_old_weights(imported, data, tmp_path):
    model = {"_target_": "nequip.model.ModelFromCheckpoint", "checkpoint_path": str(imported)}
    config = training_config(data, "Si", model, r_max=R_MAX)
    config["training_module"]["optimizer"]["lr"] = 1e-7
    train(tmp_path, config)
    tuned, old = load_source(str(tmp_path / "out" / "best.ckpt")), load_source(str(imported))
    differences = [(tensor - old.state[name]).abs().max() for name, tensor in tuned.state.items() if tensor.numel()]
    assert 0 < max(differences) < 1e-5


def test_package(imported, tmp_path):
    """NequIP asks a checkpoint for structures to package it, and the imported one needs no file for them."""
    packaged, old = load_source(str(package(imported, tmp_path / "si.nequip.zip"))), load_source(str(OLD))
    assert packaged.architecture == old.architecture
    assert all(torch.equal(tensor, old.state[name]) for name, tensor in packaged.state.items())


def test_ml_iap_cannot_run_its_first_layer(imported, tmp_path):
    """A limit of NequIP 0.19, told before anything is written."""
    with pytest.raises(ValueError, match="first layer has a self-connection .`learnable_shift: true`"):
        write_and_verify(Recipe(imported), tmp_path / "si.nequip.lmp.pt")
    assert list(tmp_path.iterdir()) == []
