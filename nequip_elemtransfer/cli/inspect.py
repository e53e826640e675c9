"""The command ``nequip-elemtransfer inspect``."""

import argparse
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.arguments import add_crystal_options, pairs, parse_number
from nequip_elemtransfer.output.paths import require_source
from nequip_elemtransfer.structures.options import add_data_options, data_options
from nequip_elemtransfer.structures.specs import require_structures


def add_inspect(commands: Any) -> None:
    """Declare the command."""
    inspect = commands.add_parser(
        "inspect",
        help="look at a trained model: what it is, what it was trained on, how well it does",
        description="Print a model's options and what it was trained on. With --data, also its errors by kind of "
        "structure, beside those of the start that it was trained from; with --out, a page of them.",
    )
    inspect.add_argument(
        "source",
        metavar="MODEL",
        help=".ckpt or .nequip.zip file, nequip.net:group/model:version, or the output folder of nequip-train",
    )
    inspect.add_argument("--data", metavar="FILE", help="labelled structures of the model's elements, for its errors")
    add_data_options(inspect)
    add_crystal_options(inspect)
    inspect.add_argument(
        "--source", dest="start", type=Path, metavar="FILE", help="where the source of its transfer is now"
    )
    inspect.add_argument("--out", type=Path, metavar="FOLDER", help="for model.html and model.json; needs --data")
    inspect.add_argument("--force", action="store_true", help="replace files in FOLDER")
    inspect.set_defaults(run=_run_inspect)


def _run_inspect(args: argparse.Namespace) -> None:
    require_source(args.source)
    require_structures(args.data)
    references = pairs("--reference", args.reference, parse_number)
    if args.out is not None:
        from nequip_elemtransfer.output.atomic import require_folder

        if args.data is None:
            raise ValueError("--out is for a page of errors: give --data FILE, labelled structures to measure them on.")
        require_folder(args.out, ("model.html", "model.json"), force=args.force)
    from nequip_elemtransfer.inspection.look import Asked, look
    from nequip_elemtransfer.inspection.text import look_text

    found = look(args.source, Asked(args.data, data_options(args), args.crystal, references, args.start))
    print(look_text(found))
    if args.out is not None:
        from nequip_elemtransfer.inspection.page import write_look

        write_look(found, args.out, force=args.force)
        print(f"\nWrote {args.out}/model.html and {args.out}/model.json.")
