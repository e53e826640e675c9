"""What the classifier can tell apart, and what it cannot."""

import dataclasses
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from nequip_elemtransfer.plan.likeness.adversarial import adversarial_validation
from nequip_elemtransfer.structures.environments import Environments, descriptor_environments


def crystals(number, *, a=5.43, displacement=0.15, seed=0) -> list[Atoms]:
    """Diamond cells of 8 atoms, rattled, each with a strain of its own."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        atoms = bulk("Si", "diamond", a, cubic=True)
        atoms.set_cell(atoms.cell * (1 + rng.normal(0, 0.005)), scale_atoms=True)
        atoms.rattle(displacement * rng.uniform(0.5, 1.5), rng=rng)
        made.append(atoms)
    return made


def gaussian(n_structures, *, mean=0.0, spread=1.0, n_features=3, n_atoms=10, between=1.0, seed=0) -> Environments:
    """Features drawn from a normal distribution, with a part that the atoms of one structure share."""
    rng = np.random.default_rng(seed)
    shared = np.repeat(rng.normal(size=(n_structures, n_features)), n_atoms, axis=0)
    features = between * shared + rng.normal(size=(n_structures * n_atoms, n_features))
    return Environments(
        kind="ACSF",
        names=tuple(f"x{i}" for i in range(n_features)),
        features=mean + spread * features,
        structure=np.repeat(np.arange(n_structures), n_atoms),
        atom=np.tile(np.arange(n_atoms), n_structures),
        n_structures=n_structures,
    )


class TestTellsApart:
    def test_lattice_constants_until_they_are_scaled(self):
        source = descriptor_environments(crystals(25), 5.0)
        larger = crystals(25, a=1.06 * 5.43, displacement=1.06 * 0.15, seed=1)
        before = adversarial_validation(source, descriptor_environments(larger, 5.0))
        after = adversarial_validation(source, descriptor_environments(larger, 5.0, length_scale=1.06))
        assert before.auc > 0.99 and before.interval[0] > 0.95
        assert after.interval[0] <= 0.5 <= after.interval[1] and after.auc < 0.65

    def test_spread_alone(self):
        """Equal means: a classifier of the features without their squares would see nothing."""
        result = adversarial_validation(gaussian(40, between=0), gaussian(40, spread=2.0, between=0, seed=1))
        assert result.interval[0] > 0.7

    def test_agrees_with_the_exact_value(self):
        """Two normal distributions one apart in one feature: AUC = Φ(1/√2)."""
        source, target = (gaussian(100, n_features=1, between=0, mean=m, seed=int(m)) for m in (0.0, 1.0))
        result = adversarial_validation(source, target)
        assert result.auc == pytest.approx(0.7602, abs=0.02)
        assert result.interval[0] < 0.7602 < result.interval[1]
        (feature,) = result.features
        assert feature.auc_alone == pytest.approx(0.7602, abs=0.03)
        assert feature.shift == pytest.approx(1.0, abs=0.1)
        assert feature.importance == pytest.approx(result.auc - 0.5, abs=0.03)  # shuffled, nothing is left

    def test_names_what_gives_the_target_away(self):
        target = gaussian(40, seed=1)
        target.features[:, 1] -= 3.0
        result = adversarial_validation(gaussian(40), target)
        assert result.features[0].name == "x1" and result.features[0].shift < -1
        assert result.features[0].importance > 10 * max(abs(f.importance) for f in result.features[1:])

    def test_names_the_foreign_structures(self):
        target = gaussian(30, between=0, seed=1)
        for i in (4, 17):
            target.features[target.structure == i] += 3.0
        result = adversarial_validation(gaussian(30, between=0), target)
        scores = result.target_scores
        assert {s.structure for s in scores[:2]} == {4, 17} and min(s.score for s in scores[:2]) > scores[2].score + 0.1
        assert len(scores) == 30 and all(s.n_environments == 10 for s in scores)
        assert np.median([s.score for s in scores]) < 0.6


class TestEqualSets:
    def test_halves_of_one_set(self):
        """Halves of structures by chance, many times: 0.5 on average, and inside the intervals."""
        whole = descriptor_environments(crystals(40, seed=2), 5.0, limit=160)
        found = []
        for seed in range(25):
            chosen = np.random.default_rng(seed).permutation(40)
            halves = [np.isin(whole.structure, part) for part in (chosen[:20], chosen[20:])]
            one, other = (
                dataclasses.replace(whole, features=whole.features[h], structure=whole.structure[h], atom=whole.atom[h])
                for h in halves
            )
            found.append(adversarial_validation(one, other, seed))
        aucs = np.array([r.auc for r in found])
        assert abs(aucs.mean() - 0.5) < 3 * aucs.std() / np.sqrt(len(aucs)) < 0.08
        assert sum(r.interval[0] <= 0.5 <= r.interval[1] for r in found) >= 21

    @pytest.mark.parametrize("n_target", [4, 25])
    def test_intervals_cover_one_half_at_their_rate(self, n_target):
        """Structures differ far more than their atoms, so intervals over atoms would be several times too narrow."""
        results = [
            adversarial_validation(
                gaussian(25, n_features=2, n_atoms=4, between=3.0, seed=2 * s),
                gaussian(n_target, n_features=2, n_atoms=4, between=3.0, seed=2 * s + 1),
                seed=s,
            )
            for s in range(40)
        ]
        covered = sum(r.interval[0] <= 0.5 <= r.interval[1] for r in results)
        assert covered >= 35  # 38 expected; fewer than 35 has a chance of 1 in 70
        aucs = np.array([r.auc for r in results])
        assert abs(aucs.mean() - 0.5) < 3 * aucs.std() / np.sqrt(len(aucs))
        # and no wider than need be
        assert np.mean([np.ptp(r.interval) for r in results]) < 4 * 2 * aucs.std()


class TestFamilies:
    def test_copies_pretend_to_be_evidence(self):
        """Three random structures against three, each twenty times: certain, until told that they are copies."""
        source, target = (gaussian(60, between=0, seed=s) for s in (0, 1))
        rng = np.random.default_rng(5)
        for side in (source, target):
            side.features[:] += rng.normal(size=(3, 3))[side.structure % 3] * 5
        labels = [i % 3 for i in range(60)]
        naive = adversarial_validation(source, target)
        honest = adversarial_validation(source, target, source_families=labels, target_families=labels)
        assert naive.interval[0] > 0.8 and naive.n_folds == 5
        assert honest.n_families == (3, 3) and honest.n_folds == 3
        assert honest.interval[0] <= 0.5 <= honest.interval[1]

    def test_wrong_number_of_labels(self):
        with pytest.raises(ValueError, match="target_families has 2 labels for 4 structures"):
            adversarial_validation(gaussian(4), gaussian(4), target_families=[0, 1])


def test_is_reproducible_plain_data_and_symmetric():
    source, target = gaussian(6), gaussian(8, mean=0.3, seed=1)
    results = [adversarial_validation(source, target, seed=3) for _ in range(2)]
    assert results[0] == results[1]
    assert json.loads(json.dumps(dataclasses.asdict(results[0])))["n_structures"] == [6, 8]
    other = adversarial_validation(target, source, seed=3)
    assert other.auc == pytest.approx(results[0].auc, abs=0.1)


def test_structures_without_chosen_atoms_do_not_count():
    target = dataclasses.replace(gaussian(5, seed=1), n_structures=9)
    result = adversarial_validation(gaussian(5), target)
    assert result.n_structures == (5, 5) and {s.structure for s in result.target_scores} == set(range(5))


def test_constant_features_say_nothing():
    source, target = gaussian(10), gaussian(10, seed=1)
    for side in (source, target):
        side.features[:, 0] = 7.0
    feature = next(f for f in adversarial_validation(source, target).features if f.name == "x0")
    assert (feature.auc_alone, feature.shift) == (0.5, 0.0) and abs(feature.importance) < 1e-12


class TestBadInput:
    def test_one_structure(self):
        with pytest.raises(ValueError, match="at least 2 independent structures of each side, found 1 of the target"):
            adversarial_validation(gaussian(5), gaussian(1))

    def test_different_features(self):
        with pytest.raises(ValueError, match="source's 3 ACSF features and the target's 2 ACSF features"):
            adversarial_validation(gaussian(5), gaussian(5, n_features=2))

    def test_not_finite(self):
        target = gaussian(5)
        target.features[3, 1] = np.nan
        with pytest.raises(ValueError, match="1 environments of the target have features that are not finite"):
            adversarial_validation(gaussian(5), target)
