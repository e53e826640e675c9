"""Phonons against closed forms and the elastic constants."""

import sys

import ase.units
import numpy as np
import pytest
from ase.calculators.emt import EMT
from diamonds import ELEMENTS, diamond, second_derivative_of_bond

from nequip_elemtransfer.data.stillinger_weber import PARAMETERS, stillinger_weber_calculator
from nequip_elemtransfer.materials import properties
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.properties import (
    elastic_constants,
    equilibrium,
    phonon_bands,
)


@pytest.fixture(scope="module", params=ELEMENTS)
def bands(request):
    return request.param, phonon_bands(diamond(request.param), stillinger_weber_calculator(request.param), n=4)


def test_three_acoustic_and_three_equal_optical_modes_at_gamma(bands):
    at_gamma = bands[1].frequencies[0]
    assert np.abs(at_gamma[:3]).max() < 1e-2
    assert np.ptp(at_gamma[3:]) < 1e-3


def test_optical_modes_at_gamma_are_those_of_bonds_and_angles(bands):
    r"""Two sublattices against each other by u: half of K u², of mass m/2.

    .. math::

        K = \tfrac43 \varphi'' + \tfrac{512}{27} \varepsilon \lambda g^2 / r^2, \quad
        g = e^{\gamma\sigma / (r - a\sigma)}

    """
    element, found = bands
    p, r = PARAMETERS[element], diamond(element).nearest_neighbor
    g = np.exp(p["gamma"] * p["sigma"] / (r - p["a"] * p["sigma"]))
    stiffness = 4 / 3 * second_derivative_of_bond(element)
    stiffness += 512 / 27 * p["epsilon"] * p["lambda1"] * g**2 / r**2
    mass = diamond(element).unit_cell().get_masses()[0]
    exact = np.sqrt(stiffness / (mass / 2)) / (2 * np.pi) * ase.units.fs * 1e3  # THz
    assert found.frequencies[0, 5] == pytest.approx(exact, rel=2e-3)


def test_slopes_at_gamma_are_the_speeds_of_sound(bands):
    """Along [100], ρv² is C11 for the longitudinal wave and C44 for the two transverse ones."""
    element, found = bands
    constants = elastic_constants(diamond(element), stillinger_weber_calculator(element))
    cell = diamond(element).unit_cell()
    density = cell.get_masses().sum() / cell.get_volume()
    assert found.labels[:2] == ("Γ", "X")
    assert found.ticks[1] == pytest.approx(2 * np.pi / diamond(element).a)
    speeds = 2 * np.pi * found.frequencies[1, :3] / found.x[1]  # THz Å
    expected = [np.sqrt(constants[name] * ase.units.GPa / density) for name in ("C44", "C44", "C11")]
    assert speeds == pytest.approx(np.array(expected) * ase.units.fs * 1e3, rel=0.02)


def test_axis_of_the_plot(bands):
    _, found = bands
    n = len(found.x)
    assert found.frequencies.shape == (n, 6) and found.q_points.shape == (n, 3)
    assert found.labels == ("Γ", "X", "W", "K", "Γ", "L", "U", "W", "L", "K|U", "X")
    assert len(found.ticks) == len(found.labels)
    assert (np.diff(found.ticks) > 0).all() and (np.diff(found.x) >= 0).all()
    assert set(found.ticks) <= set(found.x)
    # K and U are different points with the same frequencies
    before, after = np.flatnonzero(found.x == found.ticks[found.labels.index("K|U")])
    assert not np.allclose(found.q_points[before], found.q_points[after])
    assert found.frequencies[before] == pytest.approx(found.frequencies[after], abs=1e-3)


@pytest.mark.parametrize("path_points", [properties.FEWEST_PATH_POINTS, 201])
@pytest.mark.parametrize(("structure", "formula"), [("fcc", "Cu"), ("bcc", "Cu"), ("sc", "Cu")])
def test_length_of_the_axis_does_not_depend_on_the_number_of_points(structure, formula, path_points):
    found = phonon_bands(Crystal(structure, formula, 3.0), EMT(), n=1, path_points=path_points)
    expected = phonon_bands(Crystal(structure, formula, 3.0), EMT(), n=1)
    assert len(found.x) == path_points
    assert found.ticks == pytest.approx(expected.ticks)


def test_unstable_crystals_have_negative_frequencies(copper):
    stable = phonon_bands(copper, EMT(), n=3)
    unstable = phonon_bands(equilibrium(Crystal("sc", "Cu", 2.4), EMT()), EMT(), n=4)
    assert stable.frequencies.min() > -1e-2
    assert unstable.frequencies.min() < -1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"n": 0}, "at least 1 primitive cell along each edge, found 0"), ({"path_points": 10}, "at least 50 q-points")],
)
def test_settings_of_phonons(settings, message):
    with pytest.raises(ValueError, match=message):
        phonon_bands(diamond("Si"), stillinger_weber_calculator("Si"), **settings)


def test_without_phonopy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs 'phonopy'.*pip install \"nequip-elemtransfer\[study\]\""):
        phonon_bands(diamond("Si"), stillinger_weber_calculator("Si"))
