"""A file that is refused, and what it says as text that a terminal only shows."""

from typing import Any

from nequip_elemtransfer.output.table import printable


class RefusedFile(ValueError):
    """A file that is damaged, malformed or hostile; nothing goes on with it.

    Args:
        message: one sentence; what it quotes of the file is made :func:`printable`
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def shortened(value: Any, length: int = 100) -> str:
    """A value as Python writes it, cut after ``length`` characters."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its name if it has none."""
    lines = str(error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__
