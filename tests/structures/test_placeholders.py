"""Zeros that stand for missing labels, and zeros that are true."""

import gzip
import json

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from nequip.data import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.data import mlearn, nbmotaw
from nequip_elemtransfer.structures.labels import energy_of, forces_of, labels_of
from nequip_elemtransfer.structures.placeholders import RawLabels, frames_without_placeholders, placeholders
from nequip_elemtransfer.structures.reading import read_structures

N = 10


def crystals():
    """Rattled germanium of several volumes with arbitrary labels."""
    random, found = np.random.default_rng(0), []
    for i in range(N):
        atoms = bulk("Ge", "diamond", a=5.7 + 0.02 * i, cubic=True)
        atoms.rattle(0.05, seed=i)
        labels = {"energy": -36.0 + random.normal(), "forces": random.normal(size=(8, 3))}
        atoms.calc = SinglePointCalculator(atoms, **labels, stress=0.01 * random.normal(size=6))
        found.append(atoms)
    return found


def zeroed(kind, members, structures=None):
    structures = crystals() if structures is None else structures
    for i in members:
        label = structures[i].calc.results[kind]
        structures[i].calc.results[kind] = np.zeros_like(label) if kind != "energy" else 0.0
    return structures


def found_in(structures):
    """By kind, what is found."""
    found = placeholders([RawLabels.of(atoms) for atoms in structures])
    return {kind: members for kind, members in found.items() if members}


@pytest.mark.parametrize("kind", ["energy", "forces", "stress"])
@pytest.mark.parametrize("members", [[3], [0, 4], list(range(7)), list(range(N))])
def test_zeros_that_cannot_be_true(kind, members, tmp_path):
    if kind == "energy" and len(members) == 7:
        members = members[:4]
    path = tmp_path / "ge.xyz"
    write(path, zeroed(kind, members))
    read = read_structures(path)
    assert found_in(zeroed(kind, members)) == {kind: members}
    (said,) = read.said
    assert said.startswith(f"{len(members)} of {N} structures of ") and "taken for missing" in said and read.converted
    labels = {"energy": energy_of, "forces": forces_of, "stress": lambda atoms: atoms.calc.results.get("stress")}
    assert [i for i, atoms in enumerate(read.structures) if labels[kind](atoms) is None] == members


def test_labels_that_are_no_zeros_are_left_alone():
    assert found_in(crystals()) == {}


@pytest.mark.parametrize("lattice", ["diamond", "fcc", "bcc", "sc"])
@pytest.mark.parametrize("strain", [0.0, 0.03])
def test_forces_of_perfect_crystals_are_zero(lattice, strain):
    """Strained along an axis as well, and however the cell is chosen."""
    for cubic in (True, False):
        atoms = bulk("Ge", lattice, a=5.6, cubic=cubic)
        atoms.set_cell(atoms.cell * [1 + strain, 1, 1], scale_atoms=True)
        for cell in (atoms, atoms * (2, 1, 1)):
            cell.calc = SinglePointCalculator(cell, forces=np.zeros((len(cell), 3)), stress=0.01 * np.ones(6))
            assert found_in([cell]) == {}


def test_one_element_among_others_breaks_the_symmetry():
    atoms = bulk("GaAs", "zincblende", a=5.6, cubic=True)
    atoms.calc = SinglePointCalculator(atoms, forces=np.zeros((8, 3)))
    assert found_in([atoms]) == {}
    atoms.symbols[0] = "Al"
    assert found_in([atoms]) == {"forces": [0]}


def test_atoms_alone_rest_and_may_be_the_zero_of_energy():
    for atoms in (Atoms("Ge"), Atoms("Ge", cell=[20, 20, 20], pbc=True), Atoms("GeH", [[0, 0, 0], [0, 0, 9]])):
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
        assert found_in([*crystals(), atoms]) == {}


def test_energies_relative_to_the_lowest():
    structures = crystals()
    lowest = min(energy_of(atoms) for atoms in structures)
    for atoms in structures:
        atoms.calc.results["energy"] -= lowest
    assert found_in(structures) == {}


def test_one_crystal_without_stress_may_be_at_rest():
    perfect = [bulk("Ge", "diamond", a=a) for a in (5.7, 5.76)]
    for atoms in perfect:
        atoms.calc = SinglePointCalculator(atoms, forces=np.zeros((2, 3)), stress=np.zeros(6))
    assert found_in(perfect[:1]) == found_in([perfect[0], perfect[0].copy()]) == {}
    assert found_in(perfect) == {"stress": [0, 1]}


def test_a_molecule_has_no_stress():
    atoms = molecule("CH4")
    atoms.rattle(0.1)
    atoms.calc = SinglePointCalculator(atoms, forces=np.ones((5, 3)), stress=np.zeros(6))
    assert found_in([atoms]) == {}


@pytest.mark.parametrize(
    ("module", "name", "file", "halves"),
    [(mlearn, "mlearn", "Ge/training.json", ["Ge/training.json", "Si/training.json"])]
    + [
        (nbmotaw, "nbmotaw", f"{name}.json", [f"{name}.json"])
        for name in ("Mo_Elastic", "Nb_Elastic", "Ta_Elastic", "W_Elastic", "W_Surface", "MoW_SS")
    ],
)
def test_published_sets_stay_whole(module, name, file, halves, local_copy, tmp_path):
    folder = local_copy(name, file)
    for half in halves:
        packed = folder / f"{half}.gz"
        text = gzip.open(packed).read() if packed.exists() else (folder / half).read_bytes()
        entries = json.loads(text)
        group = [] if module is mlearn else [half.split("_")[1].removesuffix(".json")]
        structures = [module._atoms(entry, *group, i) for i, entry in enumerate(entries)]
        path = tmp_path / "all.xyz"
        ase.io.write(path, structures)
        read = read_structures(path)
        assert len(read.structures) == len(entries) and read.said == () and not read.converted


@pytest.mark.parametrize("kind", ["energy", "forces", "stress"])
def test_frames_of_a_training_lack_them_too(kind):
    arch.initialize_nequip()  # float64 positions
    to_types = ChemicalSpeciesToAtomTypeMapper(["Ge"])
    frames = [to_types(from_ase(atoms)) for atoms in zeroed(kind, [0, 4])]
    cleaned, (said,) = frames_without_placeholders(frames)
    assert said.startswith(f"2 of {N} structures of the training set (no. 0, no. 4)")
    before, after = (labels_of(each).of(kind) for each in (frames, cleaned))
    changed = np.isnan(after) & ~np.isnan(before)
    assert changed.sum() == 2 * before.size / N and not before[changed].any()
    assert frames_without_placeholders(cleaned)[1] == ()
