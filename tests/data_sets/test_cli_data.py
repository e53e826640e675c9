"""The command line: what it writes, and that bad input gets one sentence and status 2."""

import inspect
from dataclasses import replace

import ase.io
import pytest

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.data import mlearn, nbmotaw, xtb
from nequip_elemtransfer.data.emt import EMT_METALS
from nequip_elemtransfer.data.published import PublishedSet
from nequip_elemtransfer.data.sampled import SampledSet
from nequip_elemtransfer.data.stillinger_weber import STILLINGER_WEBER

SMALL_SW = "--supercell 1 --frames 12 --temperatures 0.03 --liquid-temperatures 0.14 --sizes 2"


def run(command: str) -> int:
    return main(command.split())


def fails_with(command: str, sentence: str, capsys) -> None:
    assert run(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nequip-elemtransfer: ")
    assert err.count("\n") == 1
    assert sentence in err


def test_sw_writes_the_same_files_for_the_same_seed(tmp_path, capsys):
    for name in ("first", "again"):
        assert run(f"data sw --elements Ge --out {tmp_path / name} {SMALL_SW}") == 0
    out, err = capsys.readouterr()
    assert "Ge structures: 100%" in err
    assert f"{tmp_path / 'first' / 'Ge_train.xyz'}: 4 structures" in out
    first, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "again")
    )
    assert first == again
    assert sorted(first) == ["Ge_test.xyz", "Ge_train.xyz", "Ge_train_2.xyz", "Ge_val.xyz"]
    frames = ase.io.read(tmp_path / "first" / "Ge_train.xyz", ":")
    assert {atoms.info["group"] for atoms in frames} == {"diamond", "strained", "vacancy", "liquid"}
    for atoms in frames:
        assert set(atoms.calc.results) == {"energy", "energies", "forces", "stress"}


def test_bad_input(tmp_path, capsys):
    out = tmp_path / "out"
    fails_with(f"data sw --out {out} --elements Pb", "'Pb'; choose from Si, Ge", capsys)
    fails_with(f"data sw --out {out} --frames 0", "frames must be at least 1", capsys)
    fails_with(f"data sw --out {out} --sizes 0", "sizes: 0 Si structures", capsys)
    fails_with(f"data mlearn --out {out} --elements Cu", "'Cu' here; choose from Si, Ge", capsys)
    fails_with(f"data mlearn --out {out} --from {tmp_path}", "does not exist", capsys)
    fails_with(f"data nbmotaw --out {out} --elements W Cu", "'Cu' here; choose from Mo, W, Nb, Ta, MoW, NbTa", capsys)
    fails_with(f"data nbmotaw --out {out} --from {tmp_path}", "Mo_AIMD.json does not exist", capsys)
    assert not out.exists()
    out.write_text("a file")
    fails_with(f"data sw --out {out}", "is a file, not a folder", capsys)


def test_no_network(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    for name, module, published in [("mlearn", mlearn, "MLEARN"), ("nbmotaw", nbmotaw, "NBMOTAW")]:
        data = getattr(module, published)
        nowhere = replace(data.files, base_url="http://127.0.0.1:9")
        monkeypatch.setattr(module, published, replace(data, files=nowhere))
        fails_with(f"data {name} --out {tmp_path / 'out'}", "could not be downloaded", capsys)


@pytest.mark.parametrize("command", ["", "data", "data silicon", "data sw", "data sw --frames x"])
def test_usage_errors_exit_with_2(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command)
    assert stop.value.code == 2
    assert "usage: nequip-elemtransfer" in capsys.readouterr().err


def defaults_of(sampled):
    temperatures = {name: tuple(getattr(sampled, name)) for name in ("temperatures", "liquid_temperatures")}
    return {"systems": sampled.default, **temperatures}


def test_defaults_of_the_command_are_those_of_the_function(monkeypatch, tmp_path):
    sets = [
        ("sw", SampledSet, STILLINGER_WEBER.prepare, defaults_of(STILLINGER_WEBER)),
        ("emt", SampledSet, EMT_METALS.prepare, defaults_of(EMT_METALS)),
        ("xtb", xtb, xtb.prepare, {}),
        ("mlearn", PublishedSet, mlearn.MLEARN.prepare, {"systems": mlearn.MLEARN.default}),
        ("nbmotaw", PublishedSet, nbmotaw.NBMOTAW.prepare, {"systems": nbmotaw.NBMOTAW.default}),
    ]
    for name, owner, prepare, more in sets:
        parameters = inspect.signature(prepare).parameters.items()
        defaults = {key: parameter.default for key, parameter in parameters if key != "out"} | more
        called = {}
        monkeypatch.setattr(owner, "prepare", lambda *args, c=called, **kw: c.update(kw) or {})
        assert run(f"data {name} --out {tmp_path}") == 0
        as_tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in called.items()}
        assert as_tuples == defaults


@pytest.mark.parametrize("option", ["--seed", "--subset-seed"])
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_are_none(tmp_path, capsys, option, seed):
    command = f"data sw --elements Ge --out {tmp_path} {option} {seed} {SMALL_SW}"
    fails_with(command, f"{option} is {seed}: give a whole number", capsys)


@pytest.mark.parametrize(
    "arguments",
    [["data", "sw", "--out", ""], ["plan", "a.ckpt", "a.xyz", "--out", ""], ["study", "run", "s.yaml", "--out", ""]],
    ids=lambda arguments: arguments[0],
)
def test_empty_arguments(tmp_path, capsys, monkeypatch, arguments):
    """As a path, one is the folder one is in, which nobody has named."""
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert "the argument after '--out' is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
