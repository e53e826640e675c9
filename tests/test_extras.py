"""Libraries that are missing meet one sentence."""

import sys

import pytest

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.optional_packages import extra


def test_missing_library_names_the_extra():
    with pytest.raises(ModuleNotFoundError) as error, extra("plan", "a plan"):
        import no_such_library.part  # noqa: F401
    assert str(error.value) == (
        "a plan needs 'no_such_library', which is not installed: pip install \"nequip-elemtransfer[plan]\"."
    )
    assert error.value.name == "no_such_library"


@pytest.mark.parametrize("library", ["sklearn", "dscribe", "matplotlib", "jinja2"])
def test_a_plan_says_so_before_it_reads_anything(monkeypatch, capsys, library):
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["plan", "nowhere.ckpt", "nowhere.xyz"]) == 2
    assert capsys.readouterr().err.count(f"needs {library!r}, which is not installed") == 1


def test_a_selection_says_so_before_it_reads_anything(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skmatter", None)
    command = ["select", "nowhere.xyz", "--model", "nowhere.ckpt", "--elements", "Ge=Si", "--out", "out.xyz"]
    assert main(command) == 2
    assert "needs 'skmatter', which is not installed: pip install \"nequip-elemtransfer[select]\"." in (
        capsys.readouterr().err
    )
