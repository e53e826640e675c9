"""Energies of isolated atoms, from structures of one or of several far apart."""

import numpy as np
import pytest

from nequip_elemtransfer.energies.choice import references_in

COUNTS = np.array([[1, 0], [1, 0], [2, 0], [1, 1], [8, 0]])
ENERGIES = np.array([-0.5, -0.7, -1.2, -2.6, -30.0])


def test_references_are_means_per_atom():
    assert references_in(ENERGIES, COUNTS, [0, 1], ["Ge", "H"]) == pytest.approx({"Ge": -0.6})
    assert references_in(ENERGIES, COUNTS, [0, 1, 2], ["Ge", "H"]) == pytest.approx({"Ge": -0.6})


def test_two_kinds_apart_tell_the_one_that_is_not_known():
    assert references_in(ENERGIES, COUNTS, [0, 1, 3], ["Ge", "H"]) == pytest.approx({"Ge": -0.6, "H": -2.0})
    assert references_in(ENERGIES, COUNTS, [3], ["Ge", "H"]) == {}


def test_no_energy_tells_nothing():
    assert references_in(np.full(5, np.nan), COUNTS, [0, 1], ["Ge", "H"]) == {}
    assert references_in(ENERGIES, COUNTS, [], ["Ge", "H"]) == {}
