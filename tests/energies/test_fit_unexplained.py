"""What a fit has to explain: labels of each kind, with some or all of them missing."""

import numpy as np
import pytest
from fit_inputs import COUNTS, FREE, ONE
from numpy.testing import assert_allclose

from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.structures.labels import LABEL_KINDS, Labels


def synthetic(random, alpha, shifts, counts=None):
    """Labels that a network with known parts makes at scales α and shifts μ, and those parts."""
    counts = COUNTS if counts is None else counts
    n_types, n_frames, n_atoms = counts.shape[1], len(counts), counts.sum()
    parts = {
        "energy": random.normal(size=(n_types, n_frames)) * counts.sum(axis=1),
        "forces": random.normal(size=(n_types, n_atoms, 3)),
        "stress": random.normal(size=(n_types, n_frames, 3, 3)),
    }
    fixed = Labels(*(random.normal(size=parts[kind].shape[1:]) for kind in LABEL_KINDS))
    made = {kind: np.tensordot(alpha, parts[kind], axes=1) + fixed.of(kind) for kind in LABEL_KINDS}
    return Labels(made["energy"] + counts @ shifts, made["forces"], made["stress"]), fixed, parts


@pytest.mark.parametrize(
    "gone", [(), ("energy",), ("forces",), ("stress",), ("energy", "stress"), ("forces", "stress")]
)
def test_scales_are_recovered_exactly_whatever_label_is_missing(random, gone):
    """Energies alone need more structures than types and scales."""
    counts = random.integers(1, 9, size=(12, 2))
    labels, fixed, parts = synthetic(random, np.array([0.7, 1.4]), np.array([-3.9, -5.2]), counts)
    terms = fit.make_terms(labels.without_kinds(*gone), fixed, parts, counts)
    assert set(terms) == set(LABEL_KINDS) - set(gone)
    assert_allclose(fit.fit_energy_scales(terms, ONE, FREE).scales, [0.7, 1.4], rtol=1e-10)


def test_single_labels_may_be_missing(random):
    labels, fixed, parts = synthetic(random, np.array([0.7, 1.4]), np.array([-3.9, -5.2]))
    labels.energies[1], labels.forces[5, 2], labels.forces[20:30], labels.stresses[3] = (np.nan,) * 4
    parts["forces"][1, 40, 0] = np.nan  # nor need the model have all of them
    terms = fit.make_terms(labels, fixed, parts, COUNTS)
    assert {kind: len(term.rest) for kind, term in terms.items()} == {
        "energy": 5 - 1,
        "forces": labels.forces.size - 31 - 1,
        "stress": 4 * 9,
    }
    structures = np.repeat(np.arange(5), 3 * COUNTS.sum(axis=1)).reshape(-1, 3)
    structures[5, 2], structures[20:30], structures[40, 0] = -1, -1, -1
    assert terms["energy"].structures.tolist() == [0, 2, 3, 4]
    assert terms["forces"].structures.tolist() == [s for s in structures.reshape(-1) if s >= 0]
    assert terms["stress"].structures.tolist() == np.repeat([0, 1, 2, 4], 9).tolist()
    assert_allclose(fit.fit_energy_scales(terms, ONE, FREE).scales, [0.7, 1.4], rtol=1e-10)


def test_shifts_do_not_enter_what_energies_say(random):
    labels, fixed, parts = synthetic(random, np.array([0.7, 1.4]), np.zeros(2))
    shifted = Labels(labels.energies + COUNTS @ [30.0, -10.0], labels.forces, labels.stresses)
    one, other = (fit.make_terms(found, fixed, parts, COUNTS)["energy"] for found in (labels, shifted))
    assert_allclose(other.rest, one.rest, atol=1e-12)
    assert_allclose(other.reference, one.reference, atol=1e-12)
    assert_allclose(one.reference, fit.composition_residual(labels.energies, COUNTS), rtol=1e-12)
    assert_allclose(one.rest, fit.composition_residual(labels.energies - fixed.energies, COUNTS), rtol=1e-12)


def test_energies_that_composition_explains_say_nothing(random):
    """What remains of them is rounding, and nothing may be measured against that."""
    labels, fixed, parts = synthetic(random, np.ones(2), np.zeros(2))
    explained = Labels(COUNTS @ [-3.9, -5.2], labels.forces, labels.stresses)
    assert 0 < np.abs(fit.composition_residual(explained.energies, COUNTS)).max() < 1e-13
    assert set(fit.make_terms(explained, fixed, parts, COUNTS)) == {"forces", "stress"}


def test_rounding_is_measured_against_the_energies_of_atoms(random):
    """All-electron energies of germanium, −57 keV per atom, round off 10 peV; a large cell may tell 3 neV apart."""
    labels, fixed, parts = synthetic(random, np.ones(2), np.zeros(2))
    huge = Labels(COUNTS @ [-57e3, -8e3], labels.forces, labels.stresses)
    assert np.sum(fit.composition_residual(huge.energies, COUNTS) ** 2) > 1e-24
    assert set(fit.make_terms(huge, fixed, parts, COUNTS)) == {"forces", "stress"}
    large = 1000 * COUNTS
    energies = large @ [-4.0, -5.0] + large.sum(axis=1) * 3e-9 * np.array([1, -1, 0, 1, -1])
    found = Labels(energies, np.full((large.sum(), 3), np.nan), labels.stresses)
    nothing = Labels(*(np.zeros_like(found.of(kind)) for kind in LABEL_KINDS))
    assert set(fit.make_terms(found, nothing, parts, large)) == {"energy", "stress"}


def test_energies_of_one_type_beyond_their_mean(random):
    """Five structures of one type: four directions are left, whose squares are those about the mean."""
    counts = COUNTS.sum(axis=1, keepdims=True)
    labels, fixed, parts = synthetic(random, np.ones(1), np.zeros(1), counts)
    found = fit.make_terms(labels, fixed, parts, counts)["energy"]
    per_atom = labels.energies / counts[:, 0]
    assert_allclose(found.reference, per_atom - per_atom.mean(), atol=1e-12)


def test_two_structures_of_one_mixture_differ_in_one_number(random):
    """Of three types in equal parts; one number says nothing of a scale."""
    counts = np.array([[2, 2, 2], [3, 3, 3]])
    labels, fixed, parts = synthetic(random, np.ones(3), np.zeros(3), counts)
    assert set(fit.make_terms(labels, fixed, parts, counts)) == {"forces", "stress"}


def test_model_without_energies_is_judged_by_forces(random):
    labels, fixed, parts = synthetic(random, np.ones(2), np.zeros(2))
    parts["energy"] = np.full_like(parts["energy"], np.nan)
    assert set(fit.make_terms(labels, fixed, parts, COUNTS)) == {"forces", "stress"}


def test_as_many_structures_as_types_say_nothing_by_their_energies(random):
    counts = np.array([[7, 1, 3], [2, 5, 11], [13, 4, 6]])
    labels, fixed, parts = synthetic(random, np.ones(3), np.zeros(3), counts)
    assert set(fit.make_terms(labels, fixed, parts, counts)) == {"forces", "stress"}


def test_forces_that_are_all_zero_say_nothing(random):
    labels, fixed, parts = synthetic(random, np.ones(2), np.zeros(2))
    at_rest = Labels(labels.energies, np.zeros_like(labels.forces), labels.stresses)
    assert set(fit.make_terms(at_rest, fixed, parts, COUNTS)) == {"energy", "stress"}


def test_model_without_forces_is_judged_by_energies(random):
    labels, fixed, parts = synthetic(random, np.ones(2), np.zeros(2))
    parts["forces"], parts["stress"] = np.full_like(parts["forces"], np.nan), np.full_like(parts["stress"], np.nan)
    assert set(fit.make_terms(labels, fixed, parts, COUNTS)) == {"energy"}
