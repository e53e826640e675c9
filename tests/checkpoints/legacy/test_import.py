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
    origin = info["imported_from"]
    assert (origin["path"], origin["sha256"]) == (str(OLD), old.sha256)
    assert [note[:42] for note in origin["notes"]] == ["not compared with the old model itself: a "]


def test_what_was_changed_and_compared_is_said(tmp_path, capsys):
    """Of a model of e3nn 0.4, whose own forward runs; and the same is kept in the checkpoint."""
    new = tmp_path / "new.ckpt"
    assert main(["import", str(FIXTURES / "e3nn04_sic_l2" / "deployed.pth"), str(new)]) == 0
    _, turned, compared = capsys.readouterr().out.splitlines()
    assert turned.startswith("weights of the paths (1, 2, 2), (2, 1, 2), (2, 2, 1) are negated")
    assert compared.startswith("agrees with the old file's own forward on a small structure: energies of up to ")
    info = torch.load(new, weights_only=True)["hyper_parameters"]["info_dict"]
    assert info["imported_from"]["notes"] == [turned, compared]
    assert main(["inspect", str(FIXTURES / "e3nn04_sic_l2")]) == 0
    assert f"read as a model of today: {turned}" in capsys.readouterr().out.splitlines()


def test_nothing_of_a_file_runs_where_that_is_asked(tmp_path, capsys, monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr("nequip_elemtransfer.checkpoints.legacy.own_forward.subprocess.run", run)
    command = ["import", str(OLD / "deployed.pth"), str(tmp_path / "new.ckpt")]
    with pytest.raises(AssertionError):
        main(command)
    assert list(tmp_path.iterdir()) == []
    assert main([*command, "--no-comparison"]) == 0
    assert capsys.readouterr().out.endswith("not compared with the old model itself: --no-comparison was given\n")


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
        ("si.pth/si.ckpt", "si.pth is a file, not a folder"),
        ("folder.ckpt", "it is a folder; name a file"),
    ],
)
def test_places_that_cannot_be_written(tmp_path, capsys, new, problem):
    (tmp_path / "folder.ckpt").mkdir()
    (tmp_path / "si.pth").touch()
    assert main(["import", str(OLD), str(tmp_path / new)]) == 2
    assert problem in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "folder.ckpt", tmp_path / "si.pth"]
    assert (tmp_path / "si.pth").stat().st_size == 0


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
