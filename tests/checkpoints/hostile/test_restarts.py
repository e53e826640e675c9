"""What NequIP and Lightning follow from a checkpoint besides its contents, and what a user's config vouches for."""

import base64
import pickle
import zipfile

import ase.io
import entry_points
import numpy as np
import pytest
import torch
import yaml
from hostile_checkpoints import INFO, Pickled, put

from nequip_elemtransfer.checkpoints.named_calls import calls
from nequip_elemtransfer.output.refusal import RefusedFile
from nequip_elemtransfer.study.config.evaluation_settings import EAGER
from nequip_elemtransfer.study.measure.one_evaluation import trained_calculator
from nequip_elemtransfer.study.run.training_configs import write_configs, written_config

HYPER = "hyper_parameters"
BEST = ("callbacks", "ModelCheckpoint", "best_model_path")
LOSS = {"_target_": "mylab.Loss", "file": "kernel.txt", "coeffs": {"forces": 1.0}, "order": [1, 2]}


def restart(contents, place, value, folder, data, **training_module):
    """Exit code and sentence of a restart, also where they say nothing of the file."""
    file = folder / "last.ckpt"
    torch.save(put(contents, place, value), file)
    return entry_points.restart(file, folder, data, **training_module)


# ---- other places that Lightning takes arguments of a training module from


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("hparams",), {"loss": {"_target_": "mylab.Loss"}}, "holds 'hparams' among the arguments"),
        (("hparams",), {}, "holds 'hparams' among the arguments"),
        (("hparams",), 0, "holds 'hparams' among the arguments"),
        (("module_arguments",), {"loss": None}, "holds 'module_arguments' among the arguments"),
        (("hparams_type",), "argparse.Namespace", "holds 'hparams_type' among the arguments"),
        (("hparams_name",), "loss", "holds 'loss' among the arguments"),
        ((HYPER, "_instantiator"), "lightning.pytorch.cli.instantiate_module", "holds '_instantiator' among"),
        ((HYPER, "_class_path"), "mylab.Module", "holds '_class_path' among the arguments"),
        ((HYPER, "a.b"), 1, "holds 'a.b' among the arguments"),
    ],
)
def test_arguments_in_other_places(contents, silicon, tmp_path, place, value, message):
    code, said = restart(contents, place, value, tmp_path, silicon)
    assert code == 1 and message in said and said.count("\n") == 1, said


# ---- files that callbacks name


def evil(folder, canary):
    """A pickle that leaves its canary."""
    (folder / "evil.ckpt").write_bytes(pickle.dumps(Pickled("open", canary)))
    return folder / "evil.ckpt"


PATHS = {
    "file:// path": "file://{evil}",
    "local:// path": "local://{evil}",
    "of the network": "http://127.0.0.1:9/evil.ckpt",
    "of another machine": "sftp://somewhere/evil.ckpt",
    "chain": "simplecache::file://{evil}",
    "chain behind a path": "/tmp::file://{evil}",
    "in the path itself": "data:application/octet-stream;base64,{base64}.ckpt",
    "above the folder": "{folder}/run/../evil.ckpt",
    "a folder": "{folder}",
    "a package": "{folder}/evil.nequip.zip",
    "not a path": 3,
    "a list": ["{evil}"],
}


def filled(value, folder):
    """A path of the table; whatever it names is there."""
    file = evil(folder, folder / "canary")
    with zipfile.ZipFile(folder / "evil.nequip.zip", "w") as package:
        package.writestr("evil/model/__init__.py", f"open({str(folder / 'canary')!r}, 'w')")
    if not isinstance(value, str):
        return value
    text = base64.b64encode(file.read_bytes()).decode()
    return value.format(evil=file, folder=folder, base64=text)


@pytest.mark.parametrize("name", ["best_model_path", "kth_best_model_path", "last_model_path", "best_k_models"])
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_paths_that_are_not_those_of_a_checkpoint(contents, silicon, tmp_path, path, name):
    """Lightning loads the first, and deletes the others with all that is in them."""
    path = filled(path, tmp_path)
    value = {path: 0.1} if name == "best_k_models" and isinstance(path, str) else path
    code, said = restart(contents, (*BEST[:-1], name), value, tmp_path, silicon)
    assert code == 1 and "is not the plain path of a .ckpt file" in said and said.count("\n") == 1, said
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_best_of_the_best_is_read_before_lightning_loads_it(contents, silicon, tmp_path, steps):
    """Each validation or test after a training loads the best that the one before has named."""
    path = evil(tmp_path, tmp_path / "canary")
    for i in range(1, steps):
        torch.save(put(contents, BEST, str(path)), tmp_path / f"best{i}.ckpt")
        path = tmp_path / f"best{i}.ckpt"
    code, said = restart(contents, BEST, str(path), tmp_path, silicon)
    assert code == 1 and "checkpoint '" in said and "evil.ckpt' is a pickle and not a checkpoint" in said, said
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "path",
    ["", "/gone/since/best.ckpt", "out/best.ckpt", "{folder}/last.ckpt", "{folder}/" + "a" * 5000 + ".ckpt"],
    ids=["none", "gone", "relative", "itself", "longer than paths are"],
)
def test_paths_of_honest_trainings(contents, silicon, tmp_path, path):
    code, said = restart(contents, BEST, path.format(folder=tmp_path), tmp_path, silicon)
    assert code == 0, said


def test_a_model_from_a_package(contents, silicon, tmp_path):
    """NequIP would run the code in it."""
    path = filled("{folder}/evil.nequip.zip", tmp_path)
    model = {"_target_": "nequip.model.ModelFromPackage", "package_path": path}
    code, said = restart(contents, (HYPER, "model"), model, tmp_path, silicon)
    assert code == 1 and "evil.nequip.zip' is not a package" in said and said.count("\n") == 1, said
    assert not (tmp_path / "canary").exists()


def test_a_package_in_place_of_a_checkpoint(silicon, tmp_path):
    filled("{folder}/evil.nequip.zip", tmp_path)
    code, said = entry_points.restart(tmp_path / "evil.nequip.zip", tmp_path, silicon)
    assert code == 1 and "damaged, truncated or not a checkpoint" in said and said.count("\n") == 1, said
    assert not (tmp_path / "canary").exists()


def test_a_name_longer_than_those_of_files(contents, silicon, tmp_path):
    model = {"_target_": "nequip.model.ModelFromCheckpoint", "checkpoint_path": "a" * 5000}
    for enter in (entry_points.restart, entry_points.inspect, entry_points.build_torchscript):
        torch.save(put(contents, (HYPER, "model"), model), tmp_path / "last.ckpt")
        code, said = enter(tmp_path / "last.ckpt", tmp_path, silicon)
        assert code != 0 and "which is not there" in said and len(said) < 1200, said


# ---- the user's own loss


VOUCHED = {
    "as it is": (LOSS, LOSS),
    "another number": (LOSS | {"coeffs": {"forces": 2.0}}, LOSS),
    "an interpolation in the config": (LOSS, LOSS | {"file": "${oc.env:HOME}"}),
    "inside a metric of NequIP's": (
        {"_target_": "nequip.train.MetricsManager", "metrics": [{"metric": LOSS}]},
        {"_target_": "nequip.train.MetricsManager", "metrics": [{"metric": LOSS}]},
    ),
}
NOT_VOUCHED = {
    "by no config": (LOSS, {"_target_": "nequip.train.EnergyForceLoss"}),
    "by its name alone": (LOSS | {"file": "/home/user/.bashrc"}, LOSS),
    "with one argument more": (LOSS | {"mode": "w"}, LOSS),
    "with one argument less": ({"_target_": "mylab.Loss"}, LOSS),
    "with another item": (LOSS | {"order": [1, 2, 3]}, LOSS),
    "with text for a number": (LOSS | {"coeffs": {"forces": "1.0"}}, LOSS),
    "made a partial": (LOSS | {"_partial_": True}, LOSS),
    "by an interpolation": (LOSS, LOSS | {"_target_": "${oc.env:HOME}"}),
    "with a call for an argument": (LOSS | {"file": {"_target_": "mylab.Evil"}}, LOSS | {"file": "${oc.env:HOME}"}),
    "around a call": (LOSS | {"coeffs": {"forces": {"_target_": "mylab.Evil"}}}, LOSS),
}


@pytest.mark.parametrize(("stored", "own"), VOUCHED.values(), ids=VOUCHED)
def test_what_the_config_calls_is_called(contents, silicon, tmp_path, stored, own):
    code, said = restart(contents, (HYPER, "loss"), stored, tmp_path, silicon, loss=own)
    assert code == 0, said


@pytest.mark.parametrize(("stored", "own"), NOT_VOUCHED.values(), ids=NOT_VOUCHED)
def test_what_the_config_does_not_call_is_not_called(contents, silicon, tmp_path, stored, own):
    code, said = restart(contents, (HYPER, "loss"), stored, tmp_path, silicon, loss=own)
    assert code == 1 and "its `loss` names 'mylab." in said and said.count("\n") == 1, said


def test_nothing_of_python_s_is_vouched_for(contents, silicon, tmp_path):
    call = {"_target_": "os.mkdir", "path": str(tmp_path / "canary")}
    code, said = restart(contents, (HYPER, "loss"), call, tmp_path, silicon, loss=call)
    assert code == 1 and "'os.mkdir'" in said and not (tmp_path / "canary").exists()


def test_what_a_file_says_of_its_own_training_does_not_vouch(contents, silicon, tmp_path):
    """The record of the config in the checkpoint came with it."""
    told = put(contents, (*INFO, "training_module", "loss"), LOSS)
    code, said = restart(told, (HYPER, "loss"), LOSS, tmp_path, silicon)
    assert code == 1 and "its `loss` names 'mylab.Loss'" in said


def test_other_commands_vouch_for_nothing(contents, silicon, tmp_path, in_this_process):
    """They build the model alone; a package, which NequIP makes from the whole checkpoint, is refused."""
    torch.save(put(contents, (HYPER, "loss"), LOSS), tmp_path / "si.ckpt")
    assert entry_points.inspect(tmp_path / "si.ckpt", tmp_path, silicon)[0] == 0
    assert entry_points.build_torchscript(tmp_path / "si.ckpt", tmp_path, silicon)[0] == 0
    code, said = entry_points.build_package(tmp_path / "si.ckpt", tmp_path, silicon)
    assert code == 2 and "its `loss` names 'mylab.Loss'" in said and "nequip-package" in said


def test_a_study_evaluates_models_trained_with_the_user_s_own_loss(contents, silicon, tmp_path, monkeypatch):
    """NequIP makes the loss again to load the model; the study's config of the run says that it may."""
    (tmp_path / "mylab.py").write_text("from nequip.train import EnergyForceLoss as Own\n")
    monkeypatch.syspath_prepend(tmp_path)
    loss = contents[HYPER]["loss"] | {"_target_": "mylab.Own"}
    checkpoint = tmp_path / "runs" / "run" / "best.ckpt"
    write_configs({"run": yaml.safe_dump({"training_module": {"loss": loss}})}, tmp_path)
    checkpoint.parent.mkdir(parents=True)
    torch.save(put(contents, (HYPER, "loss"), loss), checkpoint)
    with pytest.raises(RefusedFile, match="its `loss` names 'mylab.Own', which is not called from a file"):
        trained_calculator(checkpoint, EAGER, tmp_path)
    calculator = trained_calculator(checkpoint, EAGER, tmp_path, [*calls(written_config(tmp_path, "run"))])
    torch.save(contents, tmp_path / "same.ckpt")
    atoms = ase.io.read(silicon)
    expected = trained_calculator(tmp_path / "same.ckpt", EAGER, tmp_path).get_potential_energy(atoms)
    assert np.isclose(calculator.get_potential_energy(atoms), expected, rtol=1e-12, atol=0)
