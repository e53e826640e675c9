"""The command ``nequip-elemtransfer data``."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from nequip_elemtransfer.data import DEFAULT_SIZES
from nequip_elemtransfer.output.arguments import require_seed
from nequip_elemtransfer.output.locks import only_one


def add_data(commands) -> None:
    """Declare the command and its sources."""
    data = commands.add_parser("data", help="make training sets of silicon and germanium, and of metals")
    sources = data.add_subparsers(metavar="SOURCE", required=True)
    _add_sw(sources)
    _add_emt(sources)
    _add_mlearn(sources)


def _add_sw(sources) -> None:
    sw = sources.add_parser(
        "sw",
        help="classical structures of Si and Ge in the Stillinger-Weber potential",
        description="Make classical structures of Si and Ge in the Stillinger-Weber potential "
        "(diamond, strained, vacancy, liquid) by Langevin dynamics and write them as extxyz, "
        "split into train, validation and test.",
    )
    _add_output_options(sw, ["Si", "Ge"], "Si, Ge or both")
    _add_sampling_options(sw, atoms_per_cell=8, crystal=[0.01, 0.03, 0.05], liquid=[0.14, 0.17])
    sw.set_defaults(run=_run_sw)


def _run_sw(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.data import stillinger_weber

    with _only_one_data(args.out):
        files = stillinger_weber.prepare(args.out, elements=args.elements, **_sampling(args), **_output(args))
    _print_files(args.out, files)


def _add_emt(sources) -> None:
    emt = sources.add_parser(
        "emt",
        help="classical structures of fcc metals and alloys in effective medium theory",
        description="Make classical structures of Al, Cu, Ag, Au, Ni, Pd, Pt and their random alloys in ASE's "
        "effective medium theory (fcc, strained, vacancy, liquid) by Langevin dynamics and write them as extxyz, split "
        "into train, validation and test.",
    )
    _add_output_options(emt, ["Cu", "Ag"], "metals such as Cu, and alloys such as CuAu, each a data set of its own")
    _add_sampling_options(emt, atoms_per_cell=4, crystal=[0.008, 0.016, 0.024], liquid=[0.045, 0.055])
    emt.set_defaults(run=_run_emt)


def _run_emt(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.data import emt

    with _only_one_data(args.out):
        files = emt.prepare(args.out, systems=args.elements, **_sampling(args), **_output(args))
    _print_files(args.out, files)


def _add_mlearn(sources) -> None:
    mlearn = sources.add_parser(
        "mlearn",
        help="public DFT structures of Si and Ge",
        description="Get the public mlearn DFT structures (Zuo et al. 2020) and write them as "
        "extxyz, split into train, validation and test.",
    )
    _add_output_options(mlearn, ["Si", "Ge"], "Si, Ge or both")
    mlearn.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="DIR",
        help="folder with Si/training.json and Ge/training.json (default: download)",
    )
    mlearn.set_defaults(run=_run_mlearn)


def _add_sampling_options(
    parser: argparse.ArgumentParser, atoms_per_cell: int, crystal: list[float], liquid: list[float]
) -> None:
    parser.add_argument("--frames", type=int, default=160, metavar="N", help="structures of each set (default: 160)")
    parser.add_argument(
        "--supercell",
        type=int,
        default=2,
        metavar="N",
        help=f"N*N*N cubic cells of {atoms_per_cell} atoms (default: 2)",
    )
    for name, default, of in (("temperatures", crystal, "crystals"), ("liquid-temperatures", liquid, "liquid")):
        parser.add_argument(
            f"--{name}",
            nargs="+",
            type=float,
            default=default,
            metavar="T",
            help=f"of the {of}, in units of epsilon/k_B, see the docs (default: {' '.join(map(str, default))})",
        )


def _sampling(args: argparse.Namespace) -> dict[str, Any]:
    names = ("frames", "supercell", "temperatures", "liquid_temperatures")
    return {name: getattr(args, name) for name in names}


def _output(args: argparse.Namespace) -> dict[str, Any]:
    require_seed("--seed", args.seed)
    require_seed("--subset-seed", args.subset_seed)
    return {name: getattr(args, name) for name in ("sizes", "seed", "subset_seed", "force")}


def _add_output_options(parser: argparse.ArgumentParser, elements: list[str], what: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--elements", nargs="+", default=elements, metavar="EL", help=f"{what} (default: {' '.join(elements)})"
    )
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
    from nequip_elemtransfer.data import mlearn

    with _only_one_data(args.out):
        files = mlearn.prepare(args.out, folder=args.folder, elements=args.elements, **_output(args))
    _print_files(args.out, files)


def _only_one_data(out: Path) -> AbstractContextManager:
    return only_one(out, "another `nequip-elemtransfer data`")


def _print_files(out: Path, files: Mapping[str, Sequence]) -> None:
    for name, frames in files.items():
        print(f"{out / name}: {len(frames)} structures")
