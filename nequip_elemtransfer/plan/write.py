"""The files of a plan: ``train.yaml``, ``report.json`` and ``report.html``, all of them or none."""

import json
from pathlib import Path

from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.plan.planning import Plan
from nequip_elemtransfer.plan.report import html_report
from nequip_elemtransfer.plan.train_config import train_config

NAMES = ("train.yaml", "report.json", "report.html")


def check_folder(out: Path, *, force: bool = False) -> None:
    """Refuse a folder before any work is done for it.

    Raises:
        NotADirectoryError: ``out`` is a file
        FileExistsError: one of the files exists and ``force`` is False
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file, not a folder: give another --out.")
    for name in NAMES:
        if (out / name).exists() and not force:
            raise FileExistsError(f"{out / name} exists already: give another --out, or --force to replace it.")


def write_plan(plan: Plan, out: Path, *, fit: bool = False, force: bool = False) -> None:
    """Write the three files into the folder ``out``.

    Args:
        fit: see :func:`.train_config.train_config`
        force: replace files that exist

    Raises:
        NotADirectoryError, FileExistsError: see :func:`check_folder`
    """
    check_folder(out, force=force)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "train.yaml": train_config(plan, fit=fit),
        "report.json": json.dumps(plan.to_dict(), indent=1, ensure_ascii=False) + "\n",
        "report.html": html_report(plan),
    }
    with written_together([out / name for name in texts]) as paths:
        for path, text in zip(paths, texts.values()):
            path.write_text(text, encoding="utf-8")
