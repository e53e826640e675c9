import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import VirialToStressTransform
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer.structures.labels import labels_of, missing_labels

STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])  # eV/Å³, Voigt xx yy zz yz xz xy
FULL = np.array([[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]])


def frame(pbc=True, **results):
    atoms = bulk("Si", "diamond", a=5.43)
    atoms.pbc = pbc
    atoms.calc = SinglePointCalculator(atoms, **results)
    return from_ase(atoms)


def test_labels_of_frames_that_have_them_in_part():
    forces = np.arange(6.0).reshape(2, 3)
    found = labels_of([frame(energy=-8.0, forces=forces, stress=STRESS), frame(energy=-9.0), frame()])
    assert_array_equal(found.energies, [-8.0, -9.0, np.nan])
    assert_array_equal(found.forces, [*forces, *np.full((4, 3), np.nan)])
    assert_allclose(found.stresses[0], FULL, rtol=1e-6)
    assert np.isnan(found.stresses[1:]).all()
    assert found.kinds == ("energy", "forces", "stress")
    assert missing_labels(found, np.full((3, 1), 2)) == {"energy": 1, "forces": 2, "stress": 2}


def test_a_virial_stands_for_a_stress_as_nequips_own_transform_has_it():
    data, virial = frame(energy=-8.0), torch.as_tensor(FULL[None] * 7.0)
    data[AtomicDataDict.VIRIAL_KEY] = virial
    expected = VirialToStressTransform()(dict(data))[AtomicDataDict.STRESS_KEY]
    assert_allclose(labels_of([data]).stresses[0], expected[0], rtol=1e-6)
    assert_allclose(labels_of([data]).stresses[0], -7.0 * FULL / (5.43**3 / 4), rtol=1e-6)


@pytest.mark.parametrize("pbc", [False, [True, True, False]])
def test_no_stress_without_a_volume(pbc):
    found = labels_of([frame(pbc, energy=-8.0, stress=STRESS)])
    assert found.kinds == ("energy",)


def test_missing_labels_of_a_kind_or_of_frames():
    counts = np.full((3, 1), 2)
    found = labels_of([frame(energy=-8.0, forces=np.ones((2, 3)), stress=STRESS)] * 3)
    assert found.without_kinds("forces").kinds == ("energy", "stress")
    some = found.without([1], counts)
    assert missing_labels(some, counts) == {"energy": 1, "forces": 1, "stress": 1}
    assert found.kinds == ("energy", "forces", "stress")  # the original is as it was
    kept = some.of_frames(np.array([2, 1]), counts)
    assert_array_equal(np.isfinite(kept.energies), [True, False])
    assert_array_equal(np.isfinite(kept.forces).all(axis=1), [True, True, False, False])
