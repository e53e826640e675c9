"""Find numbers in prose that no generated table has.

    python evidence/check_prose.py

Of every page, intervals as in "20 % (5 to 34)"; of those in ``STRICT`` every number that is a result. Code and tables
are not prose. What is not a result of a study, or comes from a command that stands beside it, is listed in ``KNOWN``.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
_OWN = sorted(HERE.glob("*.md"))
PAGES = (*_OWN, ROOT / "docs" / "explanation" / "results.md")
STRICT = {"claims.md", "surfaces.md", "results.md"}
KNOWN = {
    "claims.md": {"95 %": "confidence", "0 %": "no difference"},
    "surfaces.md": {"8 meV/atom": "by the command beside it", "12 meV/atom": "by the command beside it"},
    "results.md": {"95 %": "confidence", "100 %": "no difference", "153 million": "size of other models"},
}
_GENERATED = re.compile(r"<!-- table: .*?-->.*?<!-- end of table -->", re.S)
_CODE = re.compile(r"`[^`]*`")
_LINKED = re.compile(r"\]\((?:\.\./\.\./evidence/)?(\w+\.md)")
_TARGETS = re.compile(r"\]\([^)]*\)")  # of links and pictures
_END = r"[−+-]?\d+(?:\.\d+)?"
_INTERVAL = re.compile(rf"{_END} %[^.;:|()]{{0,30}}\(({_END}) to ({_END})(?: %)?[,;)]")
_RESULT = re.compile(r"\d+(?:\.\d+)? (?:%|per cent|meV/Å³?|meV/atom|GPa|J/m²|million|times)")


def main() -> int:
    """Returns 1 if there is such a number."""
    found = [(page, text) for page in PAGES for text in unfounded(page.name, page.read_text(encoding="utf-8"))]
    for page, text in found:
        print(f"{page.relative_to(ROOT)}: “{text}” is in no generated table.")
    return int(bool(found))


def unfounded(name: str, page: str) -> list[str]:
    """What a page says that no table of this folder has, or, on a strict page, none of its own or of one linked beside.

    Args:
        name: of the page's file
        page: its text
    """
    intervals = {(_size(low), _size(high)) for low, high in re.findall(rf"({_END}) to ({_END})", _tables(*_OWN))}
    found = []
    for line in _GENERATED.sub(" ", page).splitlines():
        prose = _prose(line)
        for interval in _INTERVAL.finditer(prose):
            ends = _size(interval[1]), _size(interval[2])
            if not {ends, ends[::-1]} & intervals:
                found.append(interval[0])
        if name in STRICT:
            linked = [HERE / target for target in _LINKED.findall(line) if (HERE / target).exists()]
            numbers = {_size(number) for number in re.findall(_END, _tables(*linked) + _generated(page))}
            found += [result for result in _RESULT.findall(prose) if _size(result.split()[0]) not in numbers]
    return [text for text in found if text not in KNOWN.get(name, {})]


def _tables(*pages: Path) -> str:
    return " ".join(_generated(page.read_text(encoding="utf-8")) for page in pages)


def _generated(page: str) -> str:
    return " ".join(_GENERATED.findall(page))


def _prose(line: str) -> str:
    """Without code and addresses; nothing of the row of a table."""
    return "" if line.lstrip().startswith("|") else _TARGETS.sub("]", _CODE.sub(" ", line))


def _size(number: str) -> str:
    return number.lstrip("−+-")


if __name__ == "__main__":
    sys.exit(main())
