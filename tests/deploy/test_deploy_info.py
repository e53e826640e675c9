"""``nequip-deploy info``: what a file says about itself, without running it."""

import json
import shutil
import struct
import zipfile

import pytest
import torch

from nequip_elemtransfer.cli import main as inspect_main
from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.deployed import DeployedModel
from nequip_elemtransfer.deploy.info import describe, read_info
from nequip_elemtransfer.deploy.lammps_input import usage


@pytest.mark.parametrize(
    ("run", "ending"), [("ge", ".nequip.pth"), ("ge_one_layer", ".nequip.pt2"), ("ge", ".nequip.zip")]
)
def test_transferred_model(request, deployed, run, ending):
    info = read_info(deployed(run, ending))
    checkpoint = torch.load(request.getfixturevalue(f"{run}_run") / "best.ckpt", weights_only=True)
    model = checkpoint["hyper_parameters"]["model"]
    assert info["element_transfer"] == model["provenance"]
    assert info["type_names"] == ["Ge"]
    assert info["r_max"] == pytest.approx(model["architecture"]["r_max"], abs=1e-12)
    assert info["model_dtype"] == "float64"
    assert info["versions"]["nequip"] == checkpoint["hyper_parameters"]["info_dict"]["versions"]["nequip"]
    card = info["model_card"]
    assert card["labels"] == {"energy": 6, "forces": 6} and card["structures"]["train"] == 6
    assert card["loss"] == "EnergyForceLoss, energy 1, forces 1" and "Ge_train.xyz" in card["trained_on"][0]
    if ending != ".nequip.zip":
        assert info["pair_style"] == "nequip" and info["source"]["file"] == "best.ckpt"
        assert card["steps"] == checkpoint["global_step"]
        step, errors = checkpoint["callbacks"]["TrainingSummary"]["validations"][-1]
        assert step == card["steps"]
        assert card["errors"] == {"validation": {name.removeprefix("val0_epoch/"): e for name, e in errors.items()}}


@pytest.mark.parametrize("ending", [".nequip.pth", ".nequip.pt2", ".nequip.zip"])
def test_cutoffs_per_pair(deployed, ending):
    info = read_info(deployed("allegro", ending))
    cutoffs = [info["per_edge_type_cutoff"][a][b] for a in ("Si", "Ge") for b in ("Si", "Ge")]
    assert cutoffs == pytest.approx([4.0, 4.2, 4.2, 4.4])
    assert info["element_transfer"]["elements"] == {"Si": "Si", "Ge": "Si"}
    assert info["pair_style"] == (None if ending == ".nequip.zip" else "allegro")
    assert "Si 4.2, Ge 4.4" in describe(info)


@pytest.mark.parametrize(
    ("run", "ending", "kind"),
    [
        ("ge", ".nequip.pth", "TorchScript"),
        ("ge_one_layer", ".nequip.pt2", "AOTInductor"),
        ("ge", ".nequip.lmp.pt", "ML-IAP"),
    ],
)
def test_compiled_model_is_no_source(deployed, capsys, run, ending, kind):
    """It is whole, and holds nothing to transfer."""
    if kind == "ML-IAP":
        pytest.importorskip("lammps")
    file = deployed(run, ending)
    assert inspect_main(["inspect", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"source '{file}' is a compiled model ({kind}), which holds no architecture to start from: give the" in said


def test_without_a_transfer(deployed):
    info = read_info(deployed("si", ".nequip.pth"))
    assert info["element_transfer"] is None and "No element transfer" in describe(info)
    assert "started from       random weights\n" in describe(info)


def test_text(deployed, capsys):
    assert main(["info", str(deployed("ge", ".nequip.pth"))]) == 0
    text = capsys.readouterr().out
    provenance = read_info(deployed("ge", ".nequip.pth"))["element_transfer"]
    for quantity in ("length_scale", "energy_scale", "energy_shifts"):
        assert f"{provenance[quantity]['per_type']['Ge']:.4f}" in text
    assert provenance["source"] in text and "pair_style    nequip" in text
    assert "labels             energies of 6, forces of 6\n" in text and "validation errors  forces MAE" in text


def test_json(deployed, capsys):
    assert main(["info", "--json", str(deployed("ge", ".nequip.zip"))]) == 0
    assert json.loads(capsys.readouterr().out) == read_info(deployed("ge", ".nequip.zip"))


def test_nothing_is_run(deployed, monkeypatch):
    kinds = [("ge", ".nequip.pth"), ("ge_one_layer", ".nequip.pt2"), ("ge", ".nequip.zip")]
    files = [deployed(run, ending) for run, ending in kinds]

    def forbidden(*args, **options):
        raise AssertionError("info loads the file")

    for name in ("torch.jit.load", "torch.load", "torch.package.PackageImporter", "torch._inductor.aoti_load_package"):
        monkeypatch.setattr(name, forbidden)
    for file in files:
        read_info(file)


def test_file_of_nequip_compile(tmp_path):
    """It lacks what this command adds."""
    file = tmp_path / "si.nequip.pth"
    with zipfile.ZipFile(file, "w") as archive:
        for key, value in {"type_names": "Si", "r_max": "5.0", "num_types": "1", "allow_tf32": "1"}.items():
            archive.writestr(f"si/extra/{key}", value)
    info = read_info(file)
    assert info["r_max"] == 5.0 and info["allow_tf32"] is True
    assert info["pair_style"] == "nequip" and info["versions"] == {}
    assert info["element_transfer"] is info["source"] is info["model_card"] is None
    describe(info)


def test_aotinductor_file_for_ase(tmp_path):
    """No pair style runs it, and neither text nor input say otherwise."""
    file, fields = tmp_path / "si.nequip.pt2", "pos edge_index atom_types cell edge_cell_shift"
    metadata = {"type_names": "Si", "r_max": "5.0", "nequip_aoti_inputs": fields}
    with zipfile.ZipFile(file, "w") as archive:
        outputs = {"nequip_aoti_outputs": "atomic_energy total_energy forces stress"}
        archive.writestr("si/data/aotinductor/model/x_metadata.json", json.dumps(metadata | outputs))
    assert read_info(file)["pair_style"] is None and "pair style" not in describe(read_info(file))


def shared_object(*headers):
    """An ELF file's head, with program headers of a type and flags each."""
    head = bytearray(64 + 56 * len(headers))
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, len(headers))
    for i, header in enumerate(headers):
        struct.pack_into("<II", head, 64 + 56 * i, *header)
    return bytes(head)


LOADED, STACK = 1, 0x6474E551


@pytest.mark.parametrize(
    "library, asks",
    [
        (shared_object((LOADED, 5), (STACK, 6)), False),
        (shared_object((LOADED, 6), (STACK, 7)), True),
        (shared_object((LOADED, 5)), True),  # it says nothing, and gets one
        (shared_object((LOADED, 5), (STACK, 7))[:100], False),  # nothing that could be loaded
        (b"no shared object", False),
    ],
)
def test_executable_stack(tmp_path, library, asks):
    file, fields = tmp_path / "si.nequip.pt2", "pos edge_index atom_types cell edge_cell_shift"
    metadata = {"type_names": "Si", "r_max": "5.0", "nequip_aoti_inputs": fields, "nequip_aoti_outputs": "virial"}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("si/data/aotinductor/model/x_metadata.json", json.dumps(metadata))
        archive.writestr("si/data/aotinductor/model/x.wrapper.so", library)
    info = read_info(file)
    assert info["executable_stack"] is asks
    assert ("GLIBC_TUNABLES=glibc.rtld.execstack=2" in usage(info)) == asks
    assert ("GLIBC_TUNABLES" in usage(info | {"pair_style": None})) == asks


def test_executable_stack_that_is_refused(deployed, monkeypatch):
    """PyTorch's error becomes a sentence with the way round; others stay."""

    def refuse(path, device):
        raise RuntimeError("Error in dlopen: x.so: cannot enable executable stack as shared object requires")

    monkeypatch.setattr("nequip_elemtransfer.deploy.deployed.load_compiled_model", refuse)
    with pytest.raises(ValueError, match="GLIBC_TUNABLES=glibc.rtld.execstack=2"):
        DeployedModel(deployed("ge", ".nequip.pth"))


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    """One bit wrong in the middle."""
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def nothing(content):
    return b""


@pytest.mark.parametrize("ending", [".nequip.pth", ".nequip.zip"])
@pytest.mark.parametrize("damage", [cut, flip, nothing])
def test_damaged_file(deployed, tmp_path, capsys, ending, damage):
    file = tmp_path / f"ge{ending}"
    file.write_bytes(damage(deployed("ge", ending).read_bytes()))
    assert main(["info", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "damaged" in error


@pytest.mark.parametrize("ending", [".nequip.pth", ".nequip.pt2", ".nequip.zip"])
def test_archive_of_something_else(tmp_path, capsys, ending):
    file = tmp_path / f"ge{ending}"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.txt", "no model")
    assert main(["info", str(file)]) == 2
    assert "not a" in capsys.readouterr().err


def test_wrong_ending(deployed, tmp_path, capsys):
    """A package under the name of a TorchScript file."""
    file = tmp_path / "ge.nequip.pth"
    shutil.copy(deployed("ge", ".nequip.zip"), file)
    assert main(["info", str(file)]) == 2
    assert "not a TorchScript file" in capsys.readouterr().err


def test_missing_file(tmp_path, capsys):
    assert main(["info", str(tmp_path / "ge.nequip.pth")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_damaged_compressed_part(tmp_path, capsys):
    """Some parts are compressed, and what is wrong in those is found while they are unpacked."""
    file = tmp_path / "ge.nequip.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ge/code", "".join(map(str, range(5000))))
    content = file.read_bytes()
    file.write_bytes(content[:200] + bytes(200) + content[400:])
    assert main(["info", str(file)]) == 2
    error = capsys.readouterr().err
    assert "is damaged" in error and error.count("\n") == 1
