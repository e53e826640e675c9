"""What the files of an old model may make this process do, and what is said of those that cannot be read."""

import json
import os
import pickle
import shutil
import zipfile

import pytest
import torch
import yaml
from old_models import FIXTURES, changed, config_of, state_of, write_folder

from nequip_elemtransfer.checkpoints.legacy.model import load_old_model
from nequip_elemtransfer.checkpoints.legacy.reading import Unread, is_old_model, old_training_file, read_old_model

DEPLOYED = FIXTURES / "v056_si" / "deployed.pth"
TORCHSCRIPT_ROOT = "deployed"


class Call:
    """Pickles as a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def rewritten(path, changes=None, drop=()):
    """A copy of a deployed file with members changed, ``{ending: bytes}``, and others left out."""
    with zipfile.ZipFile(DEPLOYED) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            name = member.filename.partition("/")[2]
            if not name.startswith(tuple(drop)) or not drop:
                new.writestr(member.filename, (changes or {}).get(name, old.read(member)))
    return path


# ---- what is an old model


def test_what_is_an_old_model(tmp_path):
    assert is_old_model(FIXTURES / "v056_si")
    assert is_old_model(str(DEPLOYED))
    # a file of weights alone, a folder of something else, or with a configuration only, and nothing at all
    assert not is_old_model(FIXTURES / "v056_si" / "best_model.pth")
    (tmp_path / "config.yaml").write_text("a: 3", encoding="utf-8")
    assert not is_old_model(tmp_path)
    assert not is_old_model(tmp_path / "none.ckpt")
    assert not is_old_model("nequip.net:group/model:0.1")
    # TorchScript of today has no configuration
    torch.jit.save(torch.jit.script(torch.nn.SiLU()), tmp_path / "today.nequip.pth", _extra_files={"r_max": b"4.0"})
    assert not is_old_model(tmp_path / "today.nequip.pth")


@pytest.mark.parametrize("missing", ["config.yaml", "best_model.pth"])
def test_folder_needs_both_files(tmp_path, missing):
    folder = shutil.copytree(FIXTURES / "v056_si", tmp_path / "old")
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"is a folder without {missing}: .* config.yaml and best_model.pth"):
        load_old_model(folder)


def test_training_file_is_the_one_the_configuration_names():
    assert old_training_file(FIXTURES / "v061_si") == "train.xyz"


# ---- configurations


def test_what_only_code_could_make_is_not_read(tmp_path):
    """Old configurations hold tensors and versions in such a form; nothing is made of it."""
    config = read_old_model(FIXTURES / "v061_si").config
    assert isinstance(config["train_idcs"], Unread)
    assert isinstance(config["torch_version"], Unread)
    assert config["_jit_fusion_strategy"] == [["DYNAMIC", 3]]  # a tuple is a list


def test_code_in_a_configuration_is_not_run(tmp_path):
    marker = tmp_path / "ran"
    folder = changed(tmp_path / "old", "v061_si")
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    call = f"!!python/object/apply:os.mkdir [{json.dumps(str(marker))}]"
    (folder / "config.yaml").write_text(f"{text}\nnotes: {call}\n", encoding="utf-8")
    load_old_model(folder)
    (folder / "config.yaml").write_text(text.replace("r_max: 3.6\n", f"r_max: {call}\n"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"has `r_max`: which is no plain data \(python/object/apply:os.mkdir\)"):
        load_old_model(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a: !secret x", "not plain data .*!secret"), ("a: [1", "not plain data"), ("3", "no mapping")],
)
def test_configuration_that_is_none(tmp_path, text, problem):
    folder = changed(tmp_path / "old", "v061_si")
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"the configuration of source '{folder}' is {problem}"):
        load_old_model(folder)


@pytest.mark.parametrize("version", ["0.4.0", "0.5.1", "0.7.0", "0.19.1", "", None])
def test_versions_that_are_not_read(tmp_path, version):
    folder = changed(tmp_path / "old", "v061_si", nequip_version=version)
    with pytest.raises(ValueError, match=rf"is of NequIP {version or '.not said.'}: models of 0.5.2 to 0.6 are read"):
        load_old_model(folder)


def test_path_normalisation_of_an_older_e3nn_is_refused(tmp_path):
    folder = changed(tmp_path / "old", "v056_si", e3nn_version="0.3.5")
    with pytest.raises(ValueError, match="made with e3nn 0.3.5, .* e3nn 0.4 or newer are read"):
        load_old_model(folder)


# ---- weights


def test_code_in_a_file_of_weights_is_not_run(tmp_path):
    marker = tmp_path / "ran"
    folder = changed(tmp_path / "old", "v061_si")
    torch.save({"scale_by": Call(os.mkdir, str(marker))}, folder / "best_model.pth")
    with pytest.raises(ValueError, match="holds more than tensors, and nothing else is unpickled"):
        load_old_model(folder)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", None])
def test_weights_that_are_none(tmp_path, content):
    folder = changed(tmp_path / "old", "v061_si")
    if content is None:
        torch.save([torch.zeros(1)], folder / "best_model.pth")
    else:
        (folder / "best_model.pth").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"best_model.pth' (is truncated|is no file of weights|holds more than tensors)"
    ):
        load_old_model(folder)


def test_two_global_rescalings_are_refused(tmp_path):
    state = state_of("v061_si")
    folder = write_folder(tmp_path / "old", config_of("v061_si"), state | {"scale_by": state["model.scale_by"]})
    with pytest.raises(ValueError, match="holds two of 'scale_by': one global rescaling is read"):
        load_old_model(folder)


# ---- TorchScript


def test_code_of_a_deployed_file_is_not_needed(tmp_path):
    """Let alone run."""
    with zipfile.ZipFile(DEPLOYED) as file:
        code = {name.partition("/")[2]: b"raise SystemExit" for name in file.namelist() if "/code/" in name}
    found, expected = load_old_model(rewritten(tmp_path / "old.pth", code)), load_old_model(DEPLOYED)
    assert found.architecture == expected.architecture
    assert all(torch.equal(tensor, expected.state[name]) for name, tensor in found.state.items())


def test_what_a_deployed_file_pickles_is_not_called(tmp_path):
    marker = tmp_path / "ran"
    evil = pickle.dumps(Call(os.mkdir, str(marker)), protocol=2)
    with pytest.raises(ValueError, match="holds no tensor 'chemical_embedding.linear.weight'"):
        load_old_model(rewritten(tmp_path / "old.pth", {"data.pkl": evil}))
    assert not marker.exists()


@pytest.mark.parametrize(
    "changes",
    [{"data.pkl": b""}, {"data.pkl": b"\x80\x02]q"}, {"data/3": b"\x00" * 4}, {"extra/config": b"\xff\xfe"}],
)
def test_damaged_deployed_files(tmp_path, changes):
    """The last but one holds too few numbers for its tensor."""
    with pytest.raises(ValueError, match=r"old.pth' is damaged or no TorchScript file \(\w+: "):
        load_old_model(rewritten(tmp_path / "old.pth", changes))


def test_tensors_that_are_missing(tmp_path):
    with pytest.raises(ValueError, match=r"old.pth' is damaged or no TorchScript file \(KeyError: "):
        load_old_model(rewritten(tmp_path / "old.pth", drop=["data/"]))


def test_version_may_stand_beside_the_configuration(tmp_path):
    config = config_of("v056_si")
    del config["nequip_version"]
    old = rewritten(tmp_path / "old.pth", {"extra/config": yaml.dump(config).encode()})
    assert load_old_model(old).architecture["r_max"] == 3.6
