"""Metadata from anywhere: nothing of them reaches the terminal raw, and LAMMPS reads the lines as they are meant."""

import json
import math
import shlex
import zipfile

import pytest
import yaml

from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.info import describe, read_info
from nequip_elemtransfer.deploy.lammps_input import input_files, usage
from nequip_elemtransfer.output.table import printable

ESCAPES = "\x1b[31mred\x1b]0;title\x07\r\nline\u202egnp\x9b2J"

# escape, bell, carriage return, C1 control, bidirectional override
FORBIDDEN = "\x1b\x07\r\x9b\u202e"

PROVENANCE = {
    "source": f"si{ESCAPES}.ckpt",
    "sha256": ESCAPES,
    "elements": {"Ge": {f"Si{ESCAPES}": 1.0}},
    "length_scale": {"setting": "none", "per_type": {"Ge": 1.0}, "r_max": {"source": 4.0, "target": 4.0}},
    "energy_scale": {"setting": "none", "per_type": {"Ge": 1.0}, "common_to": [ESCAPES]},
    "energy_shifts": {
        "setting": "source",
        "per_type": {"Ge": -4.0},
        "rank": 0,
        "fitted_types": [],
        "undetermined_types": [],
    },
    "n_frames": 4,
    "tensors": [],
    "zero_shot": [],
    "weights": ESCAPES,
}
METADATA = {"type_names": "Ge", "r_max": "5.0", "num_types": "1", "allow_tf32": "0", "model_dtype": "float32"}


def torchscript(file, **changes):
    with zipfile.ZipFile(file, "w") as archive:
        for key, value in (METADATA | changes).items():
            if value is not None:
                archive.writestr(f"ge/extra/{key}", value)
    return file


def package(file, metadata=None, model=None, code=()):
    """The two texts of a package, and Python files besides."""
    metadata = {"versions": {"nequip": "0.19.0"}, "atom_types": {0: "Ge"}} | (metadata or {})
    architecture = {"_target_": "nequip.model.NequIPGNNModel", "type_names": ["Ge"], "r_max": 5.0}
    config = {"training_module": {"model": architecture | (model or {})}}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("ge/model/package_metadata.txt", yaml.safe_dump(metadata))
        archive.writestr("ge/model/config.yaml", yaml.safe_dump(config))
        archive.writestr("ge/version", "3")
        archive.writestr("ge/.data/version", "3")
        archive.writestr("ge/.data/extern_modules", "")
        for name, text in code:
            archive.writestr(name, text)
    return file


# ---- terminals


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_escape_codes_are_shown_and_not_obeyed(tmp_path, capsys, options):
    deploy = {"source": {"file": ESCAPES, "sha256": ESCAPES}, "versions": {f"nequip{ESCAPES}": ESCAPES}}
    inputs = {"nequip_aoti_inputs": ESCAPES, "AOTI_DEVICE_KEY": f"cpu{ESCAPES}"}
    file = torchscript(
        tmp_path / "ge.nequip.pth", element_transfer=json.dumps(PROVENANCE), nequip_deploy=json.dumps(deploy), **inputs
    )
    assert main(["info", *options, str(file)]) == 0
    text = capsys.readouterr().out
    assert not set(FORBIDDEN) & set(text)
    assert "\\x1b[31m" in text or "\\u001b[31m" in text
    n_lines = describe(read_info(file)).count("\n")
    as_wide = "x" * len(printable(ESCAPES))  # headers of a wide table take more lines
    plain = torchscript(
        tmp_path / "plain.nequip.pth",
        element_transfer=json.dumps(PROVENANCE).replace(json.dumps(ESCAPES)[1:-1], as_wide),
        nequip_deploy=json.dumps(deploy).replace(json.dumps(ESCAPES)[1:-1], as_wide),
        **{name: "cpu" for name in inputs},
    )
    assert describe(read_info(plain)).count("\n") == n_lines  # no line of the file's own


@pytest.mark.parametrize("name", [f"{ESCAPES}.nequip.zip", "\x1b[2Jge.nequip.pth"])
def test_messages_hold_no_escape_codes(tmp_path, capsys, name):
    (tmp_path / name.replace("/", "")).write_bytes(b"nothing")
    assert main(["info", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and not set(FORBIDDEN) & set(error)


# ---- LAMMPS


def lammps_words(line):
    """The words of a command as LAMMPS takes them apart: quotes hold a word together, # begins a comment."""
    words, word, quote = [], None, ""
    for letter in line:
        if quote:
            word, quote = (word, "") if letter == quote else (word + letter, quote)
        elif letter in "\"'":
            word, quote = word or "", letter
        elif letter == "#":
            break
        elif letter.isspace():
            words, word = (words if word is None else [*words, word]), None
        else:
            assert letter not in "$&", "LAMMPS would put something else here"
            word = (word or "") + letter
    return words if word is None else [*words, word]


@pytest.mark.parametrize("name", [f"{name}.nequip.pth" for name in ("ge", "my ge", "g$e", "g#e&", "g'e", 'g"e')])
def test_file_names_are_one_word(tmp_path, name):
    file = torchscript(tmp_path / name)
    lines = usage(read_info(file)).splitlines()
    line = next(line for line in lines if line.lstrip().startswith("pair_coeff"))
    assert lammps_words(line) == ["pair_coeff", "*", "*", str(file), "Ge"]


@pytest.mark.parametrize("name", ["g'\"e.nequip.pth", "g\ne.nequip.pth", "g\u2019e.nequip.pth", "g\x1be.nequip.pth"])
def test_file_names_that_lammps_cannot_be_told(tmp_path, capsys, name):
    """It puts ASCII in the place of some characters, such as typographic quotes."""
    assert main(["info", str(torchscript(tmp_path / name))]) == 0
    text = capsys.readouterr().out
    assert "No lines for LAMMPS: LAMMPS cannot read the file name" in text and "pair_coeff" not in text


@pytest.mark.parametrize("name", ["in*", "in%", "in'\"", "in\n"])
def test_input_names_that_lammps_would_change(tmp_path, capsys, name):
    with pytest.raises(ValueError, match="LAMMPS"):
        input_files(tmp_path / name)
    file = torchscript(tmp_path / "ge.nequip.pth")
    assert main(["info", str(file), "--lammps-input", str(tmp_path / name)]) == 2
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("types", ["Ge;shell", "$(Ge)", "Ge#", "Ge&", "G\x1be", '"Ge"', "Gé"])
def test_type_names(tmp_path, capsys, types):
    file = torchscript(tmp_path / "ge.nequip.pth", type_names=types)
    code = main(["info", str(file)])
    output = capsys.readouterr()
    assert "pair_coeff" not in output.out
    assert code == 2 or "No lines for LAMMPS: the type" in output.out


def test_null_is_no_type_of_lammps(tmp_path):
    info = read_info(torchscript(tmp_path / "ge.nequip.pth", type_names="NULL"))
    assert "No lines for LAMMPS: the type 'NULL'" in usage(info)


def test_command_for_a_shell(tmp_path):
    file = package(tmp_path / "ge; touch x $(y).nequip.zip")
    command = usage(read_info(file)).splitlines()[0].split(": ", 1)[1]
    stem = str(file).removesuffix(".nequip.zip")
    assert shlex.split(command) == ["nequip-deploy", "build", "--model", str(file), f"{stem}.nequip.pth"]


def test_line_of_python(tmp_path):
    file = torchscript(tmp_path / 'g"e\\.nequip.pth')
    line = usage(read_info(file) | {"pair_style": None, "device": '"); import os #'}).splitlines()[-1]
    call = line.split("from_compiled_model", 1)[1]
    path, device = eval(f"(lambda path, device: (path, device)){call}")  # ours, and of two strings
    assert (path, device) == (str(file), '"); import os #')


# ---- malformed metadata


@pytest.mark.parametrize(
    "changes",
    [
        {"type_names": None},
        {"type_names": ""},
        {"type_names": "Ge Ge"},
        {"type_names": b"\xff\xfe"},
        {"r_max": None},
        {"r_max": "0"},
        {"r_max": "-1"},
        {"r_max": "nan"},
        {"r_max": "five"},
        {"model_dtype": "float16"},
        {"per_edge_type_cutoff": "1 2"},
        {"per_edge_type_cutoff": "nan"},
        {"element_transfer": "{}"},
        {"element_transfer": "[1]"},
        {"element_transfer": "{"},
        {"element_transfer": "[" * 100_000},
        {"element_transfer": json.dumps(PROVENANCE | {"elements": {"Ge": 3}})},
        {"element_transfer": json.dumps(PROVENANCE | {"n_frames": math.nan})},
        {"model_card": "[]"},
        {"model_card": json.dumps({"steps": "many"})},
        {"model_card": json.dumps({"errors": {"test": {"forces_mae": "low"}}})},
        {"nequip_deploy": "[]"},
        {"nequip_deploy": json.dumps({"source": {}})},
        {"nequip_deploy": json.dumps({"source": 3})},
        {"nequip_deploy": json.dumps({"versions": 3})},
        {"nequip_deploy": json.dumps({"versions": {"nequip": 3}})},
    ],
)
def test_torchscript_metadata(tmp_path, capsys, changes):
    assert_one_sentence(capsys, torchscript(tmp_path / "ge.nequip.pth", **changes))


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"type_names": 3, "r_max": "5"}', '{"type_names": "Ge"}', "{"])
def test_aotinductor_metadata(tmp_path, capsys, text):
    with zipfile.ZipFile(tmp_path / "ge.nequip.pt2", "w") as archive:
        archive.writestr("ge/data/aotinductor/model/x_metadata.json", text)
    assert_one_sentence(capsys, tmp_path / "ge.nequip.pt2")


@pytest.mark.parametrize(
    ("metadata", "model"),
    [
        ({"versions": None}, {}),
        ({"versions": []}, {}),
        ({"versions": {"nequip": 3}}, {}),
        ({"atom_types": {1: "Ge"}}, {}),
        ({"atom_types": ["Ge"]}, {}),
        ({"atom_types": {0: "G\x1be"}}, {}),
        ({}, {"r_max": 0}),
        ({}, {"r_max": math.nan}),
        ({}, {"r_max": "long"}),
        ({}, {"per_edge_type_cutoff": 3}),
        ({}, {"pair_potential": {"_target_": "os.system", "command": "true"}}),
        ({}, {"pair_potential": "${oc.env:HOME}"}),
        ({}, {"_target_": "nequip_elemtransfer.model.TransferredModel", "provenance": {}}),
        ({}, {"_target_": "nequip_elemtransfer.model.TransferredModel", "provenance": 3}),
    ],
)
def test_package_metadata(tmp_path, capsys, metadata, model):
    assert_one_sentence(capsys, package(tmp_path / "ge.nequip.zip", metadata, model))


@pytest.mark.parametrize("text", ["{", "- 1", "a: &a [*a]", "x: !!python/object/apply:os.system [true]", "\x00"])
def test_package_texts_that_are_no_configuration(tmp_path, capsys, text):
    with zipfile.ZipFile(tmp_path / "ge.nequip.zip", "w") as archive:
        archive.writestr("ge/model/package_metadata.txt", text)
        archive.writestr("ge/model/config.yaml", text)
    assert_one_sentence(capsys, tmp_path / "ge.nequip.zip")


def assert_one_sentence(capsys, file):
    assert main(["info", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("nequip-deploy: ") and error.count("\n") == 1
    assert file.name in error and len(error) < 1000


# ---- packages


def test_nothing_of_a_package_runs_when_it_is_described(tmp_path, capsys):
    """PyTorch's importer would run the first of these to read the texts beside it."""
    canary = tmp_path / "canary"
    code = [(f"ge/{name}", f"open({str(canary)!r}, 'w')") for name in ("model/__init__.py", "nequip/__init__.py")]
    file = package(tmp_path / "ge.nequip.zip", code=code)
    assert main(["info", str(file)]) == 0
    assert read_info(file)["type_names"] == ["Ge"]
    assert not canary.exists()
