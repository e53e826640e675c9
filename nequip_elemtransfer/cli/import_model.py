"""``nequip-elemtransfer import``: argument parsing, and the checks before anything is written."""

import argparse
import os
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.atomic import require_writable, written_together
from nequip_elemtransfer.output.paths import existing_file


def add_import(commands: Any) -> None:
    """Add the subcommand."""
    command = commands.add_parser(
        "import",
        help="write a model of an older NequIP as a checkpoint of today's",
        description="Write a model of NequIP 0.5 to 0.16 as a checkpoint of today's NequIP that predicts the same, to "
        "package, compile, run or fine-tune. (A transfer starts from OLD itself.)",
    )
    command.add_argument(
        "old",
        help="of 0.5 and 0.6: training folder with config.yaml and best_model.pth, or file of the nequip-deploy of "
        "that time; from 0.7 on: .ckpt or .nequip.zip file",
    )
    command.add_argument("new", type=Path, metavar="NEW.ckpt", help="checkpoint to write")
    command.add_argument("--force", action="store_true", help="replace a file that exists")
    command.add_argument(
        "--no-comparison", action="store_true", help="do not run the TorchScript of a deployed file to compare with it"
    )
    command.set_defaults(run=_run_import)


def _run_import(args: argparse.Namespace) -> None:
    _check_output(args.new, args.force)
    if not os.path.isdir(args.old):
        existing_file(args.old)  # of models that are fetched, nequip.net has those of today
    from nequip_elemtransfer.checkpoints.legacy.checkpoint import write_checkpoint
    from nequip_elemtransfer.checkpoints.legacy.own_forward import compare_with_own_forward
    from nequip_elemtransfer.checkpoints.legacy.reading import is_old_model
    from nequip_elemtransfer.source import load_source

    source = load_source(args.old)
    notes = [*source.conversion]
    if is_old_model(args.old):
        notes.append(
            "not compared with the old model itself: --no-comparison was given"
            if args.no_comparison
            else compare_with_own_forward(args.old, source.architecture, source.build().eval())
        )
    elif not source.conversion:
        raise ValueError(f"{args.old} means to today's NequIP what it meant when it was written: it needs no import.")
    origin = {"path": source.path, "sha256": source.sha256, "notes": notes}
    with written_together([args.new]) as (partial,):
        write_checkpoint(partial, source.architecture, source.state, origin)
        load_source(str(partial))  # NequIP's own loading of it predicts what the architecture and the weights do
    print(f"{args.new}: types {', '.join(source.type_names)}, cutoff radius {source.r_max:g} Å", *notes, sep="\n")


def _check_output(new: Path, force: bool) -> None:
    if new.suffix != ".ckpt":
        raise ValueError(f"{new} must end in .ckpt: NequIP knows a checkpoint by that.")
    require_writable(new, force)
