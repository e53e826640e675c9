"""The command ``nequip-elemtransfer label``."""

import argparse
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.atomic import require_writable
from nequip_elemtransfer.output.paths import require_calculators
from nequip_elemtransfer.structures.specs import require_structures

_SHOWN = 20  # failures that the terminal shows


def add_label(commands: Any) -> None:
    """Declare the command."""
    label = commands.add_parser(
        "label",
        help="label structures by any ASE calculator",
        description="Write STRUCTURES with the energies, forces and stresses of a calculator, such as a foundation "
        "model that is to teach. The same command goes on where a killed one stopped.",
    )
    label.add_argument("structures", metavar="STRUCTURES", help="any file that ASE reads; labels in it are ignored")
    label.add_argument(
        "--calculator",
        required=True,
        metavar="FILE.yaml",
        help="an ASE calculator, as in {_target_: ase.calculators.emt.EMT} with its arguments",
    )
    label.add_argument("--out", type=Path, required=True, metavar="OUT.xyz", help="extended XYZ file to write")
    label.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time (default: 1)")
    label.add_argument("--time-limit", type=float, metavar="S", help="seconds that one structure may take")
    label.add_argument("--retry", action="store_true", help="try again what failed before")
    label.add_argument("--force", action="store_true", help="replace OUT.xyz if it exists")
    label.set_defaults(run=_run_label)


def _run_label(args: argparse.Namespace) -> None:
    require_structures(args.structures)
    require_calculators(args.calculator)
    require_writable(args.out, args.force)
    from nequip_elemtransfer.labelling.labelling import label_structures

    result = label_structures(
        args.structures,
        args.calculator,
        args.out,
        jobs=args.jobs,
        time_limit=args.time_limit,
        retry=args.retry,
        force=args.force,
        progress=True,
    )
    for sentence in result.said:
        print(sentence)
    print(f"{args.out}: {result.labelled} structures")
    if result.without_stress:
        print(f"The calculator has no stress of {result.without_stress} of them.")
    for place, reason in list(result.failed.items())[:_SHOWN]:
        print(f"  structure {place} is left out: {reason}")
    if len(result.failed) > _SHOWN:
        print(f"  and {len(result.failed) - _SHOWN} more")
    if result.journal:
        print(f"The reasons are in {result.journal}; --retry --force tries these structures again.")
