"""The command ``nequip-elemtransfer inspect``."""

import argparse
from typing import Any


def add_inspect(commands: Any) -> None:
    """Declare the command."""
    inspect = commands.add_parser("inspect", help="show what a trained model offers as a source")
    inspect.add_argument("source", help=".ckpt or .nequip.zip file, or nequip.net:group/model:version")
    inspect.set_defaults(run=_run_inspect)


def _run_inspect(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.receipt import describe_source
    from nequip_elemtransfer.source import load_source

    print(describe_source(load_source(args.source)))
