"""A training step of a transferred model against one of the same architecture built by NequIP.

    python evidence/benchmarks/training_step.py TRANSFERRED.ckpt STRUCTURES.xyz [--rounds 30]

Both models take Adam steps on the same batch in turn; prints the medians and the median of the ratios.
"""

import argparse
import statistics
import time
import warnings

import ase.io
import torch
from nequip.data import AtomicDataDict, from_ase
from nequip.integrations.utils import basic_transforms

from nequip_elemtransfer.architecture.builders import build
from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.model import TransferredModel, hand_over
from nequip_elemtransfer.source import load_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("structures")
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    trained = load_source(args.checkpoint)
    section = read_checkpoint(args.checkpoint)["hyper_parameters"]["model"]
    hand_over(section["provenance"]["weights"], trained.state)
    models = {
        "stock": build(trained.architecture),
        "transferred": TransferredModel(section["architecture"], section["provenance"]),
    }
    batch = make_batch(args.structures, models["stock"])
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-6) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for i in range(args.rounds + 3):
        # the one that goes first changes from round to round
        for name in sorted(models, reverse=bool(i % 2)):
            started = time.perf_counter()
            step(models[name], optimizers[name], batch)
            if i >= 3:  # warm
                times[name].append(time.perf_counter() - started)
    for name, seconds in times.items():
        print(f"{name:<12} median {1000 * statistics.median(seconds):8.1f} ms per step")
    ratios = [t / s for t, s in zip(times["transferred"], times["stock"])]
    print(f"{'ratio':<12} median {statistics.median(ratios):8.3f}")


def make_batch(path: str, model: torch.nn.Module) -> AtomicDataDict.Type:
    types = model.type_names
    transforms = basic_transforms(model.metadata, float(model.metadata["r_max"]), types, {t: t for t in types})
    frames = []
    for atoms in ase.io.read(path, ":5"):
        frame = from_ase(atoms)
        for transform in transforms:
            frame = transform(frame)
        frames.append(frame)
    return AtomicDataDict.batched_from_list(frames)


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: AtomicDataDict.Type) -> None:
    out = model(batch)
    forces, reference = out[AtomicDataDict.FORCE_KEY], batch[AtomicDataDict.FORCE_KEY]
    loss = (forces - reference).square().mean() + out[AtomicDataDict.TOTAL_ENERGY_KEY].square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


if __name__ == "__main__":
    main()
