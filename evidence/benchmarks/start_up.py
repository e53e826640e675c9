"""How long a transfer takes before training starts: load, probe, remap, fit.

    python evidence/benchmarks/start_up.py SOURCE.ckpt Ge_train_10.xyz [--length-scale fit]

Prints seconds of each part for the source and structures given (Si to Ge by default), and what the checks of a
checkpoint take beyond PyTorch's own reading: those of a source, and those before NequIP loads the file on a restart.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import torch

from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.checkpoints.nequip_loader import require_loadable
from nequip_elemtransfer.checkpoints.stored_model import is_package
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.training_data import training_frames
from nequip_elemtransfer.transfer.transfer import Transfer


def datamodule(path: str, types: list[str], r_max: float) -> dict:
    """The ``data:`` section of a NequIP config that trains on one file."""
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 0,
        "train_file_path": path,
        "val_file_path": path,
        "transforms": [
            {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": types},
            {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": r_max},
        ],
    }


def seconds(work: Callable[[], object], repetitions: int = 5) -> float:
    """The shortest of some tries."""
    found = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def print_checks(source: str) -> None:
    """What the gate costs: checksums, plain data, names, options."""
    plain = seconds(lambda: torch.load(source, map_location="cpu", weights_only=True))
    print(f"{'of which checks of the file':<28}{seconds(lambda: read_checkpoint(source)) - plain:8.2f} s")
    print(f"{'checks before a restart':<28}{seconds(lambda: require_loadable(source)) - plain:8.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("structures")
    parser.add_argument("--elements", nargs="+", default=["Ge=Si"], metavar="TARGET=SOURCE")
    parser.add_argument("--length-scale", default="covalent_radii")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    elements = dict(pair.split("=") for pair in args.elements)
    key = TransferConfig.from_mapping({"source": args.source, "elements": elements, "length_scale": args.length_scale})
    clock = [time.perf_counter()]
    source = load_source(args.source)
    clock.append(time.perf_counter())
    transfer = Transfer(
        key, source, lambda r: training_frames(datamodule(args.structures, list(elements), r), list(elements))
    )
    _ = transfer.r_max
    clock.append(time.perf_counter())
    result = transfer.run()
    clock.append(time.perf_counter())
    for name, start, end in zip(("load and prove the source", "length scale", "remap, fit, report"), clock, clock[1:]):
        print(f"{name:<28}{end - start:8.2f} s")
    print(f"{'total, ' + str(result.provenance['n_frames']) + ' structures':<28}{clock[-1] - clock[0]:8.2f} s")
    if not is_package(args.source):
        print_checks(args.source)


if __name__ == "__main__":
    main()
