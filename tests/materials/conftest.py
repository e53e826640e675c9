"""A metal for the tests of this folder."""

import pytest
from ase.calculators.emt import EMT

from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.properties import equilibrium


@pytest.fixture(scope="module")
def copper():
    return equilibrium(Crystal("fcc", "Cu", 3.65), EMT())
