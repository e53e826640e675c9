"""Energy against the work of the stress on a series of strained cells."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from scipy.interpolate import CubicSpline


def energy_and_work(series: Mapping[float, Atoms], at: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """dE/ds and V Σ_ij σ_ij (dF/ds F⁻¹)_ij at the strains ``at``, in eV; a right stress makes them equal.

    One test of sign, unit and Voigt order, where each series strains another component.
    """
    s = np.array(sorted(series))
    energies = CubicSpline(s, [series[x].get_potential_energy() for x in s])
    cells = CubicSpline(s, [series[x].cell.array.T for x in s])  # columns are cell vectors
    works = []
    for x in at:
        rate = cells(x, 1) @ np.linalg.inv(series[x].cell.array.T)
        works.append(series[x].get_volume() * np.sum(series[x].get_stress(voigt=False) * rate))
    return energies(at, 1), np.array(works)
