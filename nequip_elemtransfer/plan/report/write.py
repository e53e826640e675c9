"""The files of a plan: ``train.yaml``, the reports, and copies of structures that NequIP cannot read; all or none."""

import json
from pathlib import Path

import ase.io
from ase import Atoms

from nequip_elemtransfer.output.atomic import require_folder, written_together
from nequip_elemtransfer.plan.report.html import calculators_report, html_report
from nequip_elemtransfer.plan.result import CalculatorPlan, Plan
from nequip_elemtransfer.plan.training.train_config import train_config
from nequip_elemtransfer.plan.training.training_files import completed
from nequip_elemtransfer.structures.reading import read_structures

NAMES = ("train.yaml", "report.json", "report.html")
# of structures, where NequIP cannot read those of the plan as they are
COPIES = ("train.xyz", "val.xyz")


def write_plan(plan: Plan, out: Path, *, fit: bool = False, force: bool = False) -> None:
    """Write the files into the folder ``out``.

    Args:
        fit: see :func:`.train_config.train_config`
        force: replace files that exist

    Raises:
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`
    """
    require_folder(out, (*NAMES, *COPIES), force=force)
    copies = None if plan.reading.as_they_are else (out / COPIES[0], out / COPIES[1])
    texts = {"train.yaml": train_config(plan, fit=fit, copies=copies), **_reports(plan, html_report(plan))}
    structures = {}
    if copies:
        read = read_structures(plan.data, plan.data_options)
        parts = completed(read.structures, plan.labels, plan.reading.graph_fields, plan.held_back)
        structures = {name: part for name, part in zip(COPIES, parts) if part}
    _write(out, texts, structures, force)


def write_calculators(plan: CalculatorPlan, out: Path, *, force: bool = False) -> None:
    """Write the reports of calculators that no transfer stands beside into the folder ``out``.

    Args:
        force: replace files that exist

    Raises:
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`
    """
    require_folder(out, NAMES, force=force)
    _write(out, _reports(plan, calculators_report(plan)), {}, force)


def _reports(plan: Plan | CalculatorPlan, html: str) -> dict[str, str]:
    return {
        "report.json": json.dumps(plan.to_dict(), indent=1, ensure_ascii=False) + "\n",
        "report.html": html,
    }


def _write(out: Path, texts: dict[str, str], structures: dict[str, list[Atoms]], force: bool) -> None:
    """All files, or none."""
    out.mkdir(parents=True, exist_ok=True)
    with written_together([out / name for name in (*texts, *structures)], force=force) as paths:
        for path, text in zip(paths, texts.values()):
            path.write_text(text, encoding="utf-8")
        for path, frames in zip(paths[len(texts) :], structures.values(), strict=True):
            ase.io.write(path, frames, format="extxyz")
