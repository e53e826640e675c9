"""What checking structures costs where a training reads them: NequIP's own reading of a file and this package's.

    python evidence/benchmarks/reading.py --structures 10000

Both make a data set of the same file, in turn; the ratio of the median processor times is what counts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from nequip.data.datamodule import ASEDataModule

from nequip_elemtransfer.structures.training_data import checked_reading


def structures(n: int) -> list:
    """Rattled germanium of 64 atoms with made-up labels."""
    rng, found = np.random.default_rng(0), []
    for seed in range(n):
        atoms = bulk("Ge", "diamond", a=5.66, cubic=True).repeat(2)
        atoms.rattle(0.1, seed=seed)
        labels = {"energy": rng.normal(), "forces": rng.normal(size=(64, 3)), "stress": rng.normal(size=6)}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found


def by_nequip(path: str, other: str) -> None:
    ASEDataModule(seed=0, train_file_path=path, val_file_path=other).setup("fit")


def checked(path: str, other: str) -> None:
    """As the key reads a training set."""
    module = ASEDataModule(seed=0, train_file_path=path, val_file_path=other)
    with checked_reading(module, {}):
        module.setup("fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=10000, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, other = str(Path(folder) / "structures.xyz"), str(Path(folder) / "validation.xyz")
        ase.io.write(other, structures(1))  # NequIP insists on a validation set
        ase.io.write(path, structures(args.structures))
        times: dict[str, list[float]] = {"NequIP": [], "checked": []}
        for _ in range(args.rounds):
            for name, read in (("NequIP", by_nequip), ("checked", checked)):
                start = time.process_time()
                read(path, other)
                times[name].append(time.process_time() - start)
    medians = {name: float(np.median(seconds)) for name, seconds in times.items()}
    print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items()))
    print(f"ratio {medians['checked'] / medians['NequIP']:.3f} for {args.structures} structures of 64 atoms")


if __name__ == "__main__":
    main()
