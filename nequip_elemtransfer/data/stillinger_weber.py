r"""Classical structures of silicon and germanium in the Stillinger-Weber potential.

.. math::

    E = \sum_{i<j} \varepsilon A \Bigl[B \bigl(\tfrac{\sigma}{r}\bigr)^4 - 1\Bigr]
        e^{\sigma / (r - a\sigma)}
      + \sum_{i, j<k} \varepsilon \lambda \bigl(\cos\theta_{jik} + \tfrac13\bigr)^2
        e^{\gamma\sigma / (r_{ij} - a\sigma) + \gamma\sigma / (r_{ik} - a\sigma)}

Silicon: Stillinger & Weber, Phys. Rev. B 31, 5262 (1985). Germanium: Ding & Andersen,
Phys. Rev. B 34, 6987 (1986), which has its own ε, σ and λ; the other constants are those of
silicon. Between the two elements, only λ (21 and 31) is not a change of units: with one λ,
germanium at lengths σ_Ge/σ_Si and energies ε_Ge/ε_Si *is* silicon.

Everything is therefore done in reduced units, the same for both elements: temperature
``k_B T / ε`` and time ``τ = σ √(m/ε)``, 77 fs for Si and 136 fs for Ge. Silicon melts at a reduced
temperature of 0.067, about 1680 K; the stronger three-body term of germanium makes its crystal
more stable. The default crystals stay below 0.067, and the liquids are molten at 0.3 and kept at
0.14 or more, where neither element freezes again.
"""

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.data import atomic_masses, atomic_numbers
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import (
    Stillinger_Weber_PRB_31_5262_Si,
    StillingerWeber,
)
from matscipy.neighbours import CutoffNeighbourhood, first_neighbours, triplet_list

from nequip_elemtransfer.data.sampled import Material, SampledSet

PARAMETERS = {
    "Si": Stillinger_Weber_PRB_31_5262_Si,
    "Ge": Stillinger_Weber_PRB_31_5262_Si
    | {
        "__ref__": "K. Ding and H. C. Andersen, Phys. Rev. B 34, 6987 (1986)",
        "el": "Ge",
        "epsilon": 1.93,
        "sigma": 2.181,
        "lambda1": 31.0,
    },
}
GROUPS = ("diamond", "strained", "vacancy", "liquid")


def stillinger_weber_calculator(element: str) -> Calculator:
    """ASE calculator of energy, per-atom energies, forces and stress.

    Args:
        element: ``Si`` or ``Ge``.

    Raises:
        ValueError: another element.
    """
    form = StillingerWeber(_parameters(element))
    neighbourhood = _PairTriplets(atom_types=form["atom_type"], pair_types=form["pair_type"])
    return Manybody(**form, neighbourhood=neighbourhood)


def lattice_constant(element: str) -> float:
    """Equilibrium lattice constant of diamond, 4/√3 · 2^(1/6) σ, in Å."""
    return float(4 / np.sqrt(3) * 2 ** (1 / 6) * _parameters(element)["sigma"])


def _material(element: str, supercell: int) -> Material:
    parameters = _parameters(element)

    def crystal(rng: np.random.Generator) -> Atoms:
        atoms = bulk(element, "diamond", a=lattice_constant(element), cubic=True) * supercell
        atoms.calc = stillinger_weber_calculator(element)
        return atoms

    mass = atomic_masses[atomic_numbers[element]]
    tau = parameters["sigma"] * np.sqrt(mass / parameters["epsilon"])  # ASE time units
    return Material(crystal, parameters["epsilon"], tau)


class _PairTriplets(CutoffNeighbourhood):
    """Triplets without the pair j-k, which energy and forces do not need.

    matscipy looks for it in a Python loop that takes four fifths of an MD step.
    """

    def get_triplets(
        self, atoms: Atoms, quantities: str, neighbours: Any = None, cutoff: Any = None
    ) -> tuple[np.ndarray, ...]:
        if quantities != "ijdD" or neighbours is not None or cutoff is not None:
            return super().get_triplets(atoms, quantities, neighbours, cutoff)
        i_p, d_p, D_p = self.get_pairs(atoms, "idD")  # (n_pairs,), (n_pairs,), (n_pairs, 3)
        ij_t, ik_t = triplet_list(first_neighbours(len(atoms), i_p), d_p, self.cutoff)
        d_tq = np.stack([d_p[ij_t], d_p[ik_t]], axis=1)  # (n_triplets, 2)
        D_tqc = np.stack([D_p[ij_t], D_p[ik_t]], axis=1)  # (n_triplets, 2, 3)
        return ij_t, ik_t, d_tq, D_tqc


def _parameters(element: str) -> dict[str, Any]:
    if element not in PARAMETERS:
        raise ValueError(f"no Stillinger-Weber parameters for {element!r}; choose from {', '.join(PARAMETERS)}")
    return PARAMETERS[element]


STILLINGER_WEBER = SampledSet(
    default=("Si", "Ge"),
    groups=GROUPS,
    temperatures=(0.01, 0.03, 0.05),  # 252, 755, 1258 K for Si
    liquid_temperatures=(0.14, 0.17),  # 3523, 4278 K for Si
    melting_temperature=0.3,
    material=_material,
    elements=lambda element: [_parameters(element)["el"]],
)
