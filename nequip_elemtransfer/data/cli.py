"""The command ``nequip-elemtransfer data``."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nequip_elemtransfer.data import DEFAULT_SIZES
from nequip_elemtransfer.output.arguments import require_seed
from nequip_elemtransfer.output.locks import only_one


def add_data(commands) -> None:
    """Declare the command and its sources."""
    data = commands.add_parser("data", help="make training sets of silicon and germanium, of metals and of molecules")
    sources = data.add_subparsers(metavar="SOURCE", required=True)
    _add_sw(sources)
    _add_emt(sources)
    _add_mlearn(sources)
    _add_nbmotaw(sources)
    _add_xtb(sources)


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
    from nequip_elemtransfer.data.stillinger_weber import STILLINGER_WEBER

    _write(args, STILLINGER_WEBER.prepare, systems=args.elements, **_sampling(args))


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
    from nequip_elemtransfer.data.emt import EMT_METALS

    _write(args, EMT_METALS.prepare, systems=args.elements, **_sampling(args))


def _add_mlearn(sources) -> None:
    mlearn = sources.add_parser(
        "mlearn",
        help="public DFT structures of Si and Ge",
        description="Get the public mlearn DFT structures (Zuo et al. 2020) and write them as "
        "extxyz, split into train, validation and test.",
    )
    _add_output_options(mlearn, ["Si", "Ge"], "Si, Ge or both")
    _add_local_copy(mlearn, "Si/training.json and Ge/training.json")
    mlearn.set_defaults(run=_run_mlearn)


def _run_mlearn(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.data.mlearn import MLEARN

    _write(args, MLEARN.prepare, folder=args.folder, systems=args.elements)


def _add_nbmotaw(sources) -> None:
    nbmotaw = sources.add_parser(
        "nbmotaw",
        help="public DFT structures of Nb, Mo, Ta, W and two alloys",
        description="Get the public DFT structures of Mo, W, Nb, Ta and the alloys MoW and NbTa (Li et al. 2020) and "
        "write them as extxyz, split into train, validation and test.",
    )
    _add_output_options(nbmotaw, ["Mo", "W"], "of Mo, W, Nb, Ta, MoW and NbTa, each a data set of its own")
    _add_local_copy(nbmotaw, "Mo_AIMD.json or Mo_AIMD.json.gz and so on")
    nbmotaw.set_defaults(run=_run_nbmotaw)


def _run_nbmotaw(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.data.nbmotaw import NBMOTAW

    _write(args, NBMOTAW.prepare, folder=args.folder, systems=args.elements)


def _add_xtb(sources) -> None:
    xtb = sources.add_parser(
        "xtb",
        help="small molecules with labels of GFN2-xTB",
        description="Make structures of small molecules of Si, Ge, S, Se, Cl or Br with hydrogen and carbon by "
        "Langevin dynamics in GFN2-xTB and write them as extxyz: most molecules split into train, validation and test, "
        "the others in a file of their own.",
    )
    _add_output_options(xtb, ["Si", "Ge"], "of Si, Ge, S, Se, Cl, Br, and CH for hydrocarbons, each a set of its own")
    xtb.add_argument(
        "--smiles",
        type=Path,
        metavar="FILE",
        help="molecules of your own, a line `SMILES NAME GROUP` for each, in which {X} stands for each of --elements",
    )
    xtb.add_argument("--frames", type=int, default=320, metavar="N", help="structures of each set (default: 320)")
    xtb.add_argument(
        "--temperatures",
        nargs="+",
        type=float,
        default=[300.0, 600.0],
        metavar="T",
        help="of the dynamics, in K (default: 300 600)",
    )
    xtb.set_defaults(run=_run_xtb)


def _run_xtb(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.data import xtb

    options = {name: getattr(args, name) for name in ("smiles", "frames", "temperatures")}
    _write(args, xtb.prepare, systems=args.elements, **options)


def _add_local_copy(parser: argparse.ArgumentParser, files: str) -> None:
    parser.add_argument(
        "--from", dest="folder", type=Path, metavar="DIR", help=f"folder with {files} (default: download)"
    )


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


def _write(args: argparse.Namespace, prepare: Callable[..., Mapping[str, Sequence]], **options: Any) -> None:
    """Make the files of one source, alone in their folder, and say what is in them."""
    require_seed("--seed", args.seed)
    require_seed("--subset-seed", args.subset_seed)
    output = {name: getattr(args, name) for name in ("sizes", "seed", "subset_seed", "force")}
    with only_one(args.out, "another `nequip-elemtransfer data`"):
        files = prepare(args.out, **options, **output)
    for name, frames in files.items():
        print(f"{args.out / name}: {len(frames)} structures")
