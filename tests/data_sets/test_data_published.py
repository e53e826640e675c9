"""Published files: the units of their labels, and that nothing but the published bytes is read."""

import gzip
import hashlib
import json

import numpy as np
import pytest

from nequip_elemtransfer.data import published

CONTENT = json.dumps([{"energy": -1.5}]).encode()


@pytest.fixture
def pinned(tmp_path):
    """One file, served from a folder of its own."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "A.json").write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    return published.PublishedFiles(served.as_uri(), {"A.json": digest}, "A.json and so on")


def test_stress_by_sign_unit_and_order():
    one_kbar = 6.241509e-4  # eV/Å³
    stress = published.stress_from_vasp([1, 2, 3, 4, 5, 6])  # xx yy zz xy yz zx
    np.testing.assert_allclose(stress / one_kbar, [-1, -2, -3, -5, -6, -4], rtol=1e-6)


def test_a_file_is_read_from_the_net_a_folder_and_a_compressed_copy(pinned, tmp_path):
    assert pinned.entries("A.json") == [{"energy": -1.5}]
    copy = tmp_path / "copy"
    copy.mkdir()
    assert not pinned.has("A.json", copy) and pinned.has("A.json")
    (copy / "A.json.gz").write_bytes(gzip.compress(CONTENT))
    assert pinned.has("A.json", copy)
    assert pinned.entries("A.json", copy) == [{"energy": -1.5}]
    (copy / "A.json").write_bytes(CONTENT + b"\n")  # the plain one goes first, and is another
    with pytest.raises(ValueError, match="A.json is not the published file"):
        pinned.entries("A.json", copy)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_one_other_byte_is_refused(pinned, tmp_path, end):
    changed = CONTENT.replace(b"-1.5", b"-1.6")
    (tmp_path / f"A.json{end}").write_bytes(gzip.compress(changed) if end else changed)
    sentence = f"A.json is not the published file: expected SHA-256 {pinned.sha256['A.json']}, found [0-9a-f]{{64}}$"
    with pytest.raises(ValueError, match=sentence):
        pinned.entries("A.json", tmp_path)


@pytest.mark.parametrize("damage", [lambda b: b[:-6], lambda b: b[2:], lambda b: b[:12] + b"\xff\xff" + b[14:]])
def test_a_damaged_compressed_file_is_named(pinned, tmp_path, damage):
    (tmp_path / "A.json.gz").write_bytes(damage(gzip.compress(CONTENT)))
    with pytest.raises(ValueError, match=r"A.json.gz cannot be decompressed \(.*\); get it again"):
        pinned.entries("A.json", tmp_path)


def test_a_missing_file_says_what_the_folder_needs(pinned, tmp_path):
    with pytest.raises(FileNotFoundError, match="A.json does not exist; --from needs a folder with A.json and so on"):
        pinned.entries("A.json", tmp_path)
