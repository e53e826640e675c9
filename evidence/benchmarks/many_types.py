"""Time and memory of a transfer against the number of types and layers of the source.

    python evidence/benchmarks/many_types.py
    python evidence/benchmarks/many_types.py --types 89 --layers 6

Each source has random weights and the size of a foundation model (l_max 3, 64 features). It is reduced to 2 types, and
extended by one; every case runs in a process of its own, so that the peak memory is its own.
"""

import argparse
import multiprocessing
import resource
import time

import numpy as np
import torch
from ase.build import bulk
from ase.data import chemical_symbols
from nequip.data import AtomicDataDict
from nequip.data.ase import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.transfer.transfer import Transfer

R_MAX = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--types", nargs="+", type=int, default=[1, 10, 89])
    parser.add_argument("--layers", nargs="+", type=int, default=[2, 6])
    args = parser.parse_args()
    print("types layers  job        parameters build (s) transfer (s) peak (GB)")
    context = multiprocessing.get_context("spawn")
    for layers in args.layers:
        for types in args.types:
            for job in ("reduce", "extend"):
                with context.Pool(1) as pool:
                    print(pool.apply(measure, (types, layers, job)), flush=True)


def measure(n_types: int, layers: int, job: str) -> str:
    names = chemical_symbols[1 : n_types + 1]
    began = time.perf_counter()
    source = random_source(names, layers)
    built = time.perf_counter()
    new = chemical_symbols[n_types + 1]
    elements = {new: names[-1], **({names[0]: names[0]} if job == "reduce" else {name: name for name in names})}
    frames = labelled_frames(list(elements), new)
    lengths = {t: 1.05 if t == new else 1.0 for t in elements}
    config = TransferConfig("random", elements, length_scale=lengths, energy_scale="none")  # random forces fit nothing
    result = Transfer(config, source, lambda r_max: [with_neighbors(frame, r_max) for frame in frames]).run()
    done = time.perf_counter()
    n_parameters = sum(tensor.numel() for tensor in result.state.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"{n_types:5d} {layers:6d}  {job:<10} {n_parameters:10d} {built - began:9.1f} {done - built:12.1f} {peak:9.2f}"
    )


def random_source(names: list[str], layers: int) -> SourceModel:
    """A model with the weights of its seed, as if it had been read from a file."""
    architecture = {
        "_target_": "nequip.model.NequIPGNNModel",
        "seed": 0,
        "model_dtype": "float32",
        "type_names": names,
        "r_max": R_MAX,
        "num_layers": layers,
        "l_max": 3,
        "num_features": 64,
        "avg_num_neighbors": 30.0,
        "per_type_energy_scales": 1.0,
        "per_type_energy_shifts": 0.0,
    }
    return SourceModel("random", "0" * 64, architecture, arch.build(architecture).state_dict())


def labelled_frames(types: list[str], new: str) -> list[AtomicDataDict.Type]:
    """Two rattled crystals of the new type, with the labels of a spring to each lattice site."""
    to_types = ChemicalSpeciesToAtomTypeMapper(types)
    frames = []
    for seed in range(2):
        atoms = bulk(new, "fcc", a=4.5, cubic=True)
        displacements = np.random.default_rng(seed).normal(0, 0.1, (len(atoms), 3))
        atoms.positions += displacements
        frame = to_types(from_ase(atoms))
        frame[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[0.5 * (displacements**2).sum()]])
        frame[AtomicDataDict.FORCE_KEY] = torch.tensor(-displacements)
        frames.append(frame)
    return frames


if __name__ == "__main__":
    main()
