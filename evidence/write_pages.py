"""Write a page for each study from its config and report.json, or check that they are what these say.

    python evidence/write_pages.py [--check]

What was asked is the first comment of the study's config; the rest is its table and what of it is told apart.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from claims_table import FEWEST
from table_cells import ERROR_TITLES, with_ratio

from nequip_elemtransfer.intervals import Ratio
from nequip_elemtransfer.study.report.curves import TEST_ERRORS

HERE = Path(__file__).parent
STUDIES = HERE / "studies"
EXAMPLES = HERE.parent / "example_configs"
# studies whose config is an example of another name
_EXAMPLES = {"mlearn_converged": "mlearn", "sw_converged": "sw", "sw_forces_source": "sw"}
_KINDS = dict(zip(TEST_ERRORS, ("forces", "energies", "stresses")))


def main() -> int:
    """Returns 1 if pages were to be checked and one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page differs")
    check = parser.parse_args().check
    reports = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in STUDIES.glob("*/report.json")}
    studies = {name: reports[name] for name in sorted(reports) if "runs" in reports[name]}
    pages = {STUDIES / name / "page.md": _page(name, report) for name, report in studies.items()}
    pages[HERE / "studies.md"] = _list(studies)
    old = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in old if check else ():
        print(f"{path} is not what the study says: run `python evidence/write_pages.py`.")
    for path in () if check else old:
        path.write_text(pages[path], encoding="utf-8")
    return int(check and bool(old))


def _list(studies: Mapping[str, Any]) -> str:
    rows = [["study", "asked", "trainings", "told apart in forces"]]
    for name, report in studies.items():
        ratios = [ratio for kind, ratio in _ratios(report) if kind == TEST_ERRORS[0]]
        told = f"{sum(ratio.told_apart for ratio in ratios)} of {len(ratios)}" if ratios else "–"
        rows.append([f"[{_title(name)}](studies/{name}/page.md)", _asked(name), str(_finished(report)), told])
    return "\n".join(
        [
            "(studies)=",
            "# All studies",
            "",
            "A page for each, written from its config and its report by `python evidence/write_pages.py`. What studies "
            "found, and what they did not, is told on [other pages](index.md).",
            "",
            _table(rows),
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *(f"studies/{name}/page" for name in studies),
            "```",
            "",
        ]
    )


def _page(name: str, report: Mapping[str, Any]) -> str:
    config = _config(name)
    link = config.name if config.parent == STUDIES / name else f"../../../example_configs/{config.name}"
    found = f"Config: [{config.name}]({link}); raw results: [report.json](report.json)."
    lines = [f"# {_title(name)}", "", _asked(name), "", found, ""]
    lines += [_table(_rows(report)), "", *_sentences(report)]
    for picture in sorted(path.name for path in (STUDIES / name).glob("*.png")):
        lines += ["", f"![{picture.removesuffix('.png').replace('_', ' ')} of this study]({picture})"]
    return "\n".join([*lines, ""])


def _config(name: str) -> Path:
    own = STUDIES / name / "study.yaml"
    return own if own.exists() else EXAMPLES / f"study_{_EXAMPLES.get(name, name)}.yaml"


def _asked(name: str) -> str:
    """The first comment, up to the commands, which are indented or follow a colon."""
    found: list[str] = []
    for line in _config(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        text = line.removeprefix("# ")
        if text.startswith(" "):
            break
        found.append(text)
    return " ".join(found).replace("->", "→").replace("|", "\\|")


def _title(name: str) -> str:
    return name.replace("_", " ")


def _finished(report: Mapping[str, Any]) -> int:
    return sum(run["state"] == "finished" for run in report["runs"])


def _rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Errors on the whole test set, with what they are of those of the baseline."""
    rows = []
    for curve in report["curves"]:
        cell = [value for value in curve["cell"].values() if value != "default"]
        for point in next(iter(curve["test_sets"].values())):
            if point["errors"]:
                count = max(error["count"] for error in point["errors"].values())
                what = ", ".join([*cell, curve["start"].replace("_", " ")])
                size = "–" if point["size"] is None else str(point["size"])
                rows.append([what, size, str(count), *(with_ratio(point, kind) for kind in TEST_ERRORS)])
    return [["start", "structures", "trainings", *ERROR_TITLES], *rows]


def _sentences(report: Mapping[str, Any]) -> list[str]:
    ratios = _ratios(report)
    if not ratios:
        return ["No start is compared with another here, or by one choice of structures only."]
    told = []
    for kind, name in _KINDS.items():
        of_kind = [ratio for one, ratio in ratios if one == kind]
        lower, higher = (sum(r.told_apart and (r.ratio < 1) is below for r in of_kind) for below in (True, False))
        if of_kind:
            told.append(
                f"{name} lower in {lower}, higher in {higher}, not told apart in {len(of_kind) - lower - higher}"
            )
    fewest = min(ratio.count for _, ratio in ratios)
    return [
        "In brackets: per cent of difference from the start that has no brackets, with its interval of 95 %.",
        f"{'; '.join(told).capitalize()}. Each comparison rests on {fewest} or more pairs of trainings"
        + (", and two are too few for a claim." if fewest < FEWEST else "."),
    ]


def _ratios(report: Mapping[str, Any]) -> list[tuple[str, Ratio]]:
    """Kind and ratio of each comparison with an interval, on the whole test set."""
    return [
        (kind, Ratio(**ratio))
        for curve in report["curves"]
        for point in next(iter(curve["test_sets"].values()))
        for kind, ratio in point["ratios"].items()
        if ratio["low"] is not None
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *others))


if __name__ == "__main__":
    sys.exit(main())
