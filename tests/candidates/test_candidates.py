"""``nequip-elemtransfer candidates``: exact similarity, what was done to each, the same again from the same seed."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from nequip_elemtransfer.candidates.generation import CandidateSettings, make_candidates
from nequip_elemtransfer.candidates.trajectories import Dynamics
from nequip_elemtransfer.candidates.variants import VACUUM, nearest_neighbor
from nequip_elemtransfer.cli import main
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.transfer.start import unlabelled_config

SCALE = 1.06
GERMANIUM = unlabelled_config("si.ckpt", {"Ge": "Si"})
RESCALED = unlabelled_config("si.ckpt", {"Ge": "Si"}, SCALE)
BOND = 5.43 * np.sqrt(3) / 4


@pytest.fixture
def silicon(tmp_path):
    """A file of eight rattled silicon crystals, one of them a cluster without periodicity."""
    frames = []
    for seed in range(8):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.info["group"] = "of the source"
        frames.append(atoms)
    frames[3].pbc = False
    ase.io.write(tmp_path / "si.xyz", frames)
    return tmp_path / "si.xyz"


def by_group(structures):
    groups = {}
    for atoms in structures:
        groups.setdefault(atoms.info["group"], []).append(atoms)
    return groups


def test_corresponding_states_are_similar(silicon):
    found = make_candidates(silicon, RESCALED, CandidateSettings(number=100))
    frames = ase.io.read(silicon, ":")
    corresponding = by_group(found.structures)["corresponding"]
    assert len(corresponding) == len(frames)
    for place, (atoms, source) in enumerate(zip(corresponding, frames)):
        assert atoms.get_chemical_symbols() == ["Ge"] * 8
        assert atoms.positions == pytest.approx(SCALE * source.positions, abs=1e-12)
        assert np.asarray(atoms.cell) == pytest.approx(SCALE * np.asarray(source.cell), abs=1e-12)
        assert (atoms.pbc == source.pbc).all() and atoms.calc is None
        assert atoms.info == {
            "group": "corresponding",
            "made_from": f"structure {place} of si.xyz",
            "length_scale": SCALE,
        }


def test_changes_are_what_info_says(silicon):
    settings = CandidateSettings(number=40, largest_strain=0.03, rattle=0.02)
    groups = by_group(make_candidates(silicon, RESCALED, settings).structures)
    frames = ase.io.read(silicon, ":")
    assert {kind: len(found) for kind, found in groups.items()} == {
        "corresponding": 8,
        "strained": 40,
        "rattled": 40,
        "vacancy": 40,
        "surface": 40,
    }

    def base(atoms):
        return frames[int(atoms.info["made_from"].split()[1])]

    for atoms in groups["strained"]:
        xx, yy, zz, yz, xz, xy = atoms.info["strain"]  # Voigt's shear strains are twice the components
        strain = np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])
        assert 0 < np.abs(strain).max() <= 0.03
        cell = SCALE * np.asarray(base(atoms).cell) @ (np.eye(3) + strain)
        assert np.asarray(atoms.cell) == pytest.approx(cell, abs=1e-4)
        assert atoms.get_scaled_positions() == pytest.approx(base(atoms).get_scaled_positions(), abs=1e-9)
    moved = np.concatenate([atoms.positions - SCALE * base(atoms).positions for atoms in groups["rattled"]])
    bond = nearest_neighbor([Atoms("Si2", [[0, 0, 0], [0, 0, SCALE * BOND]])])
    assert moved.std() == pytest.approx(0.02 * bond, rel=0.12)
    for atoms in groups["vacancy"]:
        others = np.delete(base(atoms).positions, atoms.info["removed"], axis=0)
        assert len(atoms) == 7 and np.abs(atoms.positions - SCALE * others).max() < 0.06 * bond
    for atoms in groups["surface"]:
        axis = atoms.info["face"]
        height = atoms.positions[:, axis]
        assert atoms.cell.lengths()[axis] - np.ptp(height) == pytest.approx(VACUUM, abs=0.5) and atoms.pbc.all()


def test_the_same_seed_makes_the_same(silicon):
    settings = CandidateSettings(number=5, seed=3)
    first, again = (make_candidates(silicon, GERMANIUM, settings).structures for _ in range(2))
    assert all((a.positions == b.positions).all() and a.info == b.info for a, b in zip(first, again))
    fewer = make_candidates(silicon, GERMANIUM, CandidateSettings(number=5, seed=3, kinds=("rattled",)))
    assert all((a.positions == b.positions).all() for a, b in zip(fewer.structures, by_group(first)["rattled"]))
    other = make_candidates(silicon, GERMANIUM, CandidateSettings(number=5, seed=4)).structures
    assert not any(
        (a.positions == b.positions).all() for a, b in zip(by_group(first)["rattled"], by_group(other)["rattled"])
    )


def test_an_alloy_of_two_targets(silicon):
    """Each atom becomes one of the types that start from it; the cell grows by the mean λ of its atoms."""
    settings = CandidateSettings(number=8, kinds=("corresponding",))
    config = unlabelled_config("si.ckpt", {"Si": "Si", "Ge": "Si"}, {"Si": 1.0, "Ge": 1.1})
    found = make_candidates(silicon, config, settings).structures
    fractions = [np.mean([symbol == "Ge" for symbol in atoms.symbols]) for atoms in found]
    assert 0.2 < np.mean(fractions) < 0.8
    for atoms, fraction in zip(found, fractions):
        assert atoms.cell.lengths() == pytest.approx(5.43 * (1 + 0.1 * fraction), abs=1e-5)


def test_clusters_without_a_cell(tmp_path):
    ase.io.write(tmp_path / "si.xyz", [Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]), Atoms("Si", [[0, 0, 0]])])
    found = make_candidates(tmp_path / "si.xyz", GERMANIUM, CandidateSettings(number=2))
    assert found.counts == {"corresponding": 2, "rattled": 2}
    assert found.notes == [
        f"No {kind} structures: none of the source's is periodic and large enough."
        for kind in ("strained", "vacancy", "surface")
    ]


def test_a_crystal_brings_its_own_surfaces(silicon):
    settings = CandidateSettings(number=6, crystal=Crystal("diamond", "Ge", 5.76))
    groups = by_group(make_candidates(silicon, GERMANIUM, settings).structures)
    assert [atoms.info["surface"] for atoms in groups["surface"]] == ["100", "110", "111"] * 2
    assert groups["corresponding"][0].info["made_from"] == "diamond Ge"
    assert groups["corresponding"][0].cell.lengths() == pytest.approx(2 * 5.76)


@pytest.fixture
def model(monkeypatch, nequip_architecture, build):
    """A silicon model with random weights in place of a checkpoint's."""
    architecture = nequip_architecture("Si", per_type_energy_scales=0.05)
    source = SourceModel("random", "0" * 64, architecture, build(architecture).state_dict())
    monkeypatch.setattr("nequip_elemtransfer.candidates.generation.load_source", lambda path: source)
    return source


def test_dynamics_of_the_untrained_transfer(silicon, model):
    """The forces are the source's over λ (α = 1), so a step is followed exactly by the source in its own lengths."""
    dynamics = Dynamics("si.ckpt", (300.0,), time=0.02, snapshots=2, beginnings=2)
    settings = CandidateSettings(number=1, kinds=("corresponding",))
    found = make_candidates(silicon, RESCALED, settings, dynamics)
    snapshots = by_group(found.structures)["dynamics"]
    assert [atoms.info["time"] for atoms in snapshots] == [0.01, 0.02] * 2
    assert {atoms.info["temperature"] for atoms in snapshots} == {300.0}
    assert {atoms.info["made_from"] for atoms in snapshots} == {"structure 0 of si.xyz", "structure 4 of si.xyz"}
    pressed = Dynamics("si.ckpt", (300.0,), (0.0, 5.0), time=0.02, snapshots=1, beginnings=1)
    found = make_candidates(silicon, GERMANIUM, settings, pressed)
    assert [atoms.info["pressure"] for atoms in by_group(found.structures)["dynamics"]] == [0.0, 5.0]


def test_simulations_that_explode(silicon, model):
    """What fails at once is refused when it is all there is, and named otherwise."""
    settings = CandidateSettings(number=1, kinds=("corresponding",))
    wild = Dynamics("si.ckpt", (50000.0,), time=0.1, timestep=20.0)
    with pytest.raises(ValueError, match=r"every simulation fails before its first snapshot \(at 50000 K it ended"):
        make_candidates(silicon, GERMANIUM, settings, wild)
    mixed = Dynamics("si.ckpt", (50.0, 50000.0), time=0.2, timestep=2.0, snapshots=1, beginnings=1)
    found = make_candidates(silicon, GERMANIUM, settings, mixed)
    assert len(by_group(found.structures)["dynamics"]) == 1
    assert any(
        note.startswith("Dynamics from structure 0 of si.xyz: at 50000 K it ended after") for note in found.notes
    )


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--elements", "Ge=C"], "starts 'Ge' from 'C', which is not a type of the source"),
        (["--elements", "Ge=Si", "--length-scale", "fit"], "--length-scale fit needs labels"),
        (["--elements", "Ge=Si", "--length-scale", "10"], "lies between 0.333 and 3"),
        (["--elements", "Ge=Si", "--strain", "2"], "--strain is a part of a length between 0 and 0.5, found 2"),
        (["--elements", "Ge=Si", "--number", "0"], "must be at least 1"),
        (["--elements", "Ge=Si", "--kinds", "melted"], "no candidates are called 'melted': choose from corresponding"),
        (["--elements", "Ge=Si", "--temperatures", "300"], "needs both --model and --temperatures"),
        (["--elements", "Ge=Si", "--crystal", "diamond"], "a crystal is written as structure:formula:lattice constant"),
        (
            ["--elements", "Ge=Si", "--rattle", "0.49", "--kinds", "rattled", "--number", "1"],
            "no candidate is left: in each two atoms",
        ),
    ],
)
def test_bad_input(silicon, tmp_path, capsys, options, sentence):
    out = tmp_path / "out.xyz"
    assert main(["candidates", str(silicon), "--out", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("nequip-elemtransfer: ") and error.count("\n") == 1
    assert not out.exists()


def test_nothing_is_written_over(silicon, tmp_path, capsys):
    out = tmp_path / "out.xyz"
    command = ["candidates", str(silicon), "--elements", "Ge=Si", "--out", str(out), "--number", "3"]
    assert main(command) == 0
    assert "15 structures (3 corresponding, 3 strained, 3 rattled, 3 vacancy, 3 surface)" in capsys.readouterr().out
    before = out.read_bytes()
    assert main(command) == 2 and "exists already" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0 and out.read_bytes() == before
