"""Do 10 selected structures fit a better start than 10 drawn at random?

    python evidence/benchmarks/selection.py runs/mlearn_si/best.ckpt data/mlearn/Ge_train.xyz data/mlearn/Ge_val.xyz \
        --elements Ge=Si --number 10 --draws 10 --out subsets

Each set is fitted (λ, α, μ, no training) as `plan` fits, and tried on the held-out file. Printed: mean and largest
force error, energy error and stress error, of the selected set and of the draws. With --out the sets are written as
``selected_POOLING.xyz`` and ``random_SEED.xyz``, which a study trains on by
``structures: {train: subsets/random_{seed}.xyz}``.
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from tqdm.auto import tqdm

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.output.arguments import pairs, parse_lengths, parse_start
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.plan.errors import label_error
from nequip_elemtransfer.selection.selecting import POOLINGS, select_structures
from nequip_elemtransfer.source import SourceModel, load_source
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.transfer.start import Start, unlabelled_config

COLUMNS = ("λ", "force MAE", "largest force error", "energy MAE", "largest energy error", "stress MAE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("pool", help="labelled structures to choose from")
    parser.add_argument("held_out", help="labelled structures to try on")
    parser.add_argument("--elements", nargs="+", required=True)
    parser.add_argument("--length-scale", nargs="+", default=["covalent_radii"], help="of the selection's features")
    parser.add_argument("--number", type=int, default=10)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--out", type=Path, help="folder for the sets")
    args = parser.parse_args()
    elements = pairs("--elements", args.elements, parse_start)
    source, pool = load_source(args.source), ase.io.read(args.pool, ":")
    held_out = ase.io.read(args.held_out, ":")
    sets, config = {}, unlabelled_config(args.source, elements, parse_lengths(args.length_scale))
    for pooling in POOLINGS:
        chosen = select_structures(args.pool, config, args.number, pooling=pooling).chosen
        sets[f"selected_{pooling.replace('+', '_')}"] = chosen
    for seed in range(args.draws):
        drawn = np.random.default_rng(seed).choice(len(pool), args.number, replace=False)
        sets[f"random_{seed}"] = drawn.tolist()
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        with written_together([args.out / f"{name}.xyz" for name in sets], force=False) as paths:
            for path, chosen in zip(paths, sets.values()):
                ase.io.write(path, [pool[i] for i in chosen], format="extxyz")
    errors = {
        name: start_errors(source, elements, [pool[i] for i in chosen], held_out)
        for name, chosen in tqdm(sets.items(), leave=False)
    }
    report(errors)


def start_errors(source: SourceModel, elements: dict, train: list[Atoms], held_out: list[Atoms]) -> list[float]:
    """λ, and in meV and Å the errors on ``held_out``, of a start fitted to ``train``."""
    fitted, tried = (start_on(source, elements, structures) for structures in (train, held_out))
    scales, own, others = fitted.scales, fitted.structures, tried.structures
    parts = fitted.search.parts(scales)
    alpha = fitted.energy_scales(parts, own.labels).scales
    shifts = fitted.energy_shifts(parts, own.labels, alpha).shifts
    predicted = tried.target.parts_at(scales, others.frames).predicted(alpha, shifts)
    mean = {kind: label_error(kind, predicted, others.labels, others.counts).value for kind in others.labels.kinds}
    per_atom = (predicted.energies - others.labels.energies) / others.counts.sum(axis=1)
    return [
        float(scales[0]),
        1000 * mean["forces"],
        1000 * float(np.nanmax(np.abs(predicted.forces - others.labels.forces))),
        1000 * mean["energy"],
        1000 * float(np.nanmax(np.abs(per_atom))),
        1000 * mean.get("stress", np.nan),
    ]


def start_on(source: SourceModel, elements: dict, structures: list[Atoms]) -> Start:
    frames = to_frames(structures, list(elements), list(elements))
    return Start.of(TransferConfig(source.path, elements), source, lambda r_max: frames, most_searched=len(frames))


def report(errors: dict[str, list[float]]) -> None:
    print(f"{'':22}" + "".join(f"{name:>22}" for name in COLUMNS))
    random = np.array([row for name, row in errors.items() if name.startswith("random")])
    rows = {name: row for name, row in errors.items() if not name.startswith("random")}
    rows |= {"random, median": np.median(random, axis=0)}
    rows |= {"random, lowest": random.min(axis=0), "random, highest": random.max(axis=0)}
    for name, row in rows.items():
        print(f"{name:22}" + "".join(f"{value:22.4g}" for value in row))


if __name__ == "__main__":
    main()
