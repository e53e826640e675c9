"""Kept types whose labels come from another method: what is said, and what is not."""

from dataclasses import replace

import numpy as np
import pytest

from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.energies.kept import another_method
from nequip_elemtransfer.structures.labels import LABEL_KINDS, Labels

N = 12
TYPES = ("Si", "Ge")
KEPT = np.array([True, False])
WEIGHTS = dict.fromkeys(LABEL_KINDS, 1.0)


def parts_of(counts, seed=0):
    """A network of which each type's atoms hold random energies and forces."""
    random = np.random.default_rng(seed)
    n_atoms = int(counts.sum())
    energies = counts.T * (random.normal(size=(2, N)) - 4)
    forces = random.normal(size=(2, n_atoms, 3))
    nothing = Labels(np.zeros(N), np.zeros((n_atoms, 3)), np.full((N, 3, 3), np.nan))
    return NetworkParts(energies, forces, np.zeros((2, N, 3, 3)), nothing, counts)


def noisy(labels, size, counts):
    random = np.random.default_rng(1)
    return replace(
        labels,
        energies=labels.energies + size * counts.sum(axis=1) * random.normal(size=N),
        forces=labels.forces + size * random.normal(size=labels.forces.shape),
    )


MIXED = np.column_stack([np.arange(1, N + 1), np.arange(N, 0, -1)])
ONE_COMPOSITION = np.full((N, 2), 4)
START = np.ones(2), np.array([-1.0, -2.0])


def said(counts, alpha, mu, noise=0.0, frozen=KEPT):
    parts = parts_of(counts)
    labels = noisy(parts.predicted(np.array(alpha), np.array(mu)), noise, counts)
    return another_method(parts, labels, START, frozen, TYPES, WEIGHTS)


def test_labels_of_the_same_method_are_not_spoken_of():
    assert said(MIXED, (1, 1), (-1, -2)) == []
    assert said(MIXED, (1, 1), (-1, -2), noise=0.2) == []


def test_another_zero():
    (sentence,) = said(MIXED, (1, 1), (-4.7, -2))
    assert sentence.startswith("Si is kept as it is in the source, and the labels ask for μ = -4.7000 eV, where")
    assert "the source has -1.0000" in sentence and "α" not in sentence and "--kept-types fit" in sentence


def test_another_scale():
    (sentence,) = said(MIXED, (0.5, 1), (-1, -2), noise=0.01)
    assert "the labels ask for α = 0.499, where a kept type has 1: they" in sentence


def test_both_in_one_sentence():
    (sentence,) = said(MIXED, (0.5, 1), (-4.7, -2))
    assert "α = 0.5, where a kept type has 1 and μ = " in sentence


def test_of_one_composition_nothing_is_known_of_the_kept_type():
    """Whatever the sum of both says, the shift of the type that is new can bear."""
    assert said(ONE_COMPOSITION, (1, 1), (-1, -2)) == []
    parts = parts_of(ONE_COMPOSITION)
    labels = parts.predicted(np.ones(2), np.array([-4.7, -2.0]))
    fitted = np.array([-1.0, -5.7])
    assert another_method(parts, labels, (np.ones(2), fitted), KEPT, TYPES, WEIGHTS) == []


def test_nothing_is_kept():
    assert said(MIXED, (0.5, 1), (-4.7, -2), frozen=np.zeros(2, dtype=bool)) == []


def test_where_all_are_kept_one_scale_for_all_will_do():
    sentences = said(ONE_COMPOSITION, (0.5, 0.5), (-1, -2), frozen=np.array([True, True]))
    assert [sentence[:2] for sentence in sentences] == ["Si", "Ge"]


@pytest.mark.parametrize("kind", ["energy", "forces"])
def test_either_kind_of_label_is_enough(kind):
    parts = parts_of(MIXED)
    labels = parts.predicted(np.array([0.5, 1.0]), START[1])
    others = [other for other in LABEL_KINDS if other != kind]
    assert another_method(parts, labels.without_kinds(*others), START, KEPT, TYPES, WEIGHTS)
    assert another_method(parts, labels.without_kinds(*LABEL_KINDS), START, KEPT, TYPES, WEIGHTS) == []
