"""The search on a model whose predictions at each λ are known in closed form."""

import numpy as np
import pytest

from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.lengths.search import COARSE_FACTORS, LengthSearch
from nequip_elemtransfer.structures.labels import LABEL_KINDS, Labels

N_FRAMES, N_ATOMS = 6, 4
COUNTS = np.full((N_FRAMES, 1), N_ATOMS)
ONE = dict.fromkeys(LABEL_KINDS, 1.0)
RANDOM = np.random.default_rng(0)
# what the source says at λ = 1, and how that turns as lengths change
SHAPES = (N_FRAMES,), (N_FRAMES * N_ATOMS, 3), (N_FRAMES, 3, 3)
AT_ONE, SLOPE = ([RANDOM.normal(size=shape) for shape in SHAPES] for _ in "ab")


def parts_at(scales):
    """Predictions x + (λ − 1) y of one type: energies per atom, forces, stresses."""
    e, f, s = (x + 10 * (scales[0] - 1) * y for x, y in zip(AT_ONE, SLOPE))
    fixed = Labels(np.zeros(N_FRAMES), np.zeros((N_FRAMES * N_ATOMS, 3)), np.zeros((N_FRAMES, 3, 3)))
    return NetworkParts(N_ATOMS * e[None], f[None], s[None], fixed, COUNTS)


def labels_at(scale, alpha=0.8, shift=-4.0):
    return parts_at(np.array([scale])).predicted(np.array([alpha]), np.array([shift]))


def search(labels, guess=1.0, weights=ONE, frozen=False):
    found = LengthSearch(parts_at, labels, np.array([guess]), np.array([frozen]), weights)
    found.scan()
    return found


@pytest.mark.parametrize(
    "gone", [(), ("energy",), ("forces",), ("stress",), ("energy", "stress"), ("energy", "forces")]
)
@pytest.mark.parametrize("scale", [0.93, 1.041, 1.08])
def test_length_is_recovered_whatever_label_is_missing(scale, gone):
    best = search(labels_at(scale).without_kinds(*gone), guess=1.02).best()
    assert best.decided and not best.at_edge
    assert best.factor * 1.02 == pytest.approx(scale, abs=2e-3)
    assert set(best.factors_by_kind) == set(LABEL_KINDS) - set(gone)
    for factor in best.factors_by_kind.values():
        assert factor * 1.02 == pytest.approx(scale, abs=0.01)


def test_a_kind_without_weight_has_no_say():
    """Forces at one λ, energies and stresses at another."""
    one, other = labels_at(1.0), labels_at(1.08)
    mixed = Labels(other.energies, one.forces, other.stresses)
    assert search(mixed, weights={"energy": 0, "forces": 1, "stress": 0}).best().factor == pytest.approx(1, abs=1e-3)
    assert search(mixed, weights={"energy": 1, "forces": 0, "stress": 1}).best().factor == pytest.approx(1.08, abs=1e-3)


def test_kinds_that_disagree_are_seen():
    one, other = labels_at(1.0), labels_at(1.08)
    asked = search(Labels(one.energies, one.forces, other.stresses)).best().factors_by_kind
    assert asked["forces"] == pytest.approx(1.0, abs=5e-3)
    assert asked["stress"] > asked["forces"] + 0.03


@pytest.mark.parametrize(("scale", "edge"), [(0.6, COARSE_FACTORS[0]), (1.6, COARSE_FACTORS[-1])])
def test_a_length_beyond_the_range_is_not_followed(scale, edge):
    best = search(labels_at(scale)).best()
    assert best.at_edge and not best.decided
    assert best.factor == 1.0
    assert abs(search(labels_at(scale)).best_factor() - edge) <= 0.031


def steep(scales):
    """As :func:`parts_at`, with stresses that leave the labels 200 times as fast, as those near equilibrium do."""
    parts = parts_at(scales)
    stresses = AT_ONE[2] + 2000 * (scales[0] - 1) * SLOPE[2]
    return NetworkParts(parts.energies, parts.forces, stresses[None], parts.fixed, COUNTS)


@pytest.mark.parametrize("scale", [1.0033, 0.9861])
def test_a_minimum_narrower_than_a_step_is_found(scale):
    """Beside it the start explains less than none at all, so that the first guess would stay."""
    labels = steep(np.array([scale])).predicted(np.array([0.8]), np.array([-4.0]))
    noisy = Labels(labels.energies, labels.forces + 0.7 * RANDOM.normal(size=SHAPES[1]), labels.stresses)
    found = LengthSearch(steep, noisy, np.array([1.0366]), np.array([False]), ONE)
    found.scan()
    best = found.best()
    assert best.decided
    assert best.factor * 1.0366 == pytest.approx(scale, abs=1e-3)


def turning(scales, end):
    """Forces that turn away from the labels as λ leaves 1.06, and are at an angle to them again at the longest λ."""
    angle = np.interp(scales[0], [0.8, 1.0, 1.04, 1.06, 1.08, 1.12, 1.24], np.radians([80, 75, 55, 40, 56, 75, end]))
    aside = SLOPE[1] - AT_ONE[1] * np.sum(SLOPE[1] * AT_ONE[1]) / np.sum(AT_ONE[1] ** 2)
    forces = np.cos(angle) * AT_ONE[1] + np.sin(angle) * aside * np.linalg.norm(AT_ONE[1]) / np.linalg.norm(aside)
    nothing = Labels(np.zeros(N_FRAMES), np.zeros_like(forces), np.zeros((N_FRAMES, 3, 3)))
    return NetworkParts(np.zeros((1, N_FRAMES)), forces[None], np.zeros((1, N_FRAMES, 3, 3)), nothing, COUNTS)


@pytest.mark.parametrize(("end", "inside"), [(35, True), (5, False)])
def test_a_valley_is_preferred_to_an_edge_unless_that_explains_far_more(end, inside):
    """u is sin² of the angle: the valley between the coarse factors has J = −0.49, the edge −0.63 or −1.57."""
    labels = Labels(np.full(N_FRAMES, np.nan), AT_ONE[1], np.full((N_FRAMES, 3, 3), np.nan))
    found = LengthSearch(lambda scales: turning(scales, end), labels, np.array([1.0]), np.array([False]), ONE)
    found.scan()
    first = {factor: found.objective(factor) for factor in COARSE_FACTORS}
    assert min(first, key=first.get) == COARSE_FACTORS[-1]
    best = found.best()
    assert best.decided is inside and best.at_edge is not inside
    assert best.factor == pytest.approx(1.06 if inside else 1.0, abs=2e-3)


def test_the_first_guess_stays_where_labels_do_not_care():
    """Labels that no λ explains better: orthogonal to all that the model can say."""
    forces = RANDOM.normal(size=(N_FRAMES * N_ATOMS, 3)).reshape(-1)
    basis = np.linalg.qr(np.stack([AT_ONE[1].reshape(-1), SLOPE[1].reshape(-1)]).T)[0]
    forces = forces - basis @ (basis.T @ forces)
    nothing = Labels(np.full(N_FRAMES, np.nan), forces.reshape(-1, 3), np.full((N_FRAMES, 3, 3), np.nan))
    best = search(nothing).best()
    assert not best.decided and best.factor == 1.0


def test_frozen_types_stay_at_one():
    found = LengthSearch(parts_at, labels_at(1.0), np.array([1.0]), np.array([True]), ONE)
    assert found.scales(1.2).tolist() == [1.0]


def test_some_frames_may_decide_alone():
    """Two sets of structures made at different λ."""
    one, other = labels_at(1.0), labels_at(1.08)
    first = np.arange(3)
    mixed = Labels(
        np.concatenate([one.energies[:3], other.energies[3:]]),
        np.concatenate([one.forces[:12], other.forces[12:]]),
        np.concatenate([one.stresses[:3], other.stresses[3:]]),
    )
    found = search(mixed)
    assert found.best(first).factor == pytest.approx(1.0, abs=2e-3)
    assert found.best(first + 3).factor == pytest.approx(1.08, abs=2e-3)


def test_each_length_is_evaluated_once():
    seen = []

    def counted(scales):
        seen.append(float(scales[0]))
        return parts_at(scales)

    found = LengthSearch(counted, labels_at(1.04), np.array([1.0]), np.array([False]), ONE)
    found.scan()
    found.best()
    assert len(seen) == len(set(np.round(seen, 6)))


def lengths_of_their_own(random, spread, n_frames=10):
    """Forces of structures each of which was made at a λ of its own about 1.05, and the model's at any λ."""
    at_one, slope = random.normal(size=(2, n_frames, N_ATOMS, 3))
    counts = np.full((n_frames, 1), N_ATOMS)

    def forces_at(scales):
        return (at_one + 10 * (np.asarray(scales).reshape(-1, 1, 1) - 1) * slope).reshape(-1, 3)

    def parts_at(scales):
        nothing = Labels(np.zeros(n_frames), np.zeros((n_frames * N_ATOMS, 3)), np.zeros((n_frames, 3, 3)))
        return NetworkParts(np.zeros((1, n_frames)), forces_at(scales)[None], nothing.stresses[None], nothing, counts)

    own = 1.05 + spread * random.normal(size=n_frames)
    labels = Labels(np.full(n_frames, np.nan), 0.8 * forces_at(own), np.full((n_frames, 3, 3), np.nan))
    found = LengthSearch(parts_at, labels, np.array([1.0]), np.array([False]), ONE)
    found.scan()
    return found


def test_error_of_the_length_is_its_scatter():
    """Over 40 toys; the chance error of a spread over 40 is 11 %."""
    random = np.random.default_rng(0)
    found = [lengths_of_their_own(random, 0.02).best() for _ in range(40)]
    assert all(best.decided for best in found)
    scatter = np.std([best.factor for best in found])
    assert scatter > 0.004
    assert np.sqrt(np.mean([best.error**2 for best in found])) == pytest.approx(1.05 * scatter, rel=0.2)


def test_error_of_the_length_is_a_jackknife_over_searches():
    """Against searches without each structure, on the same factors."""
    found = lengths_of_their_own(np.random.default_rng(1), 0.02)
    left_out = [found.best_factor(np.delete(np.arange(10), g)) for g in range(10)]
    assert found.best().error == pytest.approx(3 * np.std(left_out), rel=1e-6)


def test_structures_that_some_lengths_say_nothing_of():
    """At λ below 0.9 the first structure has no neighbours, and no forces: it is none of those left out there."""
    whole = lengths_of_their_own(np.random.default_rng(1), 0.02)

    def fewer(scales):
        parts = whole.parts(scales)
        forces = parts.forces.copy()
        if scales[0] < 0.9:
            forces[:, :N_ATOMS] = np.nan
        return NetworkParts(parts.energies, forces, parts.stresses, parts.fixed, parts.counts)

    found = LengthSearch(fewer, whole.labels, np.array([1.0]), np.array([False]), ONE)
    found.scan()
    assert found.best().error == pytest.approx(whole.best().error, rel=1e-6)


def test_a_length_that_hangs_on_one_structure():
    """Two structures, of which one alone has labels where λ is long: what the other would ask for is not known."""
    whole = lengths_of_their_own(np.random.default_rng(1), 0.0, 2)

    def fewer(scales):
        parts = whole.parts(scales)
        forces = parts.forces.copy()
        if scales[0] > 1.15:
            forces[:, :N_ATOMS] = np.nan
        return NetworkParts(parts.energies, forces, parts.stresses, parts.fixed, parts.counts)

    found = LengthSearch(fewer, whole.labels, np.array([1.0]), np.array([False]), ONE)
    found.scan()
    assert found.best().decided and found.best().error == np.inf


def test_a_length_that_was_not_found_or_rests_on_one_structure():
    assert search(labels_at(1.6)).best().error == 0.0
    assert search(labels_at(1.04)).best().error == pytest.approx(0.0, abs=1e-4)
    assert lengths_of_their_own(np.random.default_rng(2), 0.0, 1).best().error == np.inf
