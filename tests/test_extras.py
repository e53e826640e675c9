"""Libraries that are missing meet one sentence."""

import sys

import pytest

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.optional_packages import extra


def empty(path):
    path.touch()
    return str(path)


def test_missing_library_names_the_extra():
    with pytest.raises(ModuleNotFoundError) as error, extra("plan", "a plan"):
        import no_such_library.part  # noqa: F401
    assert str(error.value) == (
        "a plan needs 'no_such_library', which is not installed: pip install \"nequip-elemtransfer[plan]\"."
    )
    assert error.value.name == "no_such_library"


@pytest.mark.parametrize("library", ["sklearn", "dscribe", "matplotlib", "jinja2"])
def test_a_plan_says_so_before_it_reads_anything(monkeypatch, capsys, tmp_path, library):
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["plan", empty(tmp_path / "si.ckpt"), empty(tmp_path / "ge.xyz")]) == 2
    assert capsys.readouterr().err.count(f"needs {library!r}, which is not installed") == 1


def test_a_selection_says_so_before_it_reads_anything(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "skmatter", None)
    files = [empty(tmp_path / "si.xyz"), "--model", empty(tmp_path / "si.ckpt")]
    command = ["select", *files, "--elements", "Ge=Si", "--out", str(tmp_path / "out.xyz")]
    assert main(command) == 2
    assert "needs 'skmatter', which is not installed: pip install \"nequip-elemtransfer[select]\"." in (
        capsys.readouterr().err
    )
