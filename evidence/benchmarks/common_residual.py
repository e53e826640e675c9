"""What models of one material get wrong alike: forces of several models against the labels of one file.

    python evidence/benchmarks/common_residual.py data/mlearn/Ge_test.xyz NAME=CHECKPOINT NAME=CHECKPOINT ...

If errors were the models' own (weights, order of batches, choice of structures, size), those of two models without a
common source would be independent, and the mean of many models better than each. What they share is what none of them
can learn: noise of the labels, or a part of them that lies outside of what all these models can say. A correlation is
that of residuals, not centred, over all force components.
"""

import argparse
import tempfile
from pathlib import Path

import ase.io
import numpy as np

from nequip_elemtransfer.study.measure.one_evaluation import trained_calculator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structures", help="file that ASE reads, with forces")
    parser.add_argument("models", nargs="+", metavar="NAME=CHECKPOINT", help="of nequip-train")
    args = parser.parse_args()
    frames = ase.io.read(args.structures, ":")
    labels = np.concatenate([atoms.get_forces().ravel() for atoms in frames])
    names, paths = zip(*(model.split("=", 1) for model in args.models))
    # (models, components), meV/Å
    residuals = 1000 * (np.array([forces(Path(path), frames) for path in paths]) - labels)
    print("| | MAE (meV/Å) | RMSE (meV/Å) |" + "".join(f" with {name} |" for name in names))
    print("| --- | ---: | ---: |" + " ---: |" * len(names))
    norms = np.linalg.norm(residuals, axis=1)
    alike = residuals @ residuals.T / np.outer(norms, norms)
    for name, residual, row in zip(names, residuals, alike):
        print(f"| {name} | {errors(residual)} |" + "".join(f" {value:.2f} |" for value in row))
    print(f"| their mean | {errors(residuals.mean(axis=0))} |" + " |" * len(names))


def forces(checkpoint: Path, frames: list[ase.Atoms]) -> np.ndarray:
    """(components,) of a model, in eV/Å."""
    with tempfile.TemporaryDirectory() as folder:
        calculator = trained_calculator(checkpoint, "eager", Path(folder))
        return np.concatenate([calculator.get_property("forces", atoms).ravel() for atoms in frames])


def errors(residual: np.ndarray) -> str:
    return f"{np.abs(residual).mean():.1f} | {np.sqrt((residual**2).mean()):.1f}"


if __name__ == "__main__":
    main()
