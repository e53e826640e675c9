"""One transfer through the real commands, and everything that must work after it."""

import re
import zipfile

import ase.io
import numpy as np
import pytest
import real_runs
import torch
from commands import run, run_anew
from nequip.integrations.ase import NequIPCalculator
from omegaconf import OmegaConf
from real_runs import structures, train, transfer_config

from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.labels import labels_of
from nequip_elemtransfer.structures.training_data import training_frames
from nequip_elemtransfer.transfer.provenance import state_digest


@pytest.fixture(scope="module")
def ran(data, source, tmp_path_factory):
    """A transfer trained for two epochs; the source file is gone afterwards."""
    folder = tmp_path_factory.mktemp("ge")
    own_source = folder / "si.ckpt"
    own_source.write_bytes(source.read_bytes())
    done = train(folder, transfer_config(data, own_source), run=run_anew)  # all as a user has it
    own_source.unlink()
    return folder, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkpoint(ran):
    return torch.load(ran[0] / "out" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def package(ran):
    return real_runs.package(ran[0] / "out" / "best.ckpt", ran[0] / "ge.nequip.zip")


def test_config_in_the_checkpoint_is_plain_and_complete(checkpoint):
    model = checkpoint["hyper_parameters"]["model"]
    assert model["_target_"] == "nequip_elemtransfer.TransferredModel"
    architecture = model["architecture"]
    assert architecture["_target_"] == "nequip.model.NequIPGNNModel"
    assert architecture["type_names"] == ["Ge"]
    assert architecture["r_max"] == pytest.approx(4.0 * 1.20 / 1.11)  # covalent radii of Cordero et al., Å
    assert architecture["avg_num_neighbors"] == 16.0
    assert not OmegaConf.is_config(model)
    assert "element_transfer" not in str(checkpoint["hyper_parameters"]["info_dict"]["data"])


def test_provenance_tells_source_scales_and_errors(checkpoint, source):
    provenance = checkpoint["hyper_parameters"]["model"]["provenance"]
    assert provenance["sha256"] == load_source(str(source)).sha256
    assert provenance["elements"] == {"Ge": "Si"}
    assert provenance["length_scale"]["per_type"]["Ge"] == pytest.approx(1.20 / 1.11)
    assert [row["step"] for row in provenance["zero_shot"]] == [
        "element map",
        "+ length scale",
        "+ energy scale",
        "+ energy shifts",
    ]
    assert provenance["versions"]["nequip"]


def test_report_names_each_tensor_of_the_model_once(checkpoint):
    """Invariant 5."""
    reported = [t["name"] for t in checkpoint["hyper_parameters"]["model"]["provenance"]["tensors"]]
    saved = {k.removeprefix("model.sole_model.") for k in checkpoint["state_dict"] if k.startswith("model.sole_model.")}
    assert len(reported) == len(set(reported))
    assert saved <= set(reported)
    # those left out of the state dict are reported too
    assert "model.func.layer0_convnet.conv.avg_num_neighbors_norm.norm_const" in reported


def test_log_shows_what_the_checkpoint_stores(ran, checkpoint):
    provenance = checkpoint["hyper_parameters"]["model"]["provenance"]
    assert ran[1].count("Element transfer: Ge from Si") == 1
    for tensor in provenance["tensors"]:
        assert re.search(rf"^{re.escape(tensor['name'])} .*{tensor['action']}$", ran[1], re.MULTILINE)
    alpha = provenance["energy_scale"]["per_type"]["Ge"]
    assert re.search(rf"^Ge +1\.0811 +{alpha:.4f} ", ran[1], re.MULTILINE)
    for row in provenance["zero_shot"]:
        assert re.search(rf"^{re.escape(row['step'])} +{1000 * row['force_mae']:.1f} ", ran[1], re.MULTILINE)


def test_training_starts_from_the_reported_zero_shot_model(data, source, tmp_path):
    """NequIP's own test metrics of the untrained model on the training file equal the last row of the report."""
    config = transfer_config(data, source)
    config["run"] = ["test"]
    config["data"]["test_file_path"] = config["data"]["train_file_path"]
    output = train(tmp_path, config).stdout
    force_mae = float(re.search(r"test0_epoch/forces_mae +([\d.e-]+)", output).group(1))
    energy_mae = float(re.search(r"test0_epoch/per_atom_energy_mae +([\d.e-]+)", output).group(1))
    row = re.search(r"^\+ energy shifts +([\d.]+) +[\d.]+ +([\d.]+)", output, re.MULTILINE)
    assert force_mae == pytest.approx(float(row.group(1)) / 1000, abs=1e-4)
    assert energy_mae == pytest.approx(float(row.group(2)) / 1000, abs=1e-4)


def resume(folder, name, *overrides):
    """Go on in ``folder/name`` from the last checkpoint of the training in ``folder``."""
    options = [f"hydra.run.dir={folder}/{name}", f"++ckpt_path={folder}/out/last.ckpt", *overrides]
    return run("nequip-train", "-cp", folder, "-cn", "config", *options, cwd=folder)


def test_restart_works_without_the_source(ran):
    folder, _ = ran
    done = resume(folder, "again", "trainer.max_epochs=3", "run=[train,test]")
    assert "Element transfer:" not in done.stdout  # nothing is transferred anew
    continued = torch.load(folder / "again" / "last.ckpt", weights_only=True)
    assert continued["global_step"] == 3 * 2  # two batches an epoch
    assert all(torch.isfinite(v).all() for v in continued["state_dict"].values() if isinstance(v, torch.Tensor))


def test_restarted_training_equals_uninterrupted(data, source, tmp_path):
    config = transfer_config(data, source)
    # NequIP itself shuffles a resumed epoch in another order, transferred or not
    config["data"]["train_dataloader"]["shuffle"] = False
    train(tmp_path / "whole", config, "trainer.max_epochs=4")
    train(tmp_path / "parts", config, "trainer.max_epochs=2")
    resume(tmp_path / "parts", "rest", "trainer.max_epochs=4")
    whole = torch.load(tmp_path / "whole" / "out" / "last.ckpt", weights_only=True)["state_dict"]
    parts = torch.load(tmp_path / "parts" / "rest" / "last.ckpt", weights_only=True)["state_dict"]
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(parts[name], value, rtol=0, atol=0, msg=name)


def test_package_is_stock_and_runs_in_ase(ran, package):
    """Invariants 6 and 8."""
    with zipfile.ZipFile(package) as archive:
        assert not [name for name in archive.namelist() if "nequip_elemtransfer" in name]
        code = [name for name in archive.namelist() if name.endswith(".py")]
        assert not [name for name in code if b"elemtransfer" in archive.read(name)]
    model = load_source(str(ran[0] / "out" / "best.ckpt")).build().eval()
    atoms = structures("Ge", 1, seed=2)[0]
    from_checkpoint = NequIPCalculator._from_saved_model(
        ran[0] / "out" / "best.ckpt", chemical_species_to_atom_type_map=True
    )
    from_package = NequIPCalculator._from_saved_model(package, chemical_species_to_atom_type_map=True)
    expected, forces = (f(from_checkpoint.get_property, atoms) for f in (_energy, _forces))
    assert _energy(from_package.get_property, atoms) == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(_forces(from_package.get_property, atoms), forces, atol=1e-6)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_package_is_as_good_a_source_as_its_checkpoint(data, ran, package):
    """Bitwise, and neither needs the first source."""
    from nequip_elemtransfer.key.look_ups import look_up

    checkpoint = ran[0] / "out" / "best.ckpt"
    assert load_source(str(package)).provenance == load_source(str(checkpoint)).provenance
    first, second = (
        look_up("model", OmegaConf.create(transfer_config(data, path, elements={"Ge": "Ge"})))
        for path in (checkpoint, package)
    )
    assert first["architecture"] == second["architecture"]
    assert first["provenance"]["weights"] == second["provenance"]["weights"]


def test_log_says_how_well_the_source_was_rebuilt(ran):
    logged = re.search(r"Rebuilt source differs from the loaded one by at most (\S+) \(tolerance (\S+)\)\.", ran[1])
    difference, tolerance = map(float, logged.groups())
    assert 0 <= difference <= tolerance == 5e-5  # NequIP's tolerance for float32


def test_without_handed_over_weights_every_parameter_is_nan(checkpoint, monkeypatch):
    """As in any process that did not make the transfer, until a checkpoint is loaded."""
    from nequip_elemtransfer.model import TransferredModel, hand_over

    monkeypatch.setattr("nequip_elemtransfer.model._initial_states", {})  # another test's look-up may have filled it
    config = checkpoint["hyper_parameters"]["model"]
    built = TransferredModel(config["architecture"], config["provenance"])
    assert all(torch.isnan(p).all() for p in built.parameters())
    state = {name: torch.full_like(value, 0.5) for name, value in built.state_dict().items()}
    hand_over(state_digest(state), state)
    handed = TransferredModel(config["architecture"], config["provenance"] | {"weights": state_digest(state)})
    assert all((p == 0.5).all() for p in handed.parameters())


def test_fit_uses_the_configs_own_split(data, source):
    """Same file, fractions and seed as the training: the frames are those NequIP trains on."""
    from nequip_elemtransfer.key.look_ups import look_up

    config = OmegaConf.create(transfer_config(data, source, length_scale="none"))
    for name in ("train_file_path", "val_file_path"):
        del config.data[name]
    config.data.split_dataset = {"file_path": str(data / "Ge_train.xyz"), "train": 4, "val": 2}
    provenance = look_up("model", config)["provenance"]
    assert provenance["n_frames"] == 4
    energies = labels_of(training_frames(OmegaConf.to_container(config.data, resolve=True), ["Ge"])).energies
    split = torch.utils.data.random_split(range(6), [4, 2], torch.Generator().manual_seed(1))[0]
    own = [atoms.get_potential_energy() for atoms in ase.io.read(data / "Ge_train.xyz", ":")]
    np.testing.assert_allclose(energies, [own[i] for i in split], rtol=1e-12)


def _energy(get_property, atoms):
    return float(get_property("energy", atoms))


def _forces(get_property, atoms):
    return get_property("forces", atoms)
