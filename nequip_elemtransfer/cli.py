"""The command ``nequip-elemtransfer``: argument parsing only.

Each subcommand is one ``_add_*`` function that declares its arguments and one ``_run_*`` function
that imports what it needs and calls it, so that ``--help`` stays fast.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .data import DEFAULT_SIZES
from .legacy.cli import add_import


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 if a run of a study failed, or 2 after printing what was wrong with the input."""
    parser = argparse.ArgumentParser(
        prog="nequip-elemtransfer",
        description="Start a NequIP or Allegro model of one element from a model of another.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_inspect(commands)
    _add_plan(commands)
    _add_data(commands)
    _add_study(commands)
    add_import(commands)
    args = parser.parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"nequip-elemtransfer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nequip-elemtransfer: stopped.", file=sys.stderr)
        return 130


def _add_inspect(commands) -> None:
    inspect = commands.add_parser("inspect", help="show what a trained model offers as a source")
    inspect.add_argument("source", help=".ckpt or .nequip.zip file, or nequip.net:group/model:version")
    inspect.set_defaults(run=_run_inspect)


def _run_inspect(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.receipt import describe
    from nequip_elemtransfer.source import load_source

    print(describe(load_source(args.source)))


def _add_plan(commands) -> None:
    plan = commands.add_parser(
        "plan",
        help="say before any training what a transfer will do",
        description="Say before any training what a transfer from SOURCE to the structures in DATA will do, and write "
        "a config that carries it out.",
    )
    plan.add_argument("source", help=".ckpt or .nequip.zip file, or nequip.net:group/model:version")
    plan.add_argument("data", help="labelled structures of the target, in any format that ASE reads")
    plan.add_argument(
        "--elements",
        nargs="+",
        default=[],
        metavar="TARGET=START",
        help="where target types start, as in Ge=Si, Ge=Si:0.5,Sn:0.5 or Ge=auto; a start is proposed for the rest",
    )
    plan.add_argument(
        "--chemical-species", nargs="+", default=[], metavar="TYPE=ELEMENT", help="types not named after their element"
    )
    plan.add_argument("--source-data", metavar="FILE", help="structures the source was trained on")
    plan.add_argument(
        "--lattice-ratio",
        type=float,
        metavar="X",
        help="target's lattice constant over the source's, to compare λ with",
    )
    plan.add_argument("--out", type=Path, metavar="DIR", help="folder for train.yaml, report.html and report.json")
    plan.add_argument("--fit", action="store_true", help="train.yaml fits λ, α and μ again")
    plan.add_argument("--force", action="store_true", help="replace files that exist")
    plan.add_argument(
        "--max-structures",
        type=int,
        default=60,
        metavar="N",
        help="run at most N structures, evenly spaced, through the model (default: 60)",
    )
    plan.add_argument("--seed", type=int, default=0, help="of the parts that are held out (default: 0)")
    plan.set_defaults(run=_run_plan)


def _run_plan(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.extras import require_plan

    require_plan()
    from nequip_elemtransfer.plan import planning, write
    from nequip_elemtransfer.plan.summary import summary

    if args.out is not None:
        write.check_folder(args.out, force=args.force)
    plan = planning.plan(
        args.source,
        args.data,
        elements=_pairs("--elements", args.elements, _start),
        chemical_species=_pairs("--chemical-species", args.chemical_species, str),
        source_data=args.source_data,
        lattice_ratio=args.lattice_ratio,
        max_structures=args.max_structures,
        seed=args.seed,
        progress=True,
    )
    if args.out is not None:
        write.write_plan(plan, args.out, fit=args.fit, force=args.force)
    print(summary(plan))
    if args.out is not None:
        print(f"\nWrote train.yaml, report.json and report.html to {args.out}. Train with")
        print(f"  nequip-train -cp {args.out.resolve()} -cn train")


def _pairs(option: str, items: Sequence[str], parse: Callable[[str], Any]) -> dict[str, Any]:
    """``["Ge=Si", ...]`` as a dict.

    Raises:
        ValueError: if an item has no ``=``, or a name comes twice
    """
    found: dict[str, Any] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{option} takes pairs such as Ge=Si, found {item!r}.")
        if name in found:
            raise ValueError(f"{option} names {name!r} twice: give each type once.")
        found[name] = parse(value)
    return found


def _start(text: str) -> str | dict[str, float]:
    """``Si``, or ``Si:0.5,Sn:0.5`` as weights."""
    if ":" not in text:
        return text
    weights = {}
    for part in text.split(","):
        name, _, weight = part.partition(":")
        try:
            weights[name] = float(weight)
        except ValueError:
            raise ValueError(f"a blend is written as Si:0.5,Sn:0.5, found {text!r}.") from None
    return weights


def _add_data(commands) -> None:
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
    from .data import stillinger_weber

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
    from .data import emt

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
    from .data import mlearn

    files = mlearn.prepare(args.out, folder=args.folder, elements=args.elements, **_output(args))
    _print_files(args.out, files)


def _add_study(commands) -> None:
    study = commands.add_parser("study", help="compare starts by a grid of trainings")
    steps = study.add_subparsers(metavar="STEP", required=True)
    run = steps.add_parser(
        "run",
        help="run the grid of CONFIG and report",
        description="Run the trainings of the study CONFIG that are not finished yet, and write the report. The same "
        "command continues a study that was interrupted.",
    )
    run.add_argument("config", type=Path, metavar="CONFIG", help="YAML file of a study")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the study")
    run.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time (default: 1)")
    run.add_argument("--prepare", action="store_true", help="write structures and configs only, for Hydra's launchers")
    run.set_defaults(run=_run_study)
    report = steps.add_parser("report", help="write report.html, report.json and PNG files of what is finished")
    report.add_argument("out", type=Path, metavar="DIR", help="folder of a study")
    report.set_defaults(run=_report_study)


def _run_study(args: argparse.Namespace) -> int:
    from nequip_elemtransfer.study import study
    from nequip_elemtransfer.study.report import write_report  # here, so that a missing library is met before training

    if args.prepare:
        grid = study.prepare(args.config, args.out)
        print(f"{len(grid.runs)} runs are ready in {args.out}. Run them with\n  {study.multirun_command(args.out)}")
        return 0
    outcome = study.run(args.config, args.out, jobs=args.jobs, progress=True)
    print(
        f"{len(outcome.finished)} tasks finished, {len(outcome.failed)} failed, {len(outcome.skipped)} could not start"
    )
    for task in outcome.failed:
        print(f"  failed: {task.name} (its log: {task.log})")
    _print_paths(write_report(args.out))
    return 1 if outcome.failed else 0


def _report_study(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.study.report import write_report

    _print_paths(write_report(args.out))


def _print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        print(path)


def _print_files(out: Path, files: Mapping[str, Sequence]) -> None:
    for name, frames in files.items():
        print(f"{out / name}: {len(frames)} structures")
