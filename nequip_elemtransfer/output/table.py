"""Text that a terminal only shows, and tables of it."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

# a text, or texts for lines below each other
Cell: TypeAlias = str | Sequence[str]

_TERMINAL = 80


def printable(text: Any) -> str:
    """The text on one line, with escapes in place of what a terminal would obey, such as colours and line breaks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def with_error(value: float, error: float | None) -> str:
    """A number with four places and its standard error; none is shown of zero, and a question mark for None."""
    shown = f"{value:.4f}"
    if error is None:
        return f"{shown} ± ?"
    return f"{shown} ± {error:.4f}" if error else shown


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]], numeric: Sequence[bool]) -> str:
    """Aligned columns, numbers to the right; what a file may have put into a cell is made :func:`printable`.

    Where the columns would be wider than a terminal of 80, the words of the header stand below each other.

    Args:
        rows: of cells, each a text or texts for lines below each other
    """
    body = [[[printable(line) for line in ([cell] if isinstance(cell, str) else cell)] for cell in row] for row in rows]
    widths = [max((len(line) for row in body for line in row[i]), default=0) for i in range(len(header))]
    heads = [[title] for title in header]
    if sum(map(max, widths, map(len, header))) + 2 * (len(header) - 1) > _TERMINAL:
        longest = [max(map(len, title.split()), default=0) for title in header]
        heads = [textwrap.wrap(title, max(*pair)) or [""] for title, *pair in zip(header, widths, longest)]
    widths = [max(width, *map(len, lines)) for width, lines in zip(widths, heads)]
    height = max(map(len, heads))
    top = _lines([[""] * (height - len(lines)) + lines for lines in heads], widths, numeric)
    below = [line for row in body for line in _lines(row, widths, numeric)]
    return "\n".join([*top, "-" * max(map(len, [*top, *below])), *below])


def _lines(row: Sequence[Sequence[str]], widths: Sequence[int], numeric: Sequence[bool]) -> list[str]:
    found = []
    for cells in zip_longest(*row, fillvalue=""):
        aligned = (cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(cells, widths, numeric))
        found.append("  ".join(aligned).rstrip())
    return found
