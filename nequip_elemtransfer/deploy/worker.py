"""The process that writes and verifies one file: takes a pickled task from stdin, answers on stdout."""

import os
import pickle
import sys
import traceback
from pathlib import Path

from nequip_elemtransfer.deploy.write import Recipe, Verdict, write_and_verify


def main() -> None:
    """Do one task; what libraries print goes to stderr."""
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        recipe, out = pickle.load(sys.stdin.buffer)
        pickle.dump(_done(recipe, out), answer)


def _done(recipe: Recipe, out: Path) -> Verdict | Exception:
    try:
        return write_and_verify(recipe, out)
    except Exception as error:
        traceback.print_exc()
        return _plain(error)


def _plain(error: Exception) -> Exception:
    """An error of a built-in type, which any process can unpickle."""
    kind = next((t for t in (ValueError, OSError, ImportError) if isinstance(error, t)), RuntimeError)
    return kind(str(error) or type(error).__name__)


if __name__ == "__main__":
    main()
