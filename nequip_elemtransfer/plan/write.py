"""The files of a plan: ``train.yaml``, ``report.json`` and ``report.html``, all of them or none."""

import json
from pathlib import Path

from nequip_elemtransfer.output.atomic import require_folder, written_together
from nequip_elemtransfer.plan.outcome import Plan
from nequip_elemtransfer.plan.report import html_report
from nequip_elemtransfer.plan.train_config import train_config

NAMES = ("train.yaml", "report.json", "report.html")


def write_plan(plan: Plan, out: Path, *, fit: bool = False, force: bool = False) -> None:
    """Write the three files into the folder ``out``.

    Args:
        fit: see :func:`.train_config.train_config`
        force: replace files that exist

    Raises:
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`
    """
    require_folder(out, NAMES, force=force)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "train.yaml": train_config(plan, fit=fit),
        "report.json": json.dumps(plan.to_dict(), indent=1, ensure_ascii=False) + "\n",
        "report.html": html_report(plan),
    }
    with written_together([out / name for name in texts], force=force) as paths:
        for path, text in zip(paths, texts.values()):
            path.write_text(text, encoding="utf-8")
