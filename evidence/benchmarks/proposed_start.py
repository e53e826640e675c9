"""How good is the start that ``plan`` proposes for an element its source has never seen?

    python evidence/benchmarks/proposed_start.py data/emt runs/six_noAg/best.ckpt:Ag runs/six_noCu/best.ckpt:Cu ...

For each source and held-out metal, the starts are ranked on the 10 structures of ``METAL_train_10.xyz`` as ``plan``
does. Then every single-element map, and the proposal, is fitted (λ, α, μ) to the same 10 and tested on
``METAL_test.xyz``. No training.
"""

import argparse
from pathlib import Path

import ase.io

from nequip_elemtransfer.config import TransferConfig, start_text
from nequip_elemtransfer.plan.errors import label_error
from nequip_elemtransfer.plan.start.ranking import rank
from nequip_elemtransfer.plan.structures import N_FOLDS
from nequip_elemtransfer.source import SourceModel, load_source
from nequip_elemtransfer.structures.files import folds, to_frames
from nequip_elemtransfer.transfer.start import Start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sources", nargs="+", metavar="SOURCE.ckpt:METAL")
    args = parser.parse_args()
    within = [report(args.data, *item.rsplit(":", 1)) for item in args.sources]
    print(f"within 10 % of the best: {sum(within)} of {len(within)}")


def report(data: Path, path: str, metal: str) -> bool:
    """Print one line; whether the proposal is within 10 % of the best single-element map."""
    source = load_source(path)
    train, test = (ase.io.read(data / f"{metal}_{part}.xyz", ":") for part in ("train_10", "test"))
    start = start_from(source, metal, source.type_names[0], train)
    proposed = rank(start, folds(range(len(train)), N_FOLDS, 0), [metal])[0].start
    errors = {name: zero_shot_error(source, metal, name, train, test) for name in source.type_names}
    best = min(errors.values())
    error = errors[proposed] if isinstance(proposed, str) else zero_shot_error(source, metal, proposed, train, test)
    table = ", ".join(f"{name} {1000 * value:.1f}" for name, value in sorted(errors.items(), key=lambda item: item[1]))
    print(
        f"{metal}: proposed {start_text(proposed)}, {1000 * error:.1f} meV/Å, {error / best:.2f} of the best ({table})"
    )
    return error <= 1.1 * best


def start_from(source: SourceModel, metal: str, origin: str | dict[str, float], structures: list) -> Start:
    frames = to_frames(structures, [metal], [metal])
    return Start.of(TransferConfig(source.path, {metal: origin}), source, lambda r_max: frames)


def zero_shot_error(source: SourceModel, metal: str, origin: str | dict[str, float], train: list, test: list) -> float:
    """Force MAE on ``test`` in eV/Å of a start fitted to ``train``."""
    fitted, tried = (start_from(source, metal, origin, structures) for structures in (train, test))
    parts, labels = fitted.search.parts(fitted.scales), fitted.structures.labels
    alpha = fitted.energy_scales(parts, labels).scales
    shifts = fitted.energy_shifts(parts, labels, alpha).shifts
    held_out = tried.structures
    predicted = tried.target.parts_at(fitted.scales, held_out.frames).predicted(alpha, shifts)
    return label_error("forces", predicted, held_out.labels, held_out.counts).value


if __name__ == "__main__":
    main()
