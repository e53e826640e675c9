"""``nequip-elemtransfer select``: farthest points of known sets, copies, what is there already, and what is written."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.cli import main
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.transfer.start import Start, unlabelled_config

pytest.importorskip("skmatter")

from nequip_elemtransfer.selection.inputs import CODES, write_inputs  # noqa: E402
from nequip_elemtransfer.selection.selecting import (  # noqa: E402
    MEAN_AND_SPREAD,
    farthest_points,
    random_reaches,
    select_structures,
    standardised,
    structure_features,
)

SCALE = 1.07
GERMANIUM = unlabelled_config("si.ckpt", {"Ge": "Si"})
RESCALED = unlabelled_config("si.ckpt", {"Ge": "Si"}, SCALE)


def greedy(features, number, chosen):
    """Farthest points by their definition."""
    chosen = list(chosen)
    for _ in range(number):
        distances = [min(np.linalg.norm(row - features[c]) for c in chosen) for row in features]
        chosen.append(int(np.argmax(distances)))
    return chosen


def test_farthest_points_are_those_of_the_definition():
    features = standardised(np.random.default_rng(1).normal(size=(40, 3)))
    found = farthest_points(features, 6, [3, 17])
    assert found.order == greedy(features, 6, [3, 17])[2:]
    assert (np.diff(found.distances) <= 1e-12).all() and found.left.max() <= found.distances[-1]
    assert found.distances[0] == pytest.approx(
        min(np.linalg.norm(features[found.order[0]] - features[c]) for c in (3, 17))
    )
    assert found.left[[3, 17, *found.order]] == pytest.approx(0)


def test_without_any_the_most_usual_comes_first():
    line = np.array([[0.0], [1.0], [2.0], [3.0], [10.0]])
    found = farthest_points(standardised(line), 3)
    assert found.order == [3, 4, 0] and found.distances[0] == np.inf
    assert farthest_points(standardised(line), 5).left == pytest.approx(0)
    assert farthest_points(np.zeros((1, 4)), 1).order == [0]
    assert (standardised(np.ones((3, 2))) == 0).all()
    assert random_reaches(standardised(line), 5, [], draws=4) == pytest.approx(0)


@pytest.fixture
def source(monkeypatch, nequip_architecture, build):
    """A silicon model with random weights in place of a checkpoint's."""
    architecture = nequip_architecture("Si")
    model = SourceModel("random", "0" * 64, architecture, build(architecture).state_dict())
    monkeypatch.setattr("nequip_elemtransfer.selection.selecting.load_source", lambda path: model)
    arch.initialize_nequip()
    return model


def germanium(strain, seed=0):
    atoms = bulk("Ge", "diamond", a=5.7 * (1 + strain), cubic=True)
    atoms.rattle(0.02, seed=seed)
    return atoms


def turned(atoms):
    """The same to a model: rotated, its atoms in another order, and as a supercell."""
    copy = atoms.copy()
    copy.rotate(40, (1, 2, 3), rotate_cell=True)
    return copy[::-1] * (2, 1, 1)


@pytest.fixture
def pool(tmp_path):
    """Crystals at six volumes, and copies of the first and the last."""
    frames = [germanium(strain, seed) for seed, strain in enumerate((0.0, 0.01, 0.02, -0.03, 0.05, 0.1))]
    frames += [turned(frames[0]), turned(frames[5])]
    for atoms in frames:
        atoms.info["group"] = "strained"
    ase.io.write(tmp_path / "pool.xyz", frames)
    return tmp_path / "pool.xyz"


def test_features_are_the_sources_at_its_own_lengths(source):
    """λ-corrected: a germanium structure has the features that the source has of it at 1/λ of its lengths."""
    atoms = germanium(0.03)
    alike = Atoms("Si8", atoms.positions / SCALE, cell=np.asarray(atoms.cell) / SCALE, pbc=True)
    start = Start.of(RESCALED, source)
    own = Start.of(unlabelled_config("random", {"Si": "Si"}, "none"), source)
    for pooling in ("mean", MEAN_AND_SPREAD):
        found, kind = structure_features(start, [atoms, turned(atoms)], pooling)
        expected, _ = structure_features(own, [alike], pooling)
        assert kind == "model" and found[0] == pytest.approx(expected[0], rel=1e-6, abs=1e-9)
        assert found[1] == pytest.approx(found[0], rel=1e-6, abs=1e-9)
    unscaled = Start.of(unlabelled_config("random", {"Ge": "Si"}, "none"), source)
    uncorrected, _ = structure_features(unscaled, [atoms])
    assert np.abs(uncorrected[0] - structure_features(start, [atoms])[0][0]).max() > 1e-3


def test_copies_are_left_out_and_labelled_ones_count(source, pool, tmp_path):
    found = select_structures(pool, RESCALED, 6)
    assert found.copies == {6: 0, 7: 5} and sorted(found.chosen) == [0, 1, 2, 3, 4, 5]
    labelled = turned(germanium(0.1, 5))
    labelled.calc = SinglePointCalculator(labelled, energy=-3.0, forces=np.zeros((16, 3)))
    ase.io.write(tmp_path / "have.xyz", labelled)
    beside = select_structures(pool, RESCALED, 2, have=tmp_path / "have.xyz")
    assert beside.copies == {6: 0, 5: 8, 7: 8} and beside.copies_of_have == {5, 7}
    # away from the expanded one that is there: the compressed one first
    assert beside.chosen[0] == 3 and np.isfinite(beside.distances[0])
    assert beside.reach <= beside.random_reach[1]


def test_too_few(source, pool, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"--number 7 asks for more than the 6 different structures among 8 candidates "
        r"\(2 are copies of others, 0 of labelled ones\): choose at most 6",
    ):
        select_structures(pool, GERMANIUM, 7)
    with pytest.raises(ValueError, match="all 8 candidates are copies of labelled structures: there is nothing new"):
        select_structures(pool, GERMANIUM, 1, have=pool)
    ase.io.write(tmp_path / "tin.xyz", bulk("Sn", "diamond", a=6.5))
    with pytest.raises(ValueError, match="the structures hold Sn, which no type of the model covers"):
        select_structures(tmp_path / "tin.xyz", GERMANIUM, 1)


def test_the_command_writes_structures_inputs_and_a_page(source, pool, tmp_path, capsys):
    out, folder = tmp_path / "chosen.xyz", tmp_path / "inputs"
    command = [
        "select",
        str(pool),
        "--model",
        "nequip.net:group/si:1",
        "--elements",
        "Ge=Si",
        "--number",
        "3",
        "--out",
        str(out),
    ]
    assert main([*command, "--write", *CODES, "--folder", str(folder)]) == 0
    assert "3 of 8 candidates, 2 of them copies" in capsys.readouterr().out
    chosen, frames = ase.io.read(out, ":"), ase.io.read(pool, ":")
    assert [atoms.info["choice"] for atoms in chosen] == [0, 1, 2]
    for place, atoms in enumerate(chosen):
        source_structure = frames[atoms.info["candidate"]]
        assert atoms.positions == pytest.approx(source_structure.positions, abs=1e-7)
        assert atoms.info["group"] == "strained"
        for code, name, kind in (
            ("vasp", "POSCAR", "vasp"),
            ("espresso", "espresso.pwi", "espresso-in"),
            ("aims", "geometry.in", "aims"),
        ):
            read = ase.io.read(folder / code / f"{place:03d}" / name, format=kind)
            assert read.get_chemical_formula() == "Ge8"
            assert np.asarray(read.cell) == pytest.approx(np.asarray(atoms.cell), abs=1e-6)
            assert read.positions == pytest.approx(atoms.positions, abs=1e-6)
        plain = ase.io.read(folder / "cp2k" / f"{place:03d}" / "structure.xyz")
        assert plain.positions == pytest.approx(atoms.positions, abs=1e-6)
        vectors = [line.split()[1:] for line in (folder / f"cp2k/{place:03d}/subsys.inc").read_text().splitlines()[1:4]]
        assert np.array(vectors, dtype=float) == pytest.approx(np.asarray(atoms.cell), abs=1e-9)
    text = (tmp_path / "chosen.html").read_text()
    assert "<svg" in text and "3 of 8 candidates" in text and "copies, left out" in text
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(command) == 2 and "exists already" in capsys.readouterr().err
    assert main([*command, "--force", "--write", "vasp", "--folder", str(folder)]) == 2
    assert "give another --folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--write", "castep", "--folder", "x"], "no inputs are written for 'castep': choose from vasp, espresso"),
        (["--write", "vasp"], "inputs need both --write with codes and --folder"),
        (["--number", "0"], "--number is 0"),
        (["--pooling", "sum"], "no pooling is called 'sum': choose mean or mean+spread"),
        (["--length-scale", "1.0", "1.1"], "--length-scale takes one number, or pairs"),
        (["--have", "nowhere.xyz"], "nowhere.xyz' does not exist"),
    ],
)
def test_bad_input(source, pool, tmp_path, capsys, options, sentence):
    out = tmp_path / "chosen.xyz"
    command = ["select", str(pool), "--model", "nequip.net:group/si:1", "--elements", "Ge=Si", "--out", str(out)]
    assert main([*command, *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("nequip-elemtransfer: ") and sentence in error
    assert {path.name for path in tmp_path.iterdir()} == {"pool.xyz"}


def test_inputs_need_a_cell(tmp_path):
    cluster = Atoms("Ge2", [[0, 0, 0], [0, 0, 2.4]])
    with pytest.raises(ValueError, match="chosen structure 0 has no cell, which vasp and espresso need"):
        write_inputs([cluster], ["cp2k", "vasp"], tmp_path / "inputs")
    assert not list(tmp_path.iterdir())
    write_inputs([cluster], ["cp2k", "aims"], tmp_path / "inputs")
    assert "PERIODIC NONE" in (tmp_path / "inputs/cp2k/000/subsys.inc").read_text()
