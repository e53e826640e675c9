"""The command ``nequip-elemtransfer data``."""

import argparse
from pathlib import Path
from pkgutil import resolve_name

from nequip_elemtransfer.output.arguments import Commands, require_seed
from nequip_elemtransfer.output.processes import only_one


def add_data(commands: Commands) -> None:
    """Declare the command and its sources."""
    data = commands.add_parser("data", help="make training sets of silicon and germanium, of metals and of molecules")
    sources = data.add_subparsers(metavar="SOURCE", required=True)
    sw = _add_source(
        sources,
        "sw",
        "stillinger_weber:STILLINGER_WEBER.prepare",
        help="classical structures of Si and Ge in the Stillinger-Weber potential",
        description="Make classical structures of Si and Ge in the Stillinger-Weber potential "
        "(diamond, strained, vacancy, liquid) by Langevin dynamics and write them as extxyz, "
        "split into train, validation and test.",
        elements=["Si", "Ge"],
        of="Si, Ge or both",
    )
    _add_sampling_options(sw, atoms_per_cell=8, crystal=[0.01, 0.03, 0.05], liquid=[0.14, 0.17])
    emt = _add_source(
        sources,
        "emt",
        "emt:EMT_METALS.prepare",
        help="classical structures of fcc metals and alloys in effective medium theory",
        description="Make classical structures of Al, Cu, Ag, Au, Ni, Pd, Pt and their random alloys in ASE's "
        "effective medium theory (fcc, strained, vacancy, liquid) by Langevin dynamics and write them as extxyz, split "
        "into train, validation and test.",
        elements=["Cu", "Ag"],
        of="metals such as Cu, and alloys such as CuAu, each a data set of its own",
    )
    _add_sampling_options(emt, atoms_per_cell=4, crystal=[0.008, 0.016, 0.024], liquid=[0.045, 0.055])
    mlearn = _add_source(
        sources,
        "mlearn",
        "mlearn:MLEARN.prepare",
        help="public DFT structures of Si and Ge",
        description="Get the public mlearn DFT structures (Zuo et al. 2020) and write them as "
        "extxyz, split into train, validation and test.",
        elements=["Si", "Ge"],
        of="Si, Ge or both",
    )
    _add_local_copy(mlearn, "Si/training.json and Ge/training.json")
    nbmotaw = _add_source(
        sources,
        "nbmotaw",
        "nbmotaw:NBMOTAW.prepare",
        help="public DFT structures of Nb, Mo, Ta, W and two alloys",
        description="Get the public DFT structures of Mo, W, Nb, Ta and the alloys MoW and NbTa (Li et al. 2020) and "
        "write them as extxyz, split into train, validation and test.",
        elements=["Mo", "W"],
        of="of Mo, W, Nb, Ta, MoW and NbTa, each a data set of its own",
    )
    _add_local_copy(nbmotaw, "Mo_AIMD.json or Mo_AIMD.json.gz and so on")
    xtb = _add_source(
        sources,
        "xtb",
        "xtb:prepare",
        help="small molecules with labels of GFN2-xTB",
        description="Make structures of small molecules of Si, Ge, S, Se, Cl or Br with hydrogen and carbon by "
        "Langevin dynamics in GFN2-xTB and write them as extxyz: most molecules split into train, validation and test, "
        "the others in a file of their own.",
        elements=["Si", "Ge"],
        of="of Si, Ge, S, Se, Cl, Br, and CH for hydrocarbons, each a set of its own",
    )
    _add_molecule_options(xtb)


def _add_source(
    sources: Commands, name: str, prepare: str, *, help: str, description: str, elements: list[str], of: str
) -> argparse.ArgumentParser:
    """A source with the options that all have; ``prepare`` is the function in this package that makes its files."""
    parser = sources.add_parser(name, help=help, description=description)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--elements", nargs="+", default=elements, metavar="EL", help=f"{of} (default: {' '.join(elements)})"
    )
    parser.add_argument(
        "--sizes",
        nargs="*",
        type=int,
        default=[5, 10, 25],
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
    parser.set_defaults(run=_run, prepare=prepare, options=())
    return parser


def _add_local_copy(parser: argparse.ArgumentParser, files: str) -> None:
    parser.add_argument(
        "--from", dest="folder", type=Path, metavar="DIR", help=f"folder with {files} (default: download)"
    )
    parser.set_defaults(options=("folder",))


def _add_sampling_options(
    parser: argparse.ArgumentParser, atoms_per_cell: int, crystal: list[float], liquid: list[float]
) -> None:
    _add_frames(parser, 160)
    cells = f"N*N*N cubic cells of {atoms_per_cell} atoms (default: 2)"
    parser.add_argument("--supercell", type=int, default=2, metavar="N", help=cells)
    reduced = "in units of epsilon/k_B, see the docs"
    _add_temperatures(parser, "--temperatures", crystal, f"of the crystals, {reduced}")
    _add_temperatures(parser, "--liquid-temperatures", liquid, f"of the liquid, {reduced}")
    parser.set_defaults(options=("frames", "supercell", "temperatures", "liquid_temperatures"))


def _add_molecule_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--smiles",
        type=Path,
        metavar="FILE",
        help="molecules of your own, a line `SMILES NAME GROUP` for each, in which {X} stands for each of --elements",
    )
    _add_frames(parser, 320)
    _add_temperatures(parser, "--temperatures", [300.0, 600.0], "of the dynamics, in K")
    parser.set_defaults(options=("smiles", "frames", "temperatures"))


def _add_frames(parser: argparse.ArgumentParser, default: int) -> None:
    text = f"structures of each set (default: {default})"
    parser.add_argument("--frames", type=int, default=default, metavar="N", help=text)


def _add_temperatures(parser: argparse.ArgumentParser, option: str, default: list[float], text: str) -> None:
    text += f" (default: {' '.join(f'{t:g}' for t in default)})"
    parser.add_argument(option, nargs="+", type=float, default=default, metavar="T", help=text)


def _run(args: argparse.Namespace) -> None:
    """Make the files of one source, alone in their folder, and say what is in them."""
    from nequip_elemtransfer.data.split import Division

    require_seed("--seed", args.seed)
    require_seed("--subset-seed", args.subset_seed)
    prepare = resolve_name(f"nequip_elemtransfer.data.{args.prepare}")
    options = {name: getattr(args, name) for name in args.options}
    division = Division(tuple(args.sizes), args.seed, args.subset_seed)
    with only_one(args.out, "another `nequip-elemtransfer data`"):
        files = prepare(args.out, systems=args.elements, division=division, force=args.force, **options)
    for name, frames in files.items():
        print(f"{args.out / name}: {len(frames)} structures")
