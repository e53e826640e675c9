"""Pages and files of docs/ and evidence/ that are named elsewhere are there; Sphinx checks the links between pages."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (".ci", ".github", "demo", "docs", "evidence", "example_configs", "nequip_elemtransfer", "tests")
TEXTS = {".cff", ".jinja", ".md", ".py", ".toml", ".yaml", ".yml"}
PROGRAMS = {"Makefile", "run"}  # which have no ending
NAMED = re.compile(r"(?<![\w/.-])(?:docs|evidence)/[\w/.-]*\.(?:md|py|json|yaml|png)(?:#[\w-]+)?")
# in tests of what notices it, and in words on how to add a study
NOT_MEANT = {"evidence/benchmarks/no_such_file.py", "evidence/studies/NAME/report.json"}


def texts():
    files = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    for path in files:
        is_text = path.is_file() and (path.suffix in TEXTS or path.name in PROGRAMS)
        if is_text and "_build" not in path.parts and path != Path(__file__):
            yield path, path.read_text(encoding="utf-8")


def heading_anchors(page):
    """As the host makes them: lower case, spaces to dashes, punctuation left out."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def missing(text):
    """What a text names that is not there."""
    found = set()
    for name in NAMED.findall(text):
        path, _, anchor = name.partition("#")
        if not (ROOT / path).is_file() or (anchor and anchor not in heading_anchors(ROOT / path)):
            found.add(name)
    return found


def test_named_files_are_there():
    assert {path: gone for path, text in texts() if (gone := missing(text) - NOT_MEANT)} == {}


def test_missing_files_are_noticed():
    assert {path.name for path, _ in texts()} >= {"README.md", "Makefile", "run", "index.md", "study_sw.yaml"}
    assert missing("see docs/design.md, [this](docs/design.md#invariants) and `evidence/index.md`") == set()
    gone = {"docs/evidence.md#teacher", "docs/design.md#no-such-heading", "evidence/no_such.py"}
    assert missing(" ".join(gone)) == gone
