"""Folds of a race: copies and what carries one label are held out together, isolated atoms never."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.race.folds import groups_of, half_of, held_out
from nequip_elemtransfer.race.racing import _judge

REACH = 4.0


@pytest.fixture(scope="module")
def structures():
    """Four rattled cells, a rotated copy of the first, and two frames each of two trajectories."""
    frames = []
    for seed in range(4):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    copy = frames[0].copy()
    copy.rotate(90, "z", rotate_cell=True)
    frames.append(copy)
    for atoms, run in zip(frames, ("a", "a", "b", "b", "c")):
        atoms.info["run"] = run
    return frames


def test_copies_and_trajectories_stay_together(structures):
    groups = groups_of(structures, REACH)
    assert groups[0] == groups[4] and len(set(groups)) == 4
    # the copy of the first joins run c to run a
    of_runs = groups_of(structures, REACH, "run")
    assert len(set(of_runs[[0, 1, 4]])) == 1 and len(set(of_runs[[2, 3]])) == 1 and len(set(of_runs)) == 2


def test_a_label_that_is_not_there_is_refused(structures):
    with pytest.raises(ValueError, match=r"--group-by is 'trajectory', which structure 0 does not have: .* run\."):
        groups_of(structures, REACH, "trajectory")


def test_every_structure_is_held_out_once_with_its_group():
    groups = np.array([0, 0, 1, 2, 2, 3, 4, 5])
    folds = held_out(groups, [7], 3, seed=1)
    assert sorted(np.concatenate(folds)) == list(range(7))  # the isolated atom is always trained on
    for fold in folds:
        outside = np.setdiff1d(np.arange(len(groups)), fold)
        assert not set(groups[fold]) & set(groups[outside])


def test_fewer_groups_make_fewer_folds_and_two_are_refused():
    assert len(held_out(np.arange(4), [], 5, seed=0)) == 4
    with pytest.raises(ValueError, match="needs 3 groups .* found 2"):
        held_out(np.array([0, 0, 1, 1, 2]), [4], 5, seed=0)
    with pytest.raises(ValueError, match="--folds is 2"):
        held_out(np.arange(9), [], 2, seed=0)


def test_half_keeps_groups_together():
    groups, train = np.array([0, 0, 1, 1, 2, 2, 3, 3, 9]), np.arange(8)
    for seed in range(5):
        half = half_of(train, groups, seed)
        assert len(half) == 4 and all(np.isin(train[groups[train] == groups[i]], half).all() for i in half)
    assert half_of(np.array([3]), groups, 0).tolist() == [3]


def test_isolated_atoms_are_no_copies_of_each_other_by_chance():
    """Two atoms of different elements are two groups."""
    atoms = [Atoms(symbol, cell=[20] * 3, pbc=True) for symbol in ("Si", "Ge")]
    assert len(set(groups_of(atoms, REACH))) == 2


def test_starts_are_judged_by_labels_that_every_fold_has():
    def crystal(force):
        atoms = bulk("Ge")
        atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.full((2, 3), force))
        return atoms

    structures = [crystal(0.1), crystal(np.nan), crystal(1.0)]
    kinds, parts = ["energy", "forces"], [np.array([part]) for part in range(3)]
    assert _judge(kinds, structures, parts) == "energy"
    assert _judge(kinds, structures, [np.array([0, 1]), np.array([2])]) == "forces"
    with pytest.raises(ValueError, match="is in every fold"):
        _judge(["forces"], structures, parts)
