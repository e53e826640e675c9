"""The command ``nequip-elemtransfer candidates``."""

import argparse
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.arguments import add_element_options, pairs, parse_lengths, parse_start
from nequip_elemtransfer.output.atomic import require_writable
from nequip_elemtransfer.output.paths import require_source
from nequip_elemtransfer.structures.specs import require_structures


def add_candidates(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "candidates",
        help="make structures of a target before there are labels",
        description="Make structures of the target from those of the source: in corresponding states, strained, "
        "rattled, with vacancies and surfaces, and from short molecular dynamics of a model. No labels are needed.",
    )
    command.add_argument("structures", metavar="SOURCE_STRUCTURES", help="of the source, any file that ASE reads")
    add_element_options(command)
    command.add_argument("--out", type=Path, required=True, metavar="FILE.xyz", help="extended XYZ file to write")
    command.add_argument("--number", type=int, default=20, metavar="N", help="structures of each kind (default: 20)")
    command.add_argument(
        "--kinds",
        nargs="+",
        metavar="KIND",
        help="of corresponding, strained, rattled, vacancy, surface (default: all)",
    )
    command.add_argument("--strain", type=float, default=0.05, metavar="X", help="largest component (default: 0.05)")
    command.add_argument(
        "--rattle", type=float, default=0.04, metavar="X", help="of the nearest-neighbour distance (default: 0.04)"
    )
    command.add_argument(
        "--crystal", metavar="STRUCTURE:FORMULA:A", help="of the target, as diamond:Ge:5.76: its cells and surfaces too"
    )
    command.add_argument("--supercell", type=int, default=2, metavar="N", help="of the crystal (default: 2)")
    _add_dynamics_options(command)
    command.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    command.add_argument("--force", action="store_true", help="replace FILE.xyz if it exists")
    command.set_defaults(run=_run_candidates)


def _add_dynamics_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        metavar="FILE",
        help="for molecular dynamics: the source, transferred without any fit, or a model of just the target's types",
    )
    command.add_argument("--temperatures", nargs="+", type=float, metavar="T", help="of the dynamics, K")
    command.add_argument(
        "--pressures", nargs="+", type=float, default=[], metavar="P", help="GPa (default: constant volume)"
    )
    command.add_argument("--time", type=float, default=1.0, metavar="PS", help="of each simulation, ps (default: 1)")
    command.add_argument("--timestep", type=float, default=2.0, metavar="FS", help="fs (default: 2)")
    command.add_argument("--snapshots", type=int, default=5, metavar="N", help="of each simulation (default: 5)")
    command.add_argument(
        "--beginnings", type=int, default=2, metavar="N", help="structures that simulations begin with (default: 2)"
    )
    command.add_argument(
        "--energy-scale", type=float, default=1.0, metavar="X", help="α of a transferred source (default: 1)"
    )


def _run_candidates(args: argparse.Namespace) -> None:
    require_structures(args.structures)
    if args.model is not None:
        require_source(args.model)
    require_writable(args.out, args.force)
    from nequip_elemtransfer.candidates.generation import KINDS, CandidateSettings, make_candidates, write_candidates
    from nequip_elemtransfer.candidates.trajectories import Dynamics
    from nequip_elemtransfer.materials.crystal import parse_crystal
    from nequip_elemtransfer.transfer.start import unlabelled_config

    settings = CandidateSettings(
        number=args.number,
        kinds=tuple(args.kinds or KINDS),
        largest_strain=args.strain,
        rattle=args.rattle,
        crystal=None if args.crystal is None else parse_crystal(args.crystal),
        supercell=args.supercell,
        seed=args.seed,
    )
    if (args.model is None) != (args.temperatures is None):
        raise ValueError("molecular dynamics needs both --model and --temperatures: give both, or neither.")
    dynamics = None
    if args.model is not None:
        dynamics = Dynamics(
            args.model,
            tuple(args.temperatures),
            tuple(args.pressures),
            args.time,
            args.timestep,
            args.snapshots,
            args.beginnings,
            args.energy_scale,
        )
    config = unlabelled_config(
        args.structures,
        pairs("--elements", args.elements, parse_start),
        parse_lengths(args.length_scale),
        pairs("--chemical-species", args.chemical_species, str),
    )
    found = make_candidates(args.structures, config, settings, dynamics, progress=True)
    write_candidates(found, args.out, force=args.force)
    counts = ", ".join(f"{number} {kind}" for kind, number in found.counts.items())
    print(f"{args.out}: {len(found.structures)} structures ({counts})", *found.notes, sep="\n")
