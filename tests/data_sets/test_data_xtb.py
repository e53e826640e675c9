"""Molecules by SMILES: the lists, labels that are GFN2-xTB's, molecules that are put aside, and what is refused."""

import sys
from collections import Counter
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pytest

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.data.xtb import SHIPPED, Molecule, molecules_of

pytest.importorskip("tblite", reason="the extra xtb is not installed")
pytest.importorskip("rdkit", reason="the extra xtb is not installed")

from nequip_elemtransfer.data import xtb  # noqa: E402
from nequip_elemtransfer.data.split import Division  # noqa: E402

LIST = "# of the test\nC[{X}H3] methyl alkyl\nC=C[{X}H3] vinyl vinyl\nC#C[{X}H3] ethynyl ethynyl\n"


def run(folder: Path, text: str, *options: str, element: str = "Ge") -> int:
    path = folder / "molecules.smi"
    path.write_text(text)
    command = ["data", "xtb", "--smiles", str(path), "--elements", element, "--out", str(folder / "out"), *options]
    return main(command)


@pytest.fixture(scope="module")
def files(made_once):
    """A data set of the list above."""

    def fill(folder):
        assert run(folder, LIST, "--frames", "18", "--sizes", "2") == 0

    folder = made_once("xtb_ge", fill) / "out"
    return {path.name: ase.io.read(path, ":") for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("system", SHIPPED)
def test_shipped_lists(system):
    molecules = molecules_of(system)
    assert Counter(m.group for m in molecules) == dict.fromkeys(("alkyl", "vinyl", "ethynyl", "ring", "chain"), 4)
    assert len({m.smiles for m in molecules}) == len({m.name for m in molecules}) == 20
    for molecule in molecules:
        assert set(molecule.symbols) <= {"H", "C", system}
        assert (system in molecule.symbols) == (system != "CH")
        assert len(molecule.bonds) - len(molecule.symbols) in (-1, 0)  # a tree, or one ring


@pytest.mark.parametrize("pair", [("Si", "Ge"), ("S", "Se"), ("Cl", "Br")])
def test_both_elements_of_a_family_have_the_same_molecules(pair):
    first, second = (molecules_of(system) for system in pair)
    for a, b in zip(first, second, strict=True):
        assert (a.name, a.group, len(a.symbols)) == (b.name, b.group, len(b.symbols))
        assert [pair[1] if s == pair[0] else s for s in a.symbols] == list(b.symbols)
    assert xtb.unseen_molecules(first, 3) == xtb.unseen_molecules(second, 3)


@pytest.mark.parametrize("seed", range(4))
def test_a_fifth_of_each_group_is_put_aside(seed):
    molecules = molecules_of("Se")
    aside = xtb.unseen_molecules(molecules, seed)
    assert Counter(m.group for m in molecules if m.name in aside) == dict.fromkeys(
        ("alkyl", "vinyl", "ethynyl", "ring", "chain"), 1
    )


def test_files_of_the_command(files):
    names = ["Ge_minima", "Ge_test", "Ge_train", "Ge_train_2", "Ge_val"]
    assert list(files) == [f"{name}.xyz" for name in names]
    assert [len(frames) for frames in files.values()] == [3, 6, 6, 2, 6]
    for name, frames in files.items():
        for atoms in frames:
            assert set(atoms.calc.results) == {"energy", "energies", "forces"}
            assert not atoms.pbc.any() and not atoms.cell.any()
            assert atoms.info["temperature"] in ([0.0] if "minima" in name else [300.0, 600.0])
            assert atoms.info["molecules"] == "seen"
    every = Counter((a.info["molecule"], a.info["temperature"]) for n in (1, 2, 4) for a in list(files.values())[n])
    assert len(every) == 6 and set(every.values()) == {3}


def test_labels_are_those_of_xtb(files):
    for atoms in files["Ge_test.xyz"][:3]:
        labels = atoms.calc.results
        assert labels["energies"].sum() == pytest.approx(labels["energy"], abs=1e-6)
        atoms.calc = xtb.gfn2_calculator()
        assert atoms.get_potential_energy() == pytest.approx(labels["energy"], abs=1e-5)
        np.testing.assert_allclose(atoms.get_forces(), labels["forces"], atol=1e-4)
        step = 1e-3
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[0, 0] += sign * step
            moved.calc = xtb.gfn2_calculator()
            energies.append(moved.get_potential_energy())
        assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(labels["forces"][0, 0], abs=2e-3)


def test_minima(files):
    for atoms in files["Ge_minima.xyz"]:
        assert np.abs(atoms.get_forces()).max() < 0.005
    (germane,) = (a for a in files["Ge_minima.xyz"] if a.info["molecule"] == "methyl")
    germanium = list(germane.symbols).index("Ge")
    lengths = germane.get_distances(germanium, [i for i, s in enumerate(germane.symbols) if s == "C"])
    assert lengths == pytest.approx([1.945], abs=0.03)  # microwave spectrum: 1.945 Å (V. W. Laurie, 1959)


def test_snapshots_are_at_their_temperature():
    """Equipartition: of harmonic vibrations, 3N − 6 times k_B T / 2 on the mean."""
    (molecule,) = (m for m in molecules_of("Si") if m.name == "methyl")
    minimum = xtb.relaxed(molecule, 0)
    plan = [xtb.MoleculeTrajectory(molecule, t, 30) for t in (200.0, 400.0)]
    frames = list(xtb.snapshots("Si", plan, {"methyl": minimum}, 0))
    for trajectory, own in zip(plan, (frames[:30], frames[30:])):
        energy = np.mean([a.get_potential_energy() for a in own]) - minimum.get_potential_energy()
        expected = (3 * len(minimum) - 6) / 2 * ase.units.kB * trajectory.temperature
        assert energy == pytest.approx(expected, rel=0.2)


def test_same_seed_same_files(tmp_path):
    options, text = ("--frames", "6", "--temperatures", "300", "--sizes", "1"), "C[{X}] methyl a\nCC[{X}] ethyl a\n"
    for name, seed in (("first", "1"), ("again", "1"), ("other", "2")):
        (tmp_path / name).mkdir()
        assert run(tmp_path / name, text, *options, "--seed", seed, element="Br") == 0
    first, again, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "out").iterdir()}
        for name in ("first", "again", "other")
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_molecules_put_aside_are_in_no_other_file(tmp_path, monkeypatch):
    """The dynamics play no part in this."""

    def still(system, plan, minima, seed):
        for trajectory in plan:
            for _ in range(trajectory.frames):
                atoms = minima[trajectory.molecule.name].copy()
                atoms.info["temperature"] = trajectory.temperature
                yield atoms

    def unrelaxed(molecule: Molecule, seed):
        atoms = molecule.geometry(seed)
        atoms.info = {"group": molecule.group, "molecule": molecule.name, "temperature": 0.0}
        return atoms

    monkeypatch.setattr(xtb, "snapshots", still)
    monkeypatch.setattr(xtb, "relaxed", unrelaxed)
    files = xtb.prepare(tmp_path, systems=["S"], division=Division(sizes=[10, 25]))
    parts = {name.removesuffix(".xyz").removeprefix("S_"): frames for name, frames in files.items()}
    names = {part: {a.info["molecule"] for a in frames} for part, frames in parts.items()}
    assert len(names["unseen"]) == 5 and len(names["train"]) == len(names["val"]) == len(names["test"]) == 15
    assert not names["unseen"] & names["train"]
    assert [len(parts[part]) for part in ("train", "val", "test", "unseen")] == [150, 30, 60, 80]
    assert {a.info["molecules"] for a in parts["unseen"]} == {"unseen"}
    assert {a.info["molecules"] for a in parts["test"]} == {"seen"}
    # small sets are small pictures of the large one: two of each group
    assert set(Counter(a.info["group"] for a in parts["train_10"]).values()) == {2}
    assert len({a.info["molecule"] for a in parts["train_10"]}) == 10


REFUSED = {
    "C[{X}H3 methyl alkyl": "line 1 of {list}: RDKit refuses the SMILES 'C[GeH3'",
    "C[{X}H3]C[ methyl alkyl": "RDKit refuses the SMILES",
    "C[{X}H2] methyl alkyl": "'C[GeH2]' is a radical, with 1 unpaired electron: only closed shells",
    "C[{X}] methyl alkyl": "is a radical, with 3 unpaired electrons",
    "C[{X}H2-] methyl alkyl": "has the charge -1: only neutral molecules",
    "[Ar] argon noble": "'[Ar]' is a single atom, which has no bond to learn from",
    "C[{X}H3].C methyl alkyl": "is several molecules",
    "C[Ra]C radium alkyl": "holds 'Ra'",
    "C[{X}H3] methyl": "write `SMILES NAME GROUP`",
    "# nothing": "holds no molecule",
    "C[{X}H3] methyl alkyl\nCC[{X}H3] methyl alkyl": "line 2 of {list} names a second molecule 'methyl'",
}


def refused(tmp_path, capsys, status: int) -> str:
    """The one sentence of a command that failed, which has written nothing."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nequip-elemtransfer: ")]
    assert status == 2 and len(lines) == 1 and not list((tmp_path / "out").glob("*.xyz"))
    return lines[0]


@pytest.mark.parametrize("text", REFUSED)
def test_molecules_that_are_refused(tmp_path, capsys, text):
    sentence = refused(tmp_path, capsys, run(tmp_path, text))
    assert REFUSED[text].format(list=tmp_path / "molecules.smi") in sentence


def test_sets_that_are_refused(tmp_path, capsys):
    assert "'Tb2' cannot stand for {X}" in refused(tmp_path, capsys, run(tmp_path, LIST, element="Tb2"))
    for options, words in {
        ("--frames", "3"): "frames is 3, and the set Ge has 6 molecules and temperatures",
        ("--frames", "6"): "too few Ge structures to leave any for the val part",
        ("--temperatures", "-300"): "temperatures must be positive, in K",
    }.items():
        assert words in refused(tmp_path, capsys, run(tmp_path, LIST, *options))
    out = ["--out", str(tmp_path / "out")]
    assert "ship with this package; choose from Si, Ge" in refused(
        tmp_path, capsys, main(["data", "xtb", "--elements", "Pb", *out])
    )
    assert "does not exist" in refused(
        tmp_path, capsys, main(["data", "xtb", "--smiles", str(tmp_path / "nowhere.smi"), *out])
    )


def test_xtb_that_does_not_converge(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(xtb, "_MAX_CYCLES", 2)
    sentence = refused(tmp_path, capsys, run(tmp_path, LIST, "--frames", "18", "--sizes"))
    assert (
        "GFN2-xTB does not converge for methyl (C[GeH3]) in its relaxation (SCF not converged in 2 cycles)" in sentence
    )


def test_a_molecule_that_breaks(tmp_path, capsys):
    sentence = refused(tmp_path, capsys, run(tmp_path, LIST, "--frames", "9", "--temperatures", "9000", "--sizes"))
    assert "breaks at 9000 K: give lower temperatures" in sentence or "does not converge" in sentence


@pytest.mark.parametrize("library", ["tblite", "rdkit"])
def test_missing_library(tmp_path, capsys, monkeypatch, library):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    sentence = refused(tmp_path, capsys, run(tmp_path, LIST))
    assert f'needs {library!r}, which is not installed: pip install "nequip-elemtransfer[xtb]".' in sentence
