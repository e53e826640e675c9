"""Which λ do labels ask for if the source is perfect? Silicon's own Stillinger-Weber potential as the source.

    python evidence/benchmarks/exact_source.py data/sw/Ge_train.xyz

The two potentials differ by a change of units and by the weight of the three-body term, so no length makes one the
other. What remains unexplained of each kind of label, and the objective of the fits of λ and α, at each λ.
"""

import argparse
from collections.abc import Sequence

import ase.io
import numpy as np
from ase import Atoms

from nequip_elemtransfer.config import LABEL_KINDS
from nequip_elemtransfer.data.stillinger_weber import lattice_constant, stillinger_weber_calculator
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.least_unexplained import no_resemblance, objective
from nequip_elemtransfer.structures.labels import Labels

LENGTHS = np.arange(1.0, 1.0951, 0.005)
WEIGHTS = dict.fromkeys(LABEL_KINDS, 1.0)
FITTED = np.array([False])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", help="germanium")
    structures = ase.io.read(parser.parse_args().structures, ":")
    groups = dict.fromkeys(atoms.info["group"] for atoms in structures)
    print(f"ratio of the lattice constants: {lattice_constant('Ge') / lattice_constant('Si'):.4f}\n")
    table = [unexplained(structures, length) for length in LENGTHS]
    print("| λ | α | objective | energies | forces | stresses |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
    for length, (alpha, least, parts) in zip(LENGTHS, table):
        print(f"| {length:.3f} | {alpha:.3f} | {least:.3f} | " + " | ".join(f"{p:.3f}" for p in parts) + " |")
    print("\n| structures | λ of the lowest objective |\n| --- | ---: |")
    print(f"| all | {lowest([row[1] for row in table]):.3f} |")
    for group in groups:
        alike = [atoms for atoms in structures if atoms.info["group"] == group]
        print(f"| {group} | {lowest([unexplained(alike, length)[1] for length in LENGTHS]):.3f} |")


def unexplained(structures: Sequence[Atoms], length: float) -> tuple[float, float, list[float]]:
    """α, the objective, and what is left of energies, forces and stresses, at one λ."""
    counts = np.array([[len(atoms)] for atoms in structures])
    reference, predicted = labels(structures), labels([as_silicon(atoms, length) for atoms in structures])
    forces, stresses = predicted.forces / length, predicted.stresses / length**3
    parts = {"energy": predicted.energies, "forces": forces, "stress": stresses}
    nothing = Labels(*(np.zeros_like(reference.of(kind)) for kind in LABEL_KINDS))
    terms = fit.make_terms(reference, nothing, {kind: values[None] for kind, values in parts.items()}, counts)
    try:
        alpha = fit.fit_energy_scales(terms, WEIGHTS, FITTED).scales
    except fit.NoResemblance:
        return np.nan, no_resemblance(terms, WEIGHTS, FITTED), [np.nan] * len(terms)
    return float(alpha[0]), objective(terms, WEIGHTS, alpha), [terms[kind].unexplained(alpha) for kind in terms]


def as_silicon(atoms: Atoms, length: float) -> Atoms:
    """The structure at corresponding states, with silicon's potential."""
    alike = atoms.copy()
    alike.symbols[:] = "Si"
    alike.set_cell(alike.cell / length, scale_atoms=True)
    alike.calc = stillinger_weber_calculator("Si")
    return alike


def labels(structures: Sequence[Atoms]) -> Labels:
    return Labels(
        np.array([atoms.get_potential_energy() for atoms in structures]),
        np.concatenate([atoms.get_forces() for atoms in structures]),
        np.array([atoms.get_stress(voigt=False) for atoms in structures]),
    )


def lowest(objectives: Sequence[float]) -> float:
    """λ of the vertex of the parabola through the lowest three."""
    place = int(np.clip(np.argmin(objectives), 1, len(objectives) - 2))
    near = slice(place - 1, place + 2)
    a, b, _ = np.polyfit(LENGTHS[near], objectives[near], 2)
    return float(-b / (2 * a))


if __name__ == "__main__":
    main()
