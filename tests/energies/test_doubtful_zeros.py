"""Stresses of exactly zero that the start does not believe."""

import numpy as np
import pytest

from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.energies.zeros import doubtful_zero_stresses
from nequip_elemtransfer.structures.labels import Labels

N = 10
COUNTS = np.full((N, 1), 4)
ALPHA, MU = np.array([0.5]), np.array([-3.0])


def said(zero, size=0.02, noise=0.001, n=N, places=None):
    """What is said of stresses that the start predicts with an error of ``noise``, some of them written as zero."""
    random = np.random.default_rng(0)
    nothing = Labels(np.zeros(n), np.zeros((4 * n, 3)), np.zeros((n, 3, 3)))
    stresses = size * np.where(np.arange(n) % 2, 1.0, -1.0)[:, None, None] * np.ones((n, 3, 3))
    parts = NetworkParts(np.zeros((1, n)), np.zeros((1, 4 * n, 3)), stresses[None] / ALPHA[0], nothing, COUNTS[:n])
    labels = stresses + noise * random.normal(size=stresses.shape)
    labels[list(zero)] = 0.0
    return doubtful_zero_stresses(parts, Labels(nothing.energies, nothing.forces, labels), ALPHA, MU, places)


def test_zeros_that_the_start_contradicts():
    (sentence,) = said([2, 7], places=range(20, 20 + N))
    assert sentence.startswith(f"2 of {N} stresses (no. 22, no. 27) are exactly 0, where the start predicts 20 meV/Å³")


@pytest.mark.parametrize(
    "case",
    [
        {"zero": []},
        {"zero": [2], "size": 0.001, "noise": 1e-5},  # a crystal at rest, as far as such a start can tell
        {"zero": [2], "noise": 0.02},  # a start that is as wrong on the others
        {"zero": [0, 1], "n": 5},  # too few others
    ],
    ids=["none", "small", "wrong start", "few"],
)
def test_zeros_that_may_be_true(case):
    assert said(**case) == []
