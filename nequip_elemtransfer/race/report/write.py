"""The files of a report: ``race.json`` and ``race.html``."""

import json
from pathlib import Path

from nequip_elemtransfer.output.atomic import write_text
from nequip_elemtransfer.race.report.html import html_report
from nequip_elemtransfer.race.result import RaceResult


def write_report(result: RaceResult, out: Path) -> None:
    """Write what a race says so far into its folder, in place of what it said before."""
    write_text(out / "race.json", json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n")
    write_text(out / "race.html", html_report(result))
