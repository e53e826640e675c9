"""The command ``nequip-elemtransfer study``."""

import argparse
from pathlib import Path

from nequip_elemtransfer.output.arguments import Commands
from nequip_elemtransfer.output.paths import require_study, require_study_folder


def add_study(commands: Commands) -> None:
    """Declare the command and its steps."""
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
    require_study(args.config)
    from nequip_elemtransfer.study import study
    from nequip_elemtransfer.study.report.page import write_report  # here too: a missing library is met before training

    if args.prepare:
        grid = study.prepare_study(args.config, args.out)
        print(f"{len(grid.runs)} runs are ready in {args.out}. Run them with")
        print(*(f"  {command}" for command in study.multirun_commands(grid, args.out)), sep="\n")
        return 0
    tally = study.run_study(args.config, args.out, jobs=args.jobs, progress=True)
    print(f"{len(tally.finished)} tasks finished, {len(tally.failed)} failed, {len(tally.skipped)} could not start")
    for task in tally.failed:
        print(f"  failed: {task.name} (its log: {task.log})")
    print(*write_report(args.out), sep="\n")
    return 1 if tally.failed else 0


def _report_study(args: argparse.Namespace) -> None:
    require_study_folder(args.out)
    from nequip_elemtransfer.study.report.page import write_report

    print(*write_report(args.out), sep="\n")
