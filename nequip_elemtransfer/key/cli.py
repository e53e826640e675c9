"""The command ``nequip-elemtransfer check``."""

import argparse
from typing import Any


def add_check(commands: Any) -> None:
    """Declare the command."""
    check = commands.add_parser(
        "check",
        help="do all that nequip-train does before it trains, and no training",
        description="Called as nequip-train is. Makes the start that the config asks for and shows it: what became of "
        "each tensor, λ, α and μ, and the errors before any training; or says in one sentence what is wrong. Then what "
        "in the config makes a transfer end worse than it need.",
    )
    check.add_argument("-cp", "--config-path", metavar="DIR", help="folder of the config, absolute as for nequip-train")
    check.add_argument("-cn", "--config-name", metavar="NAME", default="config", help="of the config (default: config)")
    check.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for nequip-train")
    check.set_defaults(run=_run_check)


def _run_check(args: argparse.Namespace) -> None:
    from nequip_elemtransfer.key.job import composed, require_paths

    with composed(args.config_path, args.config_name, args.overrides) as config:
        require_paths(config)
        from nequip_elemtransfer.key.check import check

        check(config)
