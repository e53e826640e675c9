"""Errors of potentials of any package on held-out structures, from files with the labels they gave to them.

    python evidence/benchmarks/labelled_errors.py data/mlearn/Ge_test.xyz --out report.json \
        --model "MACE from scratch" 10 0=seed0.xyz 1=seed1.xyz --model "SNAP, published" 228 0=snap.xyz

Each file holds the reference's structures, in its order, with energies and forces, and stresses if the potential has
them: `nequip-elemtransfer label` writes such files with any ASE calculator. The number before a file is the seed of the
choice of training structures. `evidence/write_tables.py` makes a table of the report, with differences from trainings
of a study on the same choices.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from nequip_elemtransfer.study.run.results import ENERGY_MAE, FORCE_MAE, STRESS_MAE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, help="labelled structures that no model was trained on")
    parser.add_argument(
        "--model", nargs="+", action="append", required=True, metavar="X", help="NAME SIZE SEED=FILE..."
    )
    parser.add_argument("--out", type=Path, required=True, help="report to write")
    args = parser.parse_args()
    reference = ase.io.read(args.reference, ":")
    models = []
    for name, size, *files in args.model:
        if not files:
            parser.error(f"--model {name} {size} names no file.")
        found = {int(seed): errors(reference, Path(file)) for seed, file in (each.split("=", 1) for each in files)}
        models.append({"name": name, "size": int(size), "errors": found})
        for seed, of_file in found.items():
            print(name, size, seed, {kind: round(1000 * error, 2) for kind, error in of_file.items()})
    report = {"reference": args.reference.name, "structures": len(reference), "models": models}
    args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def errors(reference: Sequence[Atoms], file: Path) -> dict[str, float]:
    """Mean absolute errors in eV/Å, eV per atom and eV/Å³, of forces and stresses by component.

    Raises:
        ValueError: the file holds other structures than the reference
    """
    labelled = ase.io.read(file, ":")
    if len(labelled) != len(reference) or not all(map(same, labelled, reference)):
        raise ValueError(f"{file} does not hold the {len(reference)} structures of the reference in their order.")
    pairs = list(zip(labelled, reference))
    found = {
        FORCE_MAE: float(np.abs(np.concatenate([a.get_forces() - b.get_forces() for a, b in pairs])).mean()),
        ENERGY_MAE: float(
            np.mean([abs(a.get_potential_energy() - b.get_potential_energy()) / len(b) for a, b in pairs])
        ),
    }
    if all("stress" in atoms.calc.results for atoms in (*labelled, *reference)):
        found[STRESS_MAE] = float(np.mean([np.abs(a.get_stress(False) - b.get_stress(False)) for a, b in pairs]))
    return found


def same(labelled: Atoms, reference: Atoms) -> bool:
    """Species equal, positions and cells to the digits of a file."""
    return (
        np.array_equal(labelled.numbers, reference.numbers)
        and np.allclose(labelled.positions, reference.positions, atol=1e-6)
        and np.allclose(labelled.cell, reference.cell, atol=1e-6)
    )


if __name__ == "__main__":
    main()
