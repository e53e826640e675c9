"""Fine-tuning through the real commands: what moves, what stays, restarts, and packages."""

import re
import zipfile

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator
from commands import run
from nequip.integrations.ase import NequIPCalculator
from real_runs import package, structures, train, transfer_config

from nequip_elemtransfer.train.replay import label

GROUPS = {
    "_target_": "nequip_elemtransfer.ParameterGroups",
    "lr": 0.01,
    "roles": {"radial_networks": "frozen", "interactions": {"depth_decay": 0.5}, "type_rows": {"weight_decay": 0.1}},
}
CALLBACKS = [
    {"_target_": "nequip_elemtransfer.LowRankUpdates", "ranks": {"interactions": 2}},
    {"_target_": "nequip_elemtransfer.AnchorToStart", "decay": {"radial_networks": 2.0, "readout": 1.0}},
    {"_target_": "nequip_elemtransfer.Stages", "stages": {3: {"radial_networks": 0.3}}},
    {"_target_": "nequip_elemtransfer.RestoreBatchOrder"},
]
EPOCHS = 3  # of two steps


def config(data, source, groups, callbacks, **key):
    made = transfer_config(data, source, **key)
    made["training_module"]["optimizer"] = {"_target_": "torch.optim.AdamW", "param_groups": groups}
    made["trainer"]["max_epochs"] = EPOCHS
    saver = made["trainer"]["callbacks"][0]
    saver |= {"filename": "epoch{epoch}", "auto_insert_metric_name": False, "save_top_k": -1}
    saver["save_on_train_epoch_end"] = True
    made["trainer"]["callbacks"] += callbacks
    return made


def load(folder, name="last"):
    return torch.load(folder / f"{name}.ckpt", weights_only=True)


def assert_same(one, other):
    """Tensors in nested dictionaries and lists, to the last bit."""
    if isinstance(one, torch.Tensor):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(other, one, rtol=0, atol=0)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_same(a, b)


@pytest.fixture(scope="module")
def tuned(data, source, tmp_path_factory):
    """A training with everything, from a source that is gone afterwards, and its log."""
    folder = tmp_path_factory.mktemp("tuned")
    own_source = folder / "si.ckpt"
    own_source.write_bytes(source.read_bytes())
    log = train(folder, config(data, own_source, GROUPS, CALLBACKS)).stdout
    own_source.unlink()
    return folder, log


def test_the_log_tells_what_is_trained(tuned):
    assert re.search(r"^radial_networks +4 +\d+ +frozen +frozen +the optimizer's$", tuned[1], re.MULTILINE)
    assert re.search(r"^interactions.0 +\d+ +\d+ +0.5 +0.005 ", tuned[1], re.MULTILINE)
    assert re.search(r"^type_rows +1 +4 +1 +0.01 +0.1$", tuned[1], re.MULTILINE)
    assert "Stage at step 3: {'radial_networks': 0.3}" in tuned[1]
    assert re.search(r"^radial_networks +4 +\d+ +0.3 +0.003 ", tuned[1], re.MULTILINE)


def test_a_restart_without_the_source_changes_nothing(tuned):
    """From before the stage, with shuffled batches, and with all that checkpoints hold."""
    folder, _ = tuned
    options = [f"hydra.run.dir={folder}/again", f"++ckpt_path={folder}/out/epoch0.ckpt"]
    run("nequip-train", "-cp", folder, "-cn", "config", *options, cwd=folder)
    whole, parts = load(folder / "out"), load(folder / "again")
    assert parts["global_step"] == whole["global_step"] == 2 * EPOCHS
    assert_same(whole["state_dict"], parts["state_dict"])
    for callback in ("AnchorToStart", "LowRankUpdates", "Stages"):
        assert_same(whole["callbacks"][callback], parts["callbacks"][callback])


def energy_and_forces(calculator: Calculator):
    atoms = structures("Ge", 1, seed=2)[0]
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces()


def test_the_package_is_stock(tuned):
    """It holds no code of ours and is the model that was trained."""
    checkpoint = tuned[0] / "out" / "last.ckpt"
    packaged = package(checkpoint, tuned[0] / "ge.nequip.zip")
    with zipfile.ZipFile(packaged) as archive:
        code = [name for name in archive.namelist() if name.endswith(".py")]
        assert code and not [name for name in code if b"elemtransfer" in archive.read(name)]
    by_species = {"device": "cpu", "chemical_species_to_atom_type_map": True}
    one, other = (NequIPCalculator._from_saved_model(path, **by_species) for path in (checkpoint, packaged))
    for a, b in zip(energy_and_forces(one), energy_and_forces(other)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def labelled(source, tmp_path_factory):
    """Silicon that the source labels, its own data being gone."""
    path = tmp_path_factory.mktemp("replay") / "Si_labelled.xyz"
    ase.io.write(path, label(str(source), structures("Si", 4, seed=5)))
    return path


def test_replay(data, source, labelled, tmp_path):
    """Germanium joins silicon; each epoch has the 6 structures of one and 3 of the other."""
    made = config(data, source, GROUPS | {"roles": {}}, [], elements={"Si": "Si", "Ge": "Si"})
    made["data"]["train_dataloader"] = {
        "_target_": "nequip_elemtransfer.ReplayLoader",
        "replay": {
            "_target_": "nequip.data.dataset.ASEDataset",
            "file_path": str(labelled),
            "transforms": "${data.transforms}",
        },
        "share": 1 / 3,
        "batch_size": 3,
    }
    train(tmp_path, made)
    saved = load(tmp_path / "out")
    assert saved["global_step"] == 3 * EPOCHS
    provenance = saved["hyper_parameters"]["model"]["provenance"]
    assert provenance["n_frames"] == 6  # the start is fitted to germanium
    embedding = "model.sole_model.model.func.type_embed.embed_module.weight"
    silicon, germanium = saved["state_dict"][embedding]
    assert not torch.equal(silicon, germanium)
