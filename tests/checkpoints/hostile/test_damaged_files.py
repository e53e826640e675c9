"""A bit that flips in a file is noticed wherever it changes what is read."""

import random
import struct
import zipfile

import entry_points
import pytest
import torch
from entry_points import ALL
from hostile_checkpoints import put

from nequip_elemtransfer.checkpoints.archive import Damaged, check_as_pytorch_reads, read
from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.output.refusal import RefusedFile

N = 200


def flipped(content, random_numbers):
    """The content with one bit changed."""
    place, bit = random_numbers.randrange(len(content)), random_numbers.randrange(8)
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


def is_same(a, b):
    """To the last bit, in whatever order mappings are."""
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.numpy().tobytes() == (b.numpy().tobytes())
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(is_same(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(is_same, a, b))
    return type(a) is type(b) and a == b


def test_each_flip_that_changes_anything_is_refused(checkpoint, contents, tmp_path):
    """What is accepted is the same to the last bit: flips in the padding and the dates of the archive."""
    whole, random_numbers, refused = checkpoint.read_bytes(), random.Random(1), 0
    file = tmp_path / "flipped.ckpt"
    for _ in range(N):
        file.write_bytes(flipped(whole, random_numbers))
        try:
            found = read_checkpoint(file)
        except RefusedFile:
            refused += 1
        else:
            assert is_same(found, contents)
    assert N // 2 < refused < N


def test_pytorch_itself_does_not_notice(checkpoint, contents, tmp_path):
    """Or there would be nothing to check."""
    whole, random_numbers = checkpoint.read_bytes(), random.Random(1)
    file, unnoticed = tmp_path / "flipped.ckpt", 0
    for _ in range(60):
        file.write_bytes(flipped(whole, random_numbers))
        try:
            found = torch.load(file, weights_only=True)
        except Exception:  # of many kinds
            continue
        unnoticed += not is_same(found, contents)
    assert unnoticed > 5


def start_of(file, name):
    """Where the bytes of a part begin."""
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(name)
        with open(file, "rb") as content:
            content.seek(info.header_offset + 26)
            lengths = content.read(4)
    return info.header_offset + 30 + sum(lengths[::2]) + 256 * sum(lengths[1::2])


@pytest.fixture
def one_weight_changed(checkpoint, tmp_path):
    """The checkpoint with the lowest bit of a weight changed, which PyTorch loads."""
    with zipfile.ZipFile(checkpoint) as archive:
        name = max((i for i in archive.infolist() if "/data/" in i.filename), key=lambda i: i.file_size).filename
    content = bytearray(checkpoint.read_bytes())
    content[start_of(checkpoint, name)] ^= 1
    file = tmp_path / "si.ckpt"
    file.write_bytes(content)
    torch.load(file, weights_only=True)
    return file


@pytest.mark.parametrize("enter", [e for e in ALL if e is not entry_points.md], ids=lambda enter: enter.__name__)
def test_every_command_notices(one_weight_changed, silicon, tmp_path, in_this_process, enter):
    code, said = enter(one_weight_changed, tmp_path, silicon)
    assert code != 0 and "fails its checksum" in said and said.count("\n") == 1


# ---- what a checksum does not cover


def rewritten(checkpoint, file, change):
    """The parts of a checkpoint in another archive."""
    with zipfile.ZipFile(checkpoint) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            change(new, info.filename, old.read(info))
    return file


def test_the_same_parts_in_another_archive(checkpoint, contents, tmp_path):
    file = rewritten(checkpoint, tmp_path / "si.ckpt", lambda new, name, data: new.writestr(name, data))
    assert is_same(read_checkpoint(file), contents)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_part_that_comes_twice(checkpoint, tmp_path):
    """PyTorch would take the first and others the last."""

    def twice(new, name, data):
        new.writestr(name, data)
        if name.endswith("data.pkl"):
            new.writestr(name, data[:-1] + b"x")

    rewritten(checkpoint, tmp_path / "si.ckpt", twice)
    with pytest.raises(Damaged, match="holds 'si/data.pkl' 2 times"):
        check_as_pytorch_reads(tmp_path / "si.ckpt")
    with pytest.raises(Damaged, match="2 times"):
        read(tmp_path / "si.ckpt", lambda name: False)


def test_compressed_part(checkpoint, tmp_path):
    """It may be a thousand times as large once it is unpacked."""

    def compressed(new, name, data):
        new.writestr(name, data, zipfile.ZIP_DEFLATED if name.endswith("data.pkl") else zipfile.ZIP_STORED)

    rewritten(checkpoint, tmp_path / "si.ckpt", compressed)
    with pytest.raises(Damaged, match="not stored as it is"):
        check_as_pytorch_reads(tmp_path / "si.ckpt")


def test_part_of_another_folder(checkpoint, tmp_path):
    def elsewhere(new, name, data):
        new.writestr(name.replace("si/data/0", "other/data/0"), data)

    rewritten(checkpoint, tmp_path / "si.ckpt", elsewhere)
    with pytest.raises(Damaged):
        check_as_pytorch_reads(tmp_path / "si.ckpt")


def test_name_that_differs_from_the_table_of_contents(checkpoint, tmp_path):
    """The name of a part stands before it and in the table at the end."""
    content = checkpoint.read_bytes()
    first, last = content.index(b"si/data/0"), content.rindex(b"si/data/0")
    (tmp_path / "si.ckpt").write_bytes(content[:first] + b"si/data/1" + content[first + 9 :])
    with pytest.raises(Damaged):
        read(tmp_path / "si.ckpt", lambda name: True)
    (tmp_path / "si.ckpt").write_bytes(content[:last] + b"si/data/1" + content[last + 9 :])
    with pytest.raises(Damaged, match="2 times"):
        check_as_pytorch_reads(tmp_path / "si.ckpt")


def test_two_archives_in_one_file(checkpoint, contents, tmp_path):
    """Each with the right checksums; readers differ in which they take, and zipfile takes the last."""

    def copied(new, name, data):
        new.writestr(zipfile.ZipInfo(name), data)

    name = "model.sole_model.model.func.type_embed.embed_module.weight"
    torch.save(put(contents, ("state_dict", name), contents["state_dict"][name] + 1), tmp_path / "si.ckpt")
    first, last = (
        rewritten(file, tmp_path / f"{i}.zip", copied).read_bytes()
        for i, file in enumerate([tmp_path / "si.ckpt", checkpoint])
    )
    (tmp_path / "si.ckpt").write_bytes(first[:-22] + last)  # without the first's end record
    with zipfile.ZipFile(tmp_path / "si.ckpt") as archive:
        assert archive.testzip() is None
    with pytest.raises(Damaged):
        check_as_pytorch_reads(tmp_path / "si.ckpt")


def test_part_too_long_to_describe_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr("nequip_elemtransfer.checkpoints.archive._LONGEST_DESCRIPTION", 10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/short", "x" * 10)
        archive.writestr("a/long", "x" * 11)
    assert read(tmp_path / "a.zip", lambda name: "short" in name)[1] == {"a/short": b"x" * 10}
    with pytest.raises(Damaged, match="'a/long' has 0 MB"):
        read(tmp_path / "a.zip", lambda name: True)


def table_of_contents(content):
    """Where an archive's table of contents begins."""
    return struct.unpack("<I", content[(end := content.rindex(b"PK\x05\x06")) + 16 : end + 20])[0]


@pytest.mark.parametrize("place", [0, 30, 31, -22], ids=lambda place: f"byte {place}")
def test_a_table_of_contents_that_is_damaged(checkpoint, silicon, tmp_path, in_this_process, place):
    """Offsets that count from its beginning, or from the end of the file."""
    whole = bytearray(checkpoint.read_bytes())
    whole[place if place < 0 else table_of_contents(whole) + place] ^= 0x40
    commands = [*ALL, entry_points.import_old]
    for enter in commands:
        (tmp_path / "flipped.ckpt").write_bytes(whole)
        code, said = enter(tmp_path / "flipped.ckpt", tmp_path, silicon)
        assert code != 0 and said.count("\n") == 1 and "Errno" not in said, f"{enter.__name__}: {code} {said}"


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_without_its_beginning(checkpoint, silicon, tmp_path, in_this_process, cut):
    for enter in [*ALL, entry_points.import_old]:
        (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[cut:])
        code, said = enter(tmp_path / "cut.ckpt", tmp_path, silicon)
        assert code != 0 and said.count("\n") == 1 and "Errno" not in said, f"{enter.__name__}: {code} {said}"
