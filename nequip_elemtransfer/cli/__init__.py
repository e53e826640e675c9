"""The command ``nequip-elemtransfer``, put together from the commands of its areas.

Each is one ``add_*`` function that declares its arguments, and ``_run_*`` functions that import what they need and call
it, so that ``--help`` stays fast.
"""

import argparse
import sys
from collections.abc import Sequence

from nequip_elemtransfer.architecture.nequip_names import UnknownName
from nequip_elemtransfer.candidates.cli import add_candidates
from nequip_elemtransfer.cli.import_model import add_import
from nequip_elemtransfer.cli.inspect import add_inspect
from nequip_elemtransfer.data.cli import add_data
from nequip_elemtransfer.key.cli import add_check
from nequip_elemtransfer.labelling.cli import add_label
from nequip_elemtransfer.output.arguments import add_version_and_completion, require_no_empty
from nequip_elemtransfer.plan.cli import add_plan
from nequip_elemtransfer.race.cli import add_race
from nequip_elemtransfer.selection.cli import add_select
from nequip_elemtransfer.study.cli import add_study


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, 1 if a run of a study failed, or 2 after printing what was wrong with the input."""
    parser = argparse.ArgumentParser(
        prog="nequip-elemtransfer",
        description="Start a NequIP or Allegro model of one element from a model of another.",
    )
    add_version_and_completion(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        add_inspect,
        add_candidates,
        add_select,
        add_label,
        add_plan,
        add_check,
        add_race,
        add_data,
        add_study,
        add_import,
    ):
        add(commands)
    args = parser.parse_args(argv)
    try:
        require_no_empty(sys.argv[1:] if argv is None else argv)
        return args.run(args) or 0
    except (ValueError, OSError, ModuleNotFoundError, UnknownName) as error:
        print(f"nequip-elemtransfer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nequip-elemtransfer: stopped.", file=sys.stderr)
        return 130
