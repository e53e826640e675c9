"""Files that appear complete or not at all."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Other names beside ``paths`` to write to; when the block ends well all are moved into place, else all removed.

    .. code-block:: python

        with written_together([out / "a.xyz", out / "b.xyz"]) as (a, b):
            ...
    """
    partial = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths]
    try:
        yield partial
        for unfinished, path in zip(partial, paths, strict=True):
            os.replace(unfinished, path)
    finally:
        for unfinished in partial:
            unfinished.unlink(missing_ok=True)
