r"""Classical structures of fcc metals and their alloys in effective medium theory, as ASE has it.

K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394 (1996).

Everything is done in reduced units, ``ε`` the cohesive energy and ``τ = r √(m/ε)`` with the distance r of nearest
neighbors: 0.10 ps for Cu. The metals melt near a reduced temperature of 0.03. Alloys are random: each
structure has its own composition, drawn evenly over all compositions, and its own occupation of the sites, at the
composition's mean lattice constant (Vegard) and mean ε and τ.
"""

import ase.units
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT, beta
from ase.calculators.emt import parameters as EMT_PARAMETERS
from ase.data import atomic_masses, atomic_numbers
from ase.symbols import string2symbols

from nequip_elemtransfer.data.sampled import Material, SampledSet

METALS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")
GROUPS = ("fcc", "strained", "vacancy", "liquid")


def lattice_constant(metal: str) -> float:
    """Lattice constant of the fcc crystal, √2 β s₀ of EMT, in Å.

    That of lowest energy differs by up to 2 % in ASE, for its cutoff.
    """
    return float(np.sqrt(2) * _neighbor_distance(metal))


def _material(system: str, supercell: int) -> Material:
    metals = _metals(system)

    def crystal(rng: np.random.Generator) -> Atoms:
        atoms = bulk(metals[0], "fcc", a=1.0, cubic=True) * supercell
        if len(metals) > 1:
            fractions = rng.dirichlet(np.ones(len(metals)))
            atoms.symbols = rng.choice(metals, len(atoms), p=fractions)
        atoms.set_cell(atoms.cell * np.mean([lattice_constant(metal) for metal in atoms.symbols]), scale_atoms=True)
        atoms.calc = EMT()
        return atoms

    energies = [-EMT_PARAMETERS[metal][0] for metal in metals]
    masses = [atomic_masses[atomic_numbers[metal]] for metal in metals]
    distances = [_neighbor_distance(metal) for metal in metals]
    energy = float(np.mean(energies))
    return Material(crystal, energy, float(np.mean(distances) * np.sqrt(np.mean(masses) / energy)))


def _neighbor_distance(metal: str) -> float:
    return float(beta * EMT_PARAMETERS[metal][1] * ase.units.Bohr)  # s₀ is in bohr


def _metals(system: str) -> list[str]:
    try:
        metals = string2symbols(system)
    except ValueError:
        metals = []
    if not metals or not set(metals) <= set(METALS) or len(set(metals)) < len(metals):
        raise ValueError(
            f"no EMT structures for {system!r}; name one of {', '.join(METALS)}, or several different ones as in 'CuAu'"
        )
    return metals


EMT_METALS = SampledSet(
    default=("Cu", "Ag"),
    groups=GROUPS,
    temperatures=(0.008, 0.016, 0.024),  # 326, 652, 978 K for Cu
    liquid_temperatures=(0.045, 0.055),  # 1833, 2240 K for Cu
    melting_temperature=0.1,
    material=_material,
    elements=_metals,
)
