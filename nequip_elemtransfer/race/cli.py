"""The command ``nequip-elemtransfer race``."""

import argparse
import os
from pathlib import Path

from nequip_elemtransfer.optional_packages import require_plan
from nequip_elemtransfer.output.arguments import Commands, pairs, require_seed
from nequip_elemtransfer.output.paths import require_source
from nequip_elemtransfer.plan.cli import add_transfer_options, transfer_options
from nequip_elemtransfer.structures.specs import require_structures


def add_race(commands: Commands) -> None:
    """Declare the command."""
    race = commands.add_parser(
        "race",
        help="train starts against each other on folds of your structures",
        description="Plan a transfer from SOURCE to the structures in DATA, train it and others against each other on "
        "folds of these structures, and write a config that trains the winner on all of them. The same command "
        "continues a race that was interrupted.",
    )
    race.add_argument("source", help=".ckpt or .nequip.zip file, or nequip.net:group/model:version")
    race.add_argument("data", help="labelled structures of the target, in any format that ASE reads")
    race.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the race")
    race.add_argument(
        "--budget",
        metavar="N",
        help="steps of each training, as 600, or time of the whole race, as 20min (default: the steps of the plan)",
    )
    race.add_argument(
        "--starts",
        nargs="+",
        default=["transfer", "scratch"],
        metavar="START",
        help="transfer (fitted), scratch, map (elements alone), or NAME=SOURCE for another model "
        "(default: transfer scratch)",
    )
    race.add_argument("--folds", type=int, default=5, metavar="K", help="parts to hold out in turn (default: 5)")
    race.add_argument("--group-by", metavar="NAME", help="label of structures that belong together, as a trajectory's")
    add_transfer_options(race)
    race.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    race.add_argument("--jobs", type=int, metavar="N", help="trainings at a time (default: one for each core, or GPU)")
    race.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    race.add_argument("--prepare", action="store_true", help="write structures and configs only, for Hydra's launchers")
    race.set_defaults(run=_run_race)


def _run_race(args: argparse.Namespace) -> None:
    require_seed("--seed", args.seed)
    for source in (args.source, *(start.partition("=")[2] for start in args.starts if "=" in start)):
        require_source(source)
    require_structures(args.data, args.source_data)
    require_plan()
    from nequip_elemtransfer.plan.options import PlanOptions
    from nequip_elemtransfer.race.options import RaceOptions, parse_budget
    from nequip_elemtransfer.race.racing import CONFIG, prepare_race, run_race
    from nequip_elemtransfer.race.report.summary import launcher_text, standings_text, summary
    from nequip_elemtransfer.race.report.write import write_report
    from nequip_elemtransfer.race.result import RaceResult

    named = [start for start in args.starts if "=" in start]
    steps, minutes = (None, None) if args.budget is None else parse_budget(args.budget)
    options = RaceOptions(
        starts=tuple(start for start in args.starts if "=" not in start),
        sources=pairs("--starts", named, str),
        steps=steps,
        minutes=minutes,
        folds=args.folds,
        group_by=args.group_by,
        device=args.device,
        plan=PlanOptions(**transfer_options(args), seed=args.seed, progress=True),
    )
    jobs = _jobs(args.device) if args.jobs is None else args.jobs
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}: at least one training has to run at a time.")
    out = args.out.resolve()
    lineup = prepare_race(args.source, args.data, out, options, jobs=jobs)
    if args.prepare:
        print(launcher_text(lineup, out))
        return

    def show(result: RaceResult) -> None:
        if result.longer is None:  # the winner's last trainings change nothing of how starts stand
            print(standings_text(result), flush=True)

    def write(result: RaceResult) -> None:
        write_report(result, out)

    result = run_race(lineup, out, jobs=jobs, progress=True, write=write, show=show)
    print(summary(result))
    print(f"\nWrote {CONFIG}, race.json and race.html to {args.out}. Train with")
    print(f"  nequip-train -cp {out} -cn train")


def _jobs(device: str) -> int:
    """One training for each core that this process may use; one on a GPU."""
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
