"""Numbers of structures in a sentence."""

from collections.abc import Sequence

_LISTED = 5


def listed(numbers: Sequence[int]) -> str:
    """``no. 3, no. 7``, the first few."""
    shown = ", ".join(f"no. {number}" for number in numbers[:_LISTED])
    return shown + (", …" if len(numbers) > _LISTED else "")


def counted(number: int, noun: str) -> str:
    """``1 structure``, ``2 structures``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
