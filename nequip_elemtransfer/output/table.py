"""Text that a terminal only shows, and tables of it."""

from collections.abc import Sequence
from typing import Any


def printable(text: Any) -> str:
    """The text on one line, with escapes in place of what a terminal would obey, such as colours and line breaks."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def with_error(value: float, error: float | None) -> str:
    """A number with four places and its standard error; none is shown of zero, and a question mark for None."""
    shown = f"{value:.4f}"
    if error is None:
        return f"{shown} ± ?"
    return f"{shown} ± {error:.4f}" if error else shown


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Aligned columns, numbers to the right; what a file may have put into a cell is made :func:`printable`."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
