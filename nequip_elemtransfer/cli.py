"""The command ``nequip-elemtransfer``: argument parsing only.

Each subcommand is one ``_add_*`` function that declares its arguments and one ``_run_*`` function
that imports what it needs and calls it, so that ``--help`` stays fast.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .data import DEFAULT_SIZES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 after printing what was wrong with the input."""
    parser = argparse.ArgumentParser(
        prog="nequip-elemtransfer",
        description="Start a NequIP or Allegro model of one element from a model of another.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_inspect(commands)
    _add_data(commands)
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        print(f"nequip-elemtransfer: {error}", file=sys.stderr)
        return 2
    return 0


def _add_inspect(commands) -> None:
    inspect = commands.add_parser("inspect", help="show what a trained model offers as a source")
    inspect.add_argument("source", help=".ckpt or .nequip.zip file, or nequip.net:group/model:version")
    inspect.set_defaults(run=_run_inspect)


def _run_inspect(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.receipt import describe
    from nequip_elemtransfer.source import load_source

    print(describe(load_source(args.source)))


def _add_data(commands) -> None:
    data = commands.add_parser("data", help="make training sets of silicon and germanium")
    sources = data.add_subparsers(metavar="SOURCE", required=True)
    _add_sw(sources)
    _add_mlearn(sources)


def _add_sw(sources) -> None:
    sw = sources.add_parser(
        "sw",
        help="classical structures of Si and Ge in the Stillinger-Weber potential",
        description="Make classical structures of Si and Ge in the Stillinger-Weber potential "
        "(diamond, strained, vacancy, liquid) by Langevin dynamics and write them as extxyz, "
        "split into train, validation and test.",
    )
    _add_output_options(sw)
    sw.add_argument(
        "--frames", type=int, default=160, metavar="N", help="structures per element (default: 160)"
    )
    sw.add_argument(
        "--supercell", type=int, default=2, metavar="N", help="N*N*N cubic cells (default: 2)"
    )
    sw.add_argument(
        "--temperatures",
        nargs="+",
        type=float,
        default=[0.01, 0.03, 0.05],
        metavar="T",
        help="of the crystals, in units of epsilon/k_B, which is 25162 K for Si and 22397 K for "
        "Ge (default: 0.01 0.03 0.05)",
    )
    sw.add_argument(
        "--liquid-temperatures",
        nargs="+",
        type=float,
        default=[0.14, 0.17],
        metavar="T",
        help="of the liquid, same units (default: 0.14 0.17)",
    )
    sw.set_defaults(run=_run_sw)


def _run_sw(args: argparse.Namespace) -> None:
    from .data import stillinger_weber

    files = stillinger_weber.prepare(
        args.out,
        elements=args.elements,
        frames=args.frames,
        supercell=args.supercell,
        temperatures=args.temperatures,
        liquid_temperatures=args.liquid_temperatures,
        sizes=args.sizes,
        seed=args.seed,
        subset_seed=args.subset_seed,
        force=args.force,
    )
    _print_files(args.out, files)


def _add_mlearn(sources) -> None:
    mlearn = sources.add_parser(
        "mlearn",
        help="public DFT structures of Si and Ge",
        description="Get the public mlearn DFT structures (Zuo et al. 2020) and write them as "
        "extxyz, split into train, validation and test.",
    )
    _add_output_options(mlearn)
    mlearn.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="DIR",
        help="folder with Si/training.json and Ge/training.json (default: download)",
    )
    mlearn.set_defaults(run=_run_mlearn)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument("--elements", nargs="+", default=["Si", "Ge"], metavar="EL")
    parser.add_argument(
        "--sizes",
        nargs="*",
        type=int,
        default=list(DEFAULT_SIZES),
        metavar="N",
        help="also write El_train_N.xyz, the first N training structures (default: 5 10 25)",
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes the split (default: 0)")
    parser.add_argument(
        "--subset-seed",
        type=int,
        help="chooses the small training sets, hold-out unchanged (default: same as --seed)",
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def _run_mlearn(args: argparse.Namespace) -> None:
    from .data import mlearn

    files = mlearn.prepare(
        args.out,
        folder=args.folder,
        elements=args.elements,
        sizes=args.sizes,
        seed=args.seed,
        subset_seed=args.subset_seed,
        force=args.force,
    )
    _print_files(args.out, files)


def _print_files(out: Path, files: Mapping[str, Sequence]) -> None:
    for name, frames in files.items():
        print(f"{out / name}: {len(frames)} structures")
