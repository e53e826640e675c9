"""The command ``nequip-elemtransfer inspect``."""

import argparse
from typing import Any

from nequip_elemtransfer.output.arguments import add_crystal_options, pairs, parse_number
from nequip_elemtransfer.structures.options import add_data_options, data_options


def add_inspect(commands: Any) -> None:
    """Declare the command."""
    inspect = commands.add_parser("inspect", help="show what a trained model offers as a source")
    inspect.add_argument("source", help=".ckpt or .nequip.zip file, or nequip.net:group/model:version")
    inspect.add_argument("--data", metavar="FILE", help="labelled structures of the source's elements, for its errors")
    add_data_options(inspect)
    add_crystal_options(inspect)
    inspect.set_defaults(run=_run_inspect)


def _run_inspect(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.source import load_source

    references = pairs("--reference", args.reference, parse_number)
    if args.data is None and args.crystal is None and not references:
        print(load_source(args.source).describe())
        return
    from nequip_elemtransfer.plan.source_check.check import inspection

    checked, model = inspection(args.source, args.data, args.crystal, references, data_options(args))
    print(model.describe(), checked, sep="\n\n")
