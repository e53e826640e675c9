import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from nequip_elemtransfer import fit
from nequip_elemtransfer.labels import LABEL_KINDS, Labels

FREE = np.array([False, False])
ONE = dict.fromkeys(LABEL_KINDS, 1.0)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def fit_forces(forces, parts, fixed):
    """α from forces alone."""
    terms = {"forces": fit.Term(forces, parts, float(np.sum(forces**2)) or 1.0)}
    return fit.fit_energy_scales(terms, ONE, fixed)


# ---- α


@pytest.mark.parametrize("alpha", [0.75, 1.0, 13.0])
def test_energy_scale_of_one_type(random, alpha):
    parts = random.normal(size=(1, 60))
    found = fit_forces(alpha * parts[0], parts, FREE[:1])
    assert_allclose(found.scales, [alpha], rtol=1e-14)


def test_energy_scale_of_one_type_is_the_projection(random):
    """α = F·F_1 / F_1·F_1 where the forces are not a multiple of the model's."""
    parts, noise = random.normal(size=(2, 1, 60))
    forces = 0.8 * parts[0] + noise[0]
    found = fit_forces(forces, parts, FREE[:1])
    assert_allclose(found.scales, [forces @ parts[0] / (parts[0] @ parts[0])], rtol=1e-14)


def test_energy_scales_of_two_types(random):
    parts = random.normal(size=(2, 60))
    found = fit_forces(0.7 * parts[0] + 1.4 * parts[1], parts, FREE)
    assert_allclose(found.scales, [0.7, 1.4], rtol=1e-13)
    assert found.common == ()


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_collinear_parts_share_one_scale(random, ratio):
    """Only the sum over types is determined."""
    part = random.normal(size=60)
    parts = np.stack([part, ratio * part])
    found = fit_forces(0.7 * parts.sum(axis=0), parts, FREE)
    assert_allclose(found.scales, [0.7, 0.7], rtol=1e-14)
    assert found.common == (0, 1)


def test_a_type_the_frames_do_not_hold_shares_the_scale_of_the_others(random):
    parts = np.stack([random.normal(size=60), np.zeros(60)])
    found = fit_forces(0.7 * parts[0], parts, FREE)
    assert_allclose(found.scales, [0.7, 0.7], rtol=1e-14)
    assert found.common == (0, 1)


def test_scales_noisier_than_a_tenth_are_made_one(random):
    """Nearly collinear parts and noise: each α alone has a large standard error, their common one a small one."""
    part, difference, noise = random.normal(size=(3, 600))
    parts = np.stack([part, part + 0.01 * difference])
    forces = 0.7 * parts.sum(axis=0) + 0.1 * noise
    separate = np.linalg.lstsq(parts.T, forces, rcond=None)[0]
    assert np.abs(separate - 0.7).max() > 0.1
    found = fit_forces(forces, parts, FREE)
    assert found.common == (0, 1)
    assert_allclose(found.scales, 0.7, rtol=0.01)


def test_fixed_types_keep_a_scale_of_one(random):
    parts = random.normal(size=(3, 60))
    forces = 0.7 * parts[0] + parts[1] + 1.4 * parts[2]
    found = fit_forces(forces, parts, np.array([False, True, False]))
    assert_allclose(found.scales, [0.7, 1.0, 1.4], rtol=1e-13)
    assert found.scales[1] == 1.0


def test_common_scale_is_of_the_free_types_only(random):
    part, other = random.normal(size=(2, 60))
    parts = np.stack([part, other, part])
    found = fit_forces(1.2 * part + other, parts, np.array([False, True, False]))
    assert_allclose(found.scales, [0.6, 1.0, 0.6], rtol=1e-13)
    assert found.common == (0, 2)


def test_nothing_to_fit(random):
    found = fit_forces(random.normal(size=6), random.normal(size=(2, 6)), ~FREE)
    assert_array_equal(found.scales, [1.0, 1.0])
    assert found.common == ()


@pytest.mark.parametrize(("alpha", "shown"), [(-0.5, "α = -0.5:"), (0.0, "α = 0:")])
@pytest.mark.parametrize("n_types", [1, 2])
def test_scale_that_is_not_positive(random, alpha, shown, n_types):
    parts = random.normal(size=(n_types, 60))
    with pytest.raises(ValueError) as error:
        fit_forces(alpha * parts.sum(axis=0), parts, FREE[:n_types])
    message = str(error.value)
    assert message == (
        f"`energy_scale: fit` found {shown} the source's forces do not resemble those of the training structures at "
        "all, so this start is worth nothing. Choose another source type or length scale, or set `energy_scale: none` "
        "to go on regardless."
    )


def test_refusal_names_the_kinds_of_label(random):
    part = random.normal(size=(1, 60))
    term = fit.Term(-part[0], part, float(part[0] @ part[0]))
    with pytest.raises(fit.NoResemblance, match="the source's energy and forces do not resemble"):
        fit.fit_energy_scales({"energy": term, "forces": term}, ONE, FREE[:1])


@pytest.mark.parametrize("n", [3, 60])
def test_standard_errors_of_one_kind_are_those_of_least_squares(random, n):
    """Variance RSS / (n − 2) times the inverse of the normal matrix, whatever the kind weighs."""
    parts, rest = random.normal(size=(2, n)), random.normal(size=n)
    alpha, errors = fit._reweighted_least_squares([(3.0, fit.Term(rest, parts, float(rest @ rest)))])
    best, rss, *_ = np.linalg.lstsq(parts.T, rest, rcond=None)
    assert_allclose(alpha, best, rtol=1e-10)
    assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(parts @ parts.T)) * rss[0] / (n - 2)), rtol=1e-8)


def test_one_negative_scale_among_several_is_not_used(random):
    """The common one is positive, so it stands in for both."""
    parts = random.normal(size=(2, 600))
    found = fit_forces(2.0 * parts[0] - 0.1 * parts[1], parts, FREE)
    assert found.common == (0, 1)
    total = parts.sum(axis=0)
    assert_allclose(found.scales, (2.0 * parts[0] - 0.1 * parts[1]) @ total / (total @ total), rtol=1e-13)


@pytest.mark.parametrize("n_types", [1, 2])
def test_energy_scales_minimise_the_objective(random, n_types):
    """Against a general minimiser, with kinds of label that ask for different scales and weights of their own."""
    weights, terms = {"energy": 2.0, "forces": 1.0, "stress": 0.5}, {}
    for i, (kind, n) in enumerate({"energy": 30, "forces": 300, "stress": 90}.items()):
        parts = random.normal(size=(n_types, n))
        rest = (0.7 + 0.1 * i) * parts.sum(axis=0) + 0.2 * (i + 1) * random.normal(size=n)
        terms[kind] = fit.Term(rest, parts, float(rest @ rest))
    found = fit.fit_energy_scales(terms, weights, FREE[:n_types])
    assert found.common == (() if n_types == 2 else (0,))
    best = minimize(lambda alpha: fit.objective(terms, weights, alpha), np.ones(n_types), tol=1e-12)
    assert_allclose(found.scales, best.x, rtol=1e-5)
    slopes = [
        weights[kind] * t.parts @ (t.rest - found.scales @ t.parts) / t.total / (t.unexplained(found.scales) + 0.2)
        for kind, t in terms.items()
    ]
    assert_allclose(np.sum(slopes, axis=0), 0.0, atol=1e-10)


def test_objective_by_hand():
    terms = {
        "energy": fit.Term(np.array([1.0, -1.0]), np.array([[0.5, 0.5]]), 2.0),  # α = 1: 0.25 + 2.25 of 2
        "forces": fit.Term(np.array([2.0, 0.0]), np.array([[2.0, 0.0]]), 4.0),  # explained
    }
    found = fit.objective(terms, {"energy": 3.0, "forces": 1.0}, np.ones(1))
    assert found == pytest.approx((3 * np.log(1.25 + 0.2) + np.log(0.2)) / 4, rel=1e-14)
    assert fit.objective(terms, ONE, np.zeros(1)) == pytest.approx(np.log(1.2), rel=1e-14)


def test_a_kind_that_cannot_be_explained_hardly_moves_the_scale(random):
    """Stresses a hundred times what the model can say: least squares would give α near zero."""
    part = random.normal(size=(1, 300))
    offset = fit.Term(np.ones(90), 30 * random.normal(size=(1, 90)) + 50, 90.0)
    terms = {"forces": fit.Term(0.8 * part[0], part, float(np.sum((0.8 * part) ** 2))), "stress": offset}
    plain = np.linalg.lstsq(
        np.concatenate([t.parts[0] / np.sqrt(t.total) for t in terms.values()])[:, None],
        np.concatenate([t.rest / np.sqrt(t.total) for t in terms.values()]),
        rcond=None,
    )[0]
    assert plain < 0.1
    assert fit.fit_energy_scales(terms, ONE | {"stress": 0.01}, FREE[:1]).scales[0] == pytest.approx(0.8, rel=0.02)


# ---- what is to be explained


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
        "energy": 5 - 1 - 2,  # less one that is missing and two directions of composition
        "forces": labels.forces.size - 31 - 1,
        "stress": 4 * 9,
    }
    assert_allclose(fit.fit_energy_scales(terms, ONE, FREE).scales, [0.7, 1.4], rtol=1e-10)


def test_shifts_do_not_enter_what_energies_say(random):
    labels, fixed, parts = synthetic(random, np.array([0.7, 1.4]), np.zeros(2))
    shifted = Labels(labels.energies + COUNTS @ [30.0, -10.0], labels.forces, labels.stresses)
    one, other = (fit.make_terms(found, fixed, parts, COUNTS)["energy"] for found in (labels, shifted))
    assert_allclose(other.rest, one.rest, atol=1e-12)
    assert other.total == pytest.approx(one.total, rel=1e-10)
    assert one.total == pytest.approx(np.sum(fit.composition_residual(labels.energies, COUNTS) ** 2), rel=1e-12)


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
    assert "energy" in fit.make_terms(Labels(energies, labels.forces, labels.stresses), fixed, parts, large)


def test_energies_of_one_type_beyond_their_mean(random):
    """Five structures of one type: four directions are left, whose squares are those about the mean."""
    counts = COUNTS.sum(axis=1, keepdims=True)
    labels, fixed, parts = synthetic(random, np.ones(1), np.zeros(1), counts)
    found, per_atom = fit.make_terms(labels, fixed, parts, counts)["energy"], labels.energies / counts[:, 0]
    assert len(found.rest) == 4
    assert found.total == pytest.approx(np.sum((per_atom - per_atom.mean()) ** 2), rel=1e-10)


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


# ---- μ

COUNTS = np.array([[8, 0], [4, 4], [2, 6], [1, 3], [7, 9]])


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
