"""``nequip-elemtransfer import`` and ``inspect``."""

import json
import shutil

import pytest
import torch
from old_models import FIXTURES

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.source import load_source, sha256_of

OLD = FIXTURES / "v056_si"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    new = tmp_path_factory.mktemp("new") / "si.ckpt"
    assert main(["import", str(OLD), str(new)]) == 0
    return new


def test_checkpoint_is_a_source_of_today(imported):
    """Bitwise the same model as the old one taken as a source."""
    old, new = load_source(str(OLD)), load_source(str(imported))
    assert new.architecture == old.architecture
    assert all(torch.equal(tensor, old.state[name]) for name, tensor in new.state.items())
    assert old.sha256 == sha256_of(OLD / "best_model.pth")
    info = torch.load(imported, weights_only=True)["hyper_parameters"]["info_dict"]
    assert info["imported_from"] == {"path": str(OLD), "sha256": old.sha256}


def test_inspect_shows_an_old_model(capsys):
    assert main(["inspect", str(OLD)]) == 0
    shown = capsys.readouterr().out
    assert sha256_of(OLD / "best_model.pth") in shown
    assert "r_max: 3.6" in shown


def test_pin_of_an_old_model():
    with pytest.raises(ValueError, match="has the SHA-256 .*, but `element_transfer.sha256` says 0000"):
        load_source(str(OLD), sha256="0" * 64)


def test_nothing_is_replaced_unasked(imported, capsys):
    before = imported.read_bytes()
    assert main(["import", str(OLD), str(imported)]) == 2
    assert f"{imported} exists already; force (--force) replaces it" in capsys.readouterr().err
    assert imported.read_bytes() == before


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ("si.pth", "must end in .ckpt"),
        ("none/si.ckpt", "there is no folder"),
        ("folder.ckpt", "it is a folder; name a file"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, capsys, new, problem):
    (tmp_path / "folder.ckpt").mkdir()
    assert main(["import", str(OLD), str(tmp_path / new)]) == 2
    assert problem in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.ckpt"]


def test_todays_models_need_no_import(imported, tmp_path, capsys):
    assert main(["import", str(imported), str(tmp_path / "new.ckpt")]) == 2
    assert "means to today's NequIP what it meant when it was written: it needs no import" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "none"), str(tmp_path / "new.ckpt")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_refused_model_leaves_no_file(tmp_path, capsys):
    folder = shutil.copytree(OLD, tmp_path / "old")
    config = folder / "config.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("e: silu", f"e: {json.dumps('ssp')}"), encoding="utf-8")
    assert main(["import", str(folder), str(tmp_path / "new.ckpt")]) == 2
    assert "has `nonlinearity_scalars`: 'ssp' for even scalars" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [folder]
