"""Structures that no model can be fitted to meet a sentence that names them."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from nequip.data import AtomicDataDict, from_ase

from nequip_elemtransfer.structures.checks import (
    UnusableStructure,
    check_atoms,
    check_distances,
    check_fields,
    check_frame,
    check_whole_file,
)
from nequip_elemtransfer.structures.frames import isolated_atoms


@pytest.fixture
def atoms():
    found = bulk("Ge", "diamond", a=5.66)
    found.calc = SinglePointCalculator(found, energy=-8.0, forces=np.zeros((2, 3)), stress=np.zeros(6))
    return found


def changed(atoms, **changes):
    for name, value in changes.items():
        if name in ("forces", "stress", "virial"):
            atoms.calc.results[name] = value
        else:
            setattr(atoms, name, value)
    return atoms


def flat(atoms, vectors):
    atoms.set_cell(vectors)
    return atoms


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a[:0], "structure 7 has no atoms"),
        (lambda a: changed(a, forces=np.zeros((3, 3))), r"has forces of shape \(3, 3\): for 2 atoms .* \(2, 3\)"),
        (lambda a: changed(a, forces=np.zeros(6)), r"has forces of shape \(6,\)"),
        (lambda a: changed(a, stress=np.zeros(3)), r"has stress of shape \(3,\): .* \(6,\) or \(9,\) or \(3, 3\)"),
        (lambda a: changed(a, virial=np.zeros((2, 6))), r"has virial of shape \(2, 6\)"),
        (lambda a: changed(a, positions=[[0, 0, 0], [np.nan, 1, 1]]), "of atom 1 of structure 7 is not finite"),
        (lambda a: changed(a, positions=[[np.inf, 0, 0], [1, 1, 1]]), "of atom 0 of structure 7 is not finite"),
        (lambda a: flat(a, [[np.nan, 0, 0], [0, 5, 0], [0, 0, 5]]), "cell of structure 7 is not made of finite"),
        (lambda a: flat(a, [[0, 0, 0], [0, 5, 0], [0, 0, 5]]), "structure 7 is periodic along a cell vector of length"),
        (lambda a: flat(a, [[5, 0, 0], [0, 5, 0], [5, 5, 0]]), "cell vectors of structure 7 lie in a plane"),
    ],
)
def test_damaged_atoms(atoms, damage, message):
    with pytest.raises(UnusableStructure, match=message):
        check_atoms(damage(atoms), "structure 7")


def test_sound_atoms_pass(atoms):
    for stress in (np.zeros(6), np.zeros(9), np.zeros((3, 3))):
        check_atoms(changed(atoms, stress=stress), "structure 7")
    cluster = bulk("Ge", "diamond", a=5.66)
    cluster.pbc, cluster.cell = False, None
    check_atoms(cluster, "structure 7")


@pytest.mark.parametrize(
    ("field", "place", "message"),
    [
        (AtomicDataDict.TOTAL_ENERGY_KEY, (0, 0), "an infinite energy label:"),
        (AtomicDataDict.FORCE_KEY, (1, 2), "an infinite forces label of atom 1:"),
        (AtomicDataDict.STRESS_KEY, (0, 2, 1), "an infinite stress label:"),
    ],
)
def test_infinite_labels_are_refused_and_missing_ones_pass(atoms, field, place, message):
    frame = from_ase(atoms)
    frame[field][place] = torch.nan
    check_frame(frame, "training structure 3")
    frame[field][place] = -torch.inf
    with pytest.raises(UnusableStructure, match=f"training structure 3 has {message}"):
        check_frame(frame, "training structure 3")


def test_frames_are_checked_as_atoms_are(atoms):
    frame = from_ase(atoms)
    frame[AtomicDataDict.POSITIONS_KEY][1, 0] = torch.nan
    with pytest.raises(UnusableStructure, match="position of atom 1 of it is not finite"):
        check_frame(frame, "it")


def test_atoms_upon_each_other():
    edges = np.array([[0, 1, 4], [1, 0, 9]])
    check_distances(np.array([2.4, 2.4, 0.31]), edges, "it")
    check_distances(np.array([]), np.zeros((2, 0), dtype=int), "it")
    with pytest.raises(UnusableStructure, match="it has atoms 4 and 9 0.12 Å apart"):
        check_distances(np.array([2.4, 2.4, 0.12]), edges, "it")


def test_a_field_that_the_model_reads(atoms):
    charge = [{"field": "charge", "min": -1, "max": 2}]
    with pytest.raises(UnusableStructure, match=r"it has no 'charge', which .* \(an integer from -1 to 2\)"):
        check_fields(from_ase(atoms), charge, "it")
    check_fields(from_ase(atoms) | {"charge": torch.tensor([[0]])}, charge, "it")
    check_fields(from_ase(atoms), [], "it")


def test_isolated_atoms_see_no_other_and_no_image_of_themselves():
    alone = bulk("Ge", "sc", a=20.0)
    near = bulk("Ge", "sc", a=3.0)
    free = bulk("Ge", "sc", a=3.0)
    free.pbc = False
    apart, together = (Atoms("Ge2", [[0, 0, 0], [0, 0, d]]) for d in (5.1, 4.9))
    frames = [from_ase(a) for a in (near, alone, bulk("Ge", "diamond", a=30.0), free, apart, together)]
    assert isolated_atoms(frames, 5.0) == [1, 2, 3, 4]


ONE = '2\nLattice="3 0 0 0 3 0 0 0 3"\nGe 0 0 0\nGe 1.5 1.5 1.5\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + "\n" + ONE, "text behind the empty line 5, where ASE stops reading, after 1 structure:"),
        (ONE + ONE + "  \t\nthe end", "text behind the empty line 9, .* after 2 structures"),
        ((ONE + "\n" + ONE).replace("\n", "\r\n"), "text behind the empty line 5"),
        ("1000000000\n" + ONE[2:], "structure 0 of .* announces 1000000000 atoms, and the file ends"),
        (ONE + ONE[:-20], "structure 1 of .* announces 2 atoms, and the file ends"),
    ],
)
def test_files_that_ase_would_read_in_part(tmp_path, text, message):
    (tmp_path / "a.xyz").write_bytes(text.encode())
    with pytest.raises(UnusableStructure, match=message):
        check_whole_file(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    "text",
    ["", ONE, ONE * 3, ONE + "\n \n", ONE.replace("\n", "\r\n"), ONE[:-1], "prose", "0\n\n" + ONE]
    + [(ONE + "VEC1 3 0 0\nVEC2 0 3 0\nVEC3 0 0 3\n") * 2],
)
def test_files_that_ase_reads_to_their_end(tmp_path, text):
    (tmp_path / "a.xyz").write_bytes(text.encode())
    check_whole_file(tmp_path / "a.xyz")


def test_files_of_other_formats_are_left_to_ase(tmp_path):
    (tmp_path / "a.vasp").write_text("1\n\n\nGe")
    check_whole_file(tmp_path / "a.vasp")
    check_whole_file(tmp_path / "gone.xyz")
