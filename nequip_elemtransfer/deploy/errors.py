"""Errors of other libraries, as the one line a user of the command reads."""


def one_line(error: BaseException) -> str:
    """The first line of an error's message, or its name if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
