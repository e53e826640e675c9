"""Diamond of Stillinger and Weber, of which much is known in closed form."""

import numpy as np
import pytest

from nequip_elemtransfer.data.stillinger_weber import PARAMETERS, lattice_constant
from nequip_elemtransfer.materials.crystal import Crystal

ELEMENTS = ("Si", "Ge")
by_element = pytest.mark.parametrize("element", ELEMENTS)


def diamond(element):
    return Crystal("diamond", element, lattice_constant(element))


def second_derivative_of_bond(element):
    """Of the pair energy at its minimum, eV/Å²."""
    p = PARAMETERS[element]

    def energy(r):
        ratio = p["sigma"] / r
        return p["epsilon"] * p["A"] * (p["B"] * ratio**4 - 1) * np.exp(p["sigma"] / (r - p["a"] * p["sigma"]))

    r, h = diamond(element).nearest_neighbor, 1e-4
    return (energy(r + h) - 2 * energy(r) + energy(r - h)) / h**2
