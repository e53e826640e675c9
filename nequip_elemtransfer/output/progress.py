"""Bars of progress: in a terminal as tqdm draws them, elsewhere a line in half a minute."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

_SECONDS = 30.0
_UP = "\x1b[A"


class _Lines:
    """A stream on which a bar that is drawn again is a new line."""

    def write(self, text: str) -> None:
        line = text.replace(_UP, "").strip()
        if line:
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """tqdm's bar with its options; where nobody watches, such as in the log of a batch job, it writes seldom."""
    if not sys.stderr.isatty() and "ipykernel" not in sys.modules:
        options |= {"file": _Lines(), "mininterval": _SECONDS, "maxinterval": _SECONDS, "ncols": 79}
    return tqdm(iterable, **options)


def say(line: str) -> None:
    """Print a line above the bars."""
    tqdm.write(line)
