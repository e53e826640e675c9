"""Files that are whole and no checkpoints: each is called what it is, and what was asked for it."""

import pickle
import re
import zipfile

import entry_points
import pytest
import torch
from hostile_checkpoints import Pickled

COMPILED = "which holds no architecture to start from: give the checkpoint or the package that it was compiled from"
OLD = "a deployed model of NequIP 0.5 or 0.6, which this does not read: `nequip-elemtransfer import` writes it"


def torchscript(file, *extra):
    torch.jit.save(torch.jit.script(torch.nn.SiLU()), file, _extra_files=dict.fromkeys(extra, b""))


def archive(file, *names):
    with zipfile.ZipFile(file, "w") as new:
        for name in names:
            new.writestr(name, b"{}")


FILES = {  # a file's name, what is in it, what is said
    "today's TorchScript": (
        "si.nequip.pth",
        lambda file: torchscript(file, "r_max", "type_names", "num_types"),
        rf"a compiled model \(TorchScript\), {COMPILED}",
    ),
    "under another name": (
        "si.ckpt",
        lambda file: torchscript(file, "r_max", "type_names"),
        rf"a compiled model \(TorchScript\), {COMPILED}",
    ),
    "AOTInductor": (
        "si.nequip.pt2",
        lambda file: archive(file, "si.nequip/data/aotinductor/model/c.wrapper.so", "si.nequip/archive_format"),
        rf"a compiled model \(AOTInductor\), {COMPILED}",
    ),
    "TorchScript of another program": (
        "mace.pth",
        lambda file: torchscript(file, "atomic_numbers"),
        "TorchScript and no model of NequIP: give a .ckpt file",
    ),
    "a pickle": (
        "si.pkl",
        lambda file: file.write_bytes(pickle.dumps({"Si": 1})),
        "a pickle and not a checkpoint of NequIP",
    ),
    "old PyTorch": (
        "si.pth",
        lambda file: torch.save({"state_dict": {}}, file, _use_new_zipfile_serialization=False),
        "a pickle and not a checkpoint of NequIP",
    ),
    "a module": (
        "mlp.pt",
        lambda file: torch.save(torch.nn.Linear(2, 2), file),
        "no checkpoint of NequIP: it cannot be read as plain tensors and numbers but holds other objects such as "
        "'torch.nn.modules.linear.Linear', and nothing else is unpickled",
    ),
    "objects of another program": (
        "model.pt",
        lambda file: torch.save({"model": Pickled("open", "canary"), "how": torch.nn.Linear(2, 2)}, file),
        "such as '.*', and nothing else is unpickled",
    ),
    "a package under another name": (
        "si.zip",
        lambda file: archive(file, "si/model/package_metadata.txt", "si/model/__init__.py"),
        "a package: its name must end in .nequip.zip",
    ),
}
# what a file is to each command
COMMANDS = {
    entry_points.inspect: "source",
    entry_points.key: "source",
    entry_points.plan: "source",
    entry_points.import_old: "source",
    entry_points.build_torchscript: "model",
    entry_points.build_package: "model",
    entry_points.restart: "checkpoint",
}


@pytest.mark.parametrize(("name", "write", "said"), FILES.values(), ids=FILES)
def test_every_command_says_what_a_file_is(silicon, tmp_path, in_this_process, monkeypatch, name, write, said):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    write(file)
    for enter, what in COMMANDS.items():
        code, sentence = enter(file, tmp_path, silicon)
        assert code != 0 and sentence.count("\n") == 1, f"{enter.__name__}: {code} {sentence}"
        assert re.search(rf"{what} '{re.escape(str(file))}' is {said}", sentence) or (
            said.startswith("such as") and re.search(f"{what} .*{said}", sentence)
        ), f"{enter.__name__}: {sentence}"
        assert "damaged" not in sentence and "truncated" not in sentence and "no import" not in sentence
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.fixture
def old(request):
    return request.path.parents[1] / "legacy" / "fixtures" / "v061_si" / "deployed.pth"


@pytest.mark.parametrize("enter", [entry_points.build_torchscript, entry_points.restart])
def test_old_deployed_model_where_it_is_not_read(old, silicon, tmp_path, in_this_process, enter):
    code, said = enter(old, tmp_path, silicon)
    assert code != 0 and f"{COMMANDS[enter]} '{old}' is {OLD}" in said and said.count("\n") == 1, said


@pytest.mark.parametrize("name", ["deployed.pth", "si.nequip.pth"])
def test_info_of_an_old_deployed_model(old, tmp_path, name):
    """Its versions, and what runs it no more."""
    (tmp_path / name).write_bytes(old.read_bytes())
    code, said = entry_points.command(entry_points.deploy_cli.main, "info", tmp_path / name)
    assert code == 2 and said.count("\n") == 1
    assert f"{name} is a deployed model of an old NequIP (nequip 0.6.1, e3nn 0.5.9, torch 2.13.0+cpu)" in said
    assert "which today's LAMMPS pair style does not read: write it as a checkpoint of today with" in said


def test_info_of_an_old_deployed_model_that_is_damaged(old, tmp_path):
    content = bytearray(old.read_bytes())
    with zipfile.ZipFile(old) as file:
        info = next(i for i in file.infolist() if i.filename.endswith("nequip_version"))
    content[info.header_offset + 30 + len(info.filename)] ^= 0xFF
    (tmp_path / "old.pth").write_bytes(content)
    code, said = entry_points.command(entry_points.deploy_cli.main, "info", tmp_path / "old.pth")
    assert code == 2 and "old.pth is damaged" in said and said.count("\n") == 1


def test_files_that_are_not_there(silicon, tmp_path, in_this_process):
    code, said = entry_points.build_torchscript(tmp_path, tmp_path, silicon)
    assert code == 2 and f"{tmp_path} is a folder: give a .ckpt file" in said
