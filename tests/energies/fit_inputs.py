"""What the tests of fits fit to."""

import numpy as np

from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.least_unexplained import Term
from nequip_elemtransfer.structures.labels import LABEL_KINDS

FREE = np.array([False, False])
ONE = dict.fromkeys(LABEL_KINDS, 1.0)
# atoms of two types in five structures
COUNTS = np.array([[8, 0], [4, 4], [2, 6], [1, 3], [7, 9]])


def term(rest, parts, n_structures=10):
    """Values of structures that follow one another, of which the network has to learn all."""
    return Term(rest, rest, parts, np.arange(len(rest)) * n_structures // len(rest))


def fit_forces(forces, parts, fixed, n_structures=10):
    """α from forces alone."""
    return fit.fit_energy_scales({"forces": term(forces, parts, n_structures)}, ONE, fixed)
