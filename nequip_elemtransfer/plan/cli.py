"""The command ``nequip-elemtransfer plan``."""

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from nequip_elemtransfer.config import KEPT_TYPES
from nequip_elemtransfer.optional_packages import require_plan
from nequip_elemtransfer.output.arguments import add_crystal_options, pairs, parse_number, parse_start, require_seed
from nequip_elemtransfer.output.atomic import require_folder
from nequip_elemtransfer.output.paths import require_calculators, require_source
from nequip_elemtransfer.output.processes import only_one
from nequip_elemtransfer.structures.options import add_data_options, data_options
from nequip_elemtransfer.structures.specs import require_structures

NO_SOURCE = "none"
_OF_A_SOURCE = (
    "--elements",
    "--chemical-species",
    "--kept-types",
    "--source-data",
    "--crystal",
    "--reference",
    "--lattice-ratio",
    "--fit",
    "--hold-back",
)


def add_plan(commands: Any) -> None:
    """Declare the command."""
    plan = commands.add_parser(
        "plan",
        help="say before any training what a transfer will do",
        description="Say before any training what a transfer from SOURCE to the structures in DATA will do, and write "
        "a config that carries it out.",
    )
    plan.add_argument(
        "source",
        help=".ckpt or .nequip.zip file, or nequip.net:group/model:version; none, to set the calculators of --compare "
        "beside the data and each other only",
    )
    plan.add_argument("data", help="labelled structures of the target, in any format that ASE reads")
    add_transfer_options(plan)
    add_crystal_options(plan)
    plan.add_argument(
        "--lattice-ratio",
        type=float,
        metavar="X",
        help="target's lattice constant over the source's, to compare λ with",
    )
    plan.add_argument(
        "--compare",
        nargs="+",
        default=[],
        metavar="NAME=FILE.yaml",
        help="ASE calculators to set beside the start, as {_target_: ase.calculators.emt.EMT} with arguments",
    )
    plan.add_argument("--out", type=Path, metavar="DIR", help="folder for train.yaml, report.html and report.json")
    plan.add_argument("--fit", action="store_true", help="train.yaml fits λ, α and μ again")
    plan.add_argument(
        "--hold-back",
        type=int,
        metavar="N",
        help="structures that train.yaml sets aside to validate on (default: none of fewer than 30, else a tenth)",
    )
    plan.add_argument("--force", action="store_true", help="replace files that exist")
    plan.add_argument(
        "--max-structures",
        type=int,
        default=40,
        metavar="N",
        help="run at most N structures, evenly spaced, through the model (default: 40)",
    )
    plan.add_argument("--seed", type=int, default=0, help="of the parts that are held out (default: 0)")
    plan.set_defaults(run=_run_plan)


def add_transfer_options(parser: argparse.ArgumentParser) -> None:
    """Declare what is asked of a transfer to labelled structures, by ``plan`` and ``race``."""
    parser.add_argument(
        "--elements",
        nargs="+",
        default=[],
        metavar="TARGET=START",
        help="where target types start, as in Ge=Si, Ge=Si:0.5,Sn:0.5 or Ge=auto; a start is proposed for the rest",
    )
    parser.add_argument(
        "--chemical-species", nargs="+", default=[], metavar="TYPE=ELEMENT", help="types not named after their element"
    )
    parser.add_argument(
        "--kept-types",
        choices=KEPT_TYPES,
        help="types that keep their name stay as they are in the source (frozen, the default), or are fitted as any "
        "other, for the same element by another method or code",
    )
    parser.add_argument("--source-data", metavar="FILE", help="structures the source was trained on")
    add_data_options(parser)


def transfer_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of :class:`.options.PlanOptions` that :func:`add_transfer_options` declared.

    Raises:
        ValueError: one is written otherwise, or contradicts another
    """
    return {
        "elements": pairs("--elements", args.elements, parse_start),
        "chemical_species": pairs("--chemical-species", args.chemical_species, str),
        "kept_types": args.kept_types or KEPT_TYPES[0],
        "source_data": args.source_data,
        "data": data_options(args),
    }


def _run_plan(args: argparse.Namespace) -> None:
    require_seed("--seed", args.seed)
    if args.source == NO_SOURCE:
        _refuse_options_of_a_source(args)
    else:
        require_source(args.source)
    require_structures(args.data, args.source_data)
    require_calculators(*pairs("--compare", args.compare, str).values())
    require_plan()
    with nullcontext() if args.out is None else _only_one_plan(args.out, args.force):
        _make(args)


def _refuse_options_of_a_source(args: argparse.Namespace) -> None:
    given = [o for o in _OF_A_SOURCE if getattr(args, o.strip("-").replace("-", "_")) not in (None, False, [])]
    if given:
        raise ValueError(f"without a source, {', '.join(given)} mean nothing: leave them out, or name a source.")
    if not args.compare:
        raise ValueError("without a source there is nothing to do but --compare NAME=FILE.yaml: name a calculator.")


def _only_one_plan(out: Path, force: bool) -> AbstractContextManager:
    """What is wrong with ``--out`` is refused before the work is done."""
    from nequip_elemtransfer.plan.report.write import COPIES, NAMES

    require_folder(out, (*NAMES, *COPIES), force=force)
    return only_one(out, "another `nequip-elemtransfer plan`")


def _make(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.plan.making import PlanOptions, compare_alone, plan
    from nequip_elemtransfer.plan.report.summary import calculators_summary, summary
    from nequip_elemtransfer.plan.report.write import write_calculators, write_plan

    options = PlanOptions(
        **transfer_options(args),
        crystal=args.crystal,
        references=pairs("--reference", args.reference, parse_number),
        lattice_ratio=args.lattice_ratio,
        compare=pairs("--compare", args.compare, str),
        max_structures=args.max_structures,
        held_back=args.hold_back,
        seed=args.seed,
        progress=True,
    )
    if args.source == NO_SOURCE:
        found = compare_alone(args.data, options)
        if args.out is not None:
            write_calculators(found, args.out, force=args.force)
        print(calculators_summary(found))
        if args.out is not None:
            print(f"\nWrote report.json and report.html to {args.out}.")
        return
    made = plan(args.source, args.data, options)
    if args.out is not None:
        write_plan(made, args.out, fit=args.fit, force=args.force)
    print(summary(made))
    if args.out is not None:
        print(f"\nWrote train.yaml, report.json and report.html to {args.out}. Train with")
        print(f"  nequip-train -cp {args.out.resolve()} -cn train")
