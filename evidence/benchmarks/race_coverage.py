"""How often a race's interval of the errors to expect holds the error on all structures.

    python evidence/benchmarks/race_coverage.py runs/mlearn_si_long/best.ckpt \
      data/mlearn/Ge_train.xyz data/mlearn/Ge_test.xyz --elements Ge=Si

The start of a transfer, fitted to all structures and not trained, has an error on each. A few structures are drawn from
them, a thousand times, and their interval is compared with the error on all. What trainings add is not in it.
"""

import argparse

import numpy as np

from nequip_elemtransfer.output.arguments import pairs, parse_start
from nequip_elemtransfer.plan.making import fitted_start
from nequip_elemtransfer.plan.options import PlanOptions
from nequip_elemtransfer.plan.start.cross_validation import CrossValidation, labelled_start
from nequip_elemtransfer.plan.structures import ChosenStructures
from nequip_elemtransfer.race.errors import HeldOutErrors, held_out_errors
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.reading import read_structures

DRAWS, FOLDS, SIZES = 1000, 5, (5, 10, 25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="trained model")
    parser.add_argument("structures", nargs="+", help="labelled structures of the target")
    parser.add_argument("--elements", nargs="+", required=True, metavar="TARGET=START", help="as for plan")
    args = parser.parse_args()
    structures = [atoms for file in args.structures for atoms in read_structures(file).structures]
    n = len(structures)
    every = ChosenStructures(structures, list(range(n)), list(range(n)))
    options = PlanOptions(elements=pairs("--elements", args.elements, parse_start))
    model = load_source(args.source)
    proposal, fitted = fitted_start(model, every.fewer(12), options)  # λ of a few, which costs less
    scales = fitted.start.scales
    trial = CrossValidation(labelled_start(proposal.config, model, every), [np.arange(n)])
    energies = trial.energies(scales, np.arange(n))
    predicted = trial.start.search.parts(scales).predicted(energies.scales, energies.shifts)
    sizes = trial.counts.sum(axis=1)
    print(
        "| errors of | " + " | ".join(f"{size} structures" for size in SIZES) + " |\n| --- |" + " ---: |" * len(SIZES)
    )
    for kind in trial.labels.kinds:
        errors = held_out_errors(kind, predicted, trial.labels, sizes, np.arange(n), np.arange(n))
        if errors is not None:
            print(f"| {kind} | " + " | ".join(_coverage(errors, size) for size in SIZES) + " |")


def _coverage(errors: HeldOutErrors, size: int) -> str:
    rng, truth = np.random.default_rng(0), errors.absolute.sum() / errors.weights.sum()
    held, widths = 0, []
    for _ in range(DRAWS):
        drawn = rng.choice(len(errors.weights), size, replace=False)
        parts = (values[drawn] for values in (errors.absolute, errors.squared, errors.weights))
        found = HeldOutErrors(*parts, np.arange(size), np.arange(size) % FOLDS).mae()
        if found.low is not None and found.high is not None:
            held += found.low <= truth <= found.high
            widths.append(found.high / found.low)
    return f"{held / DRAWS:.0%}, a factor of {np.median(widths):.1f}"


if __name__ == "__main__":
    main()
