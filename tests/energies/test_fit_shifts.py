"""The energy shifts μ of a fit."""

import numpy as np
import pytest
from fit_inputs import COUNTS, FREE
from numpy.testing import assert_allclose, assert_array_equal

from nequip_elemtransfer.energies import fit


def test_energy_shifts_of_two_types():
    shifts = np.array([-3.9, -5.2])
    found = fit.fit_energy_shifts(COUNTS @ shifts, COUNTS, np.zeros(2), FREE)
    assert_allclose(found.shifts, shifts, rtol=1e-13)
    assert (found.rank, found.fitted, found.undetermined) == (2, (0, 1), ())


def test_energy_shift_of_one_type_is_the_mean_per_atom(random):
    """Per-atom energies weigh all structures alike, whatever their size."""
    n_atoms, per_atom = np.array([[2], [64], [8]]), np.array([-4.0, -4.3, -4.9])
    found = fit.fit_energy_shifts(per_atom * n_atoms[:, 0], n_atoms, np.array([7.0]), FREE[:1])
    assert_allclose(found.shifts, [per_atom.mean()], rtol=1e-14)


def test_one_composition_changes_the_shifts_as_little_as_possible():
    """x·Δμ = r has the minimum-norm solution Δμ = r x / |x|²."""
    counts, start = np.array([[2, 6], [1, 3]]), np.array([-4.0, -5.0])
    fractions, missing = np.array([0.25, 0.75]), 0.3
    energies = counts.sum(axis=1) * (fractions @ start + missing)
    found = fit.fit_energy_shifts(energies, counts, start, FREE)
    assert_allclose(found.shifts, start + missing * fractions / (fractions @ fractions), rtol=1e-13)
    assert (found.rank, found.fitted, found.undetermined) == (1, (0, 1), (0, 1))


def test_fewer_structures_than_types_leave_all_of_theirs_undetermined():
    """One structure fixes the sum of its two shifts, changed by equal parts."""
    found = fit.fit_energy_shifts(
        np.array([-36.0]), np.array([[4, 4, 0]]), np.array([-4.0, -4.5, -5.0]), np.zeros(3, bool)
    )
    assert_allclose(found.shifts, [-4.25, -4.75, -5.0], rtol=1e-13)
    assert (found.rank, found.undetermined) == (1, (0, 1, 2))


def test_only_types_the_compositions_do_not_tell_apart_are_undetermined():
    """The first type occurs alone, the other two always one to one."""
    counts = np.array([[4, 0, 0], [2, 3, 3], [1, 2, 2], [6, 1, 1]])
    shifts, start = np.array([-3.0, -4.0, -5.0]), np.array([-1.0, -2.0, -3.5])
    found = fit.fit_energy_shifts(counts @ shifts, counts, start, np.zeros(3, dtype=bool))
    assert found.shifts[0] == pytest.approx(-3.0, rel=1e-13)
    # -4 - 5 as a sum, changed by equal parts
    assert_allclose(found.shifts[1:], start[1:] + (-9.0 + 5.5) / 2, rtol=1e-13)
    assert (found.rank, found.fitted, found.undetermined) == (2, (0, 1, 2), (1, 2))


def test_a_type_the_frames_do_not_hold_keeps_its_shift():
    counts = np.array([[8, 0], [4, 0]])
    found = fit.fit_energy_shifts(counts @ [-3.9, 0.0], counts, np.array([-4.0, -5.0]), FREE)
    assert_allclose(found.shifts, [-3.9, -5.0], rtol=1e-13)
    assert found.shifts[1] == -5.0
    assert (found.rank, found.fitted, found.undetermined) == (1, (0, 1), (1,))


def test_fixed_types_keep_their_shift():
    shifts, start = np.array([-3.9, -5.2]), np.array([-3.9, 100.0])
    found = fit.fit_energy_shifts(COUNTS @ shifts, COUNTS, start, np.array([True, False]))
    assert_allclose(found.shifts, shifts, rtol=1e-13)
    assert found.shifts[0] == -3.9
    assert (found.rank, found.fitted, found.undetermined) == (1, (1,), ())
    assert start.tolist() == [-3.9, 100.0]


def test_structures_of_fixed_types_alone_leave_the_others():
    start = np.array([-4.0, -5.0])
    found = fit.fit_energy_shifts(np.array([-32.5, -8.2]), np.array([[8, 0], [2, 0]]), start, np.array([True, False]))
    assert found.shifts.tolist() == start.tolist() and found.errors.tolist() == [0.0, 0.0]
    assert (found.rank, found.fitted, found.undetermined) == (0, (1,), (1,))


def test_undetermined_types_are_counted_among_all():
    counts = np.array([[4, 0, 0], [2, 3, 3], [1, 2, 2]])
    found = fit.fit_energy_shifts(counts @ [1.0, 2.0, 3.0], counts, np.ones(3), np.array([True, False, False]))
    assert (found.rank, found.fitted, found.undetermined) == (1, (1, 2), (1, 2))


def test_no_shift_to_fit():
    found = fit.fit_energy_shifts(COUNTS @ [1.0, 2.0], COUNTS, np.array([-4.0, -5.0]), ~FREE)
    assert found.shifts.tolist() == [-4.0, -5.0]
    assert (found.rank, found.fitted, found.undetermined) == (0, (), ())
    assert found.errors.tolist() == [0.0, 0.0]


def test_error_of_one_shift_is_that_of_a_mean(random):
    """Of 100 structures with errors of 0.2 eV per atom: 0.2 / √100, and 10 meV more in one structure's place."""
    n_atoms, per_atom = np.full((100, 1), 8), random.normal(-4.0, 0.2, 100)
    found = fit.fit_energy_shifts(per_atom * 8, n_atoms, np.zeros(1), FREE[:1])
    variance = (np.sum((per_atom - per_atom.mean()) ** 2) + 0.01**2) / 100
    assert_allclose(found.errors, np.sqrt(variance / 100), rtol=1e-12)


def test_errors_of_several_shifts_are_those_of_least_squares(random):
    """Of per-atom energies on composition, with 10 meV more in one structure's place."""
    per_atom, fractions = random.normal(-4.0, 0.02, len(COUNTS)), COUNTS / COUNTS.sum(axis=1, keepdims=True)
    found = fit.fit_energy_shifts(per_atom * COUNTS.sum(axis=1), COUNTS, np.zeros(2), FREE)
    rss = np.linalg.lstsq(fractions, per_atom, rcond=None)[1][0]
    variance = (rss + 0.01**2) / (len(COUNTS) - 2 + 1)
    assert_allclose(found.errors, np.sqrt(np.diag(np.linalg.inv(fractions.T @ fractions)) * variance), rtol=1e-10)


def test_compositions_that_are_nearly_alike_do_not_move_a_shift():
    """Atom counts that differ by one in 64: least squares turns errors of 20 meV per atom into shifts of 0.6 eV."""
    counts = np.array([[32, 32], [33, 31], [32, 32], [31, 33], [32, 32], [32, 32]])
    start = np.array([-4.0, -5.0])
    energies = counts @ start + 64 * np.array([0.29, 0.32, 0.31, 0.28, 0.30, 0.30])
    wild = np.linalg.lstsq(counts / 64, energies / 64, rcond=None)[0] - start
    assert_allclose(wild, [0.3 + 0.64, 0.3 - 0.64], rtol=1e-12)
    found = fit.fit_energy_shifts(energies, counts, start, FREE)
    assert_allclose(found.shifts - start, [0.3, 0.3], atol=2e-3)
    assert (found.rank, found.undetermined) == (1, (0, 1))


def test_missing_energies_do_not_count():
    shifts = np.array([-3.9, -5.2])
    energies = COUNTS @ shifts
    energies[2] = np.nan
    found = fit.fit_energy_shifts(energies, COUNTS, np.zeros(2), FREE)
    assert_allclose(found.shifts, shifts, rtol=1e-13)
    nothing = fit.fit_energy_shifts(np.full(5, np.nan), COUNTS, shifts, FREE)
    assert nothing.shifts.tolist() == shifts.tolist() and nothing.undetermined == (0, 1)


def test_composition_residual_is_what_shifts_cannot_explain(random):
    explained = COUNTS @ [-3.9, -5.2]
    assert_allclose(fit.composition_residual(explained, COUNTS), 0.0, atol=1e-13)
    per_atom = random.normal(size=5)
    residual = fit.composition_residual(explained + per_atom * COUNTS.sum(axis=1), COUNTS)
    fractions = COUNTS / COUNTS.sum(axis=1, keepdims=True)
    assert_allclose(residual, per_atom - fractions @ np.linalg.lstsq(fractions, per_atom, rcond=None)[0], atol=1e-13)
    assert_allclose(fractions.T @ residual, 0.0, atol=1e-13)


def test_composition_residual_leaves_missing_energies_missing(random):
    energies = random.normal(size=5)
    some = np.where(np.arange(5) == 3, np.nan, energies)
    found, there = fit.composition_residual(some, COUNTS), np.arange(5) != 3
    assert np.isnan(found[3])
    assert_array_equal(found[there], fit.composition_residual(energies[there], COUNTS[there]))
