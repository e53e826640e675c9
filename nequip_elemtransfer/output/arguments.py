"""What the commands refuse on their command lines, whichever they are."""

from collections.abc import Sequence


def require_no_empty(arguments: Sequence[str]) -> None:
    """Refuse empty arguments: as a path, one would be the folder one is in.

    Raises:
        ValueError: with the argument before it
    """
    for i, argument in enumerate(arguments):
        if not argument:
            after = f" after {arguments[i - 1]!r}" if i else ""
            raise ValueError(
                f"the argument{after} is empty, as a variable of the shell that is not set leaves it: give it, or "
                "leave its option out."
            )


def require_seed(option: str, seed: int | None) -> None:
    """Refuse a seed that random numbers cannot be made from.

    Raises:
        ValueError: with the number
    """
    if seed is not None and not 0 <= seed < 2**32:
        raise ValueError(f"{option} is {seed}: give a whole number from 0 to 2**32 - 1.")
