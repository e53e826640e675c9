"""Energies in two parts that the start does not explain."""

import numpy as np
import pytest

from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.energies.populations import energy_gap
from nequip_elemtransfer.structures.labels import Labels

N = 10
COUNTS = np.column_stack([np.arange(4, 4 + N), np.full(N, 4)])
ONE, MU = np.ones(2), np.array([-3.0, -1.0])


def said(offsets, noise=0.02, places=None, n=N):
    """What is said of energies that lie so many eV/atom from what the start says."""
    random, counts = np.random.default_rng(0), COUNTS[:n]
    shape = (int(counts.sum()), 3)
    nothing = Labels(np.zeros(n), np.zeros(shape), np.zeros((n, 3, 3)))
    parts = NetworkParts(5 * random.normal(size=(2, n)), np.zeros((2, *shape)), np.zeros((2, n, 3, 3)), nothing, counts)
    off = np.array(offsets) + noise * random.normal(size=n)
    energies = parts.predicted(ONE, MU).energies + counts.sum(axis=1) * off
    return energy_gap(parts, Labels(energies, nothing.forces, nothing.stresses), ONE, MU, places)


def test_one_population():
    assert said(np.zeros(N)) == [] and said(np.zeros(N), noise=1.0) == []


def test_an_outlier():
    (sentence,) = said([0, 0, 7, *[0] * 7])
    assert sentence.startswith(f"1 of {N} energies (no. 2) lies 6.99 eV") and "above the others" in sentence


@pytest.mark.parametrize("members", [[1, 5], [0, 2, 4, 6, 8]])
def test_two_zeros_of_energy(members):
    offsets = np.where(np.isin(np.arange(N), members), -3.7, 0.0)
    (sentence,) = said(offsets, places=range(10, 10 + N))
    assert f"{len(members)} of {N} energies (no. {10 + members[0]}" in sentence and "below the others" in sentence


def test_missing_energies_and_few_structures():
    assert "1 of 9 energies" in said([np.nan, 0, 7, *[0] * 7])[0]
    assert said([0, 0, 7, 0], n=4) == []
