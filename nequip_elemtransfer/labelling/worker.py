"""Labels structures one by one, in a process of its own:

    python -m nequip_elemtransfer.labelling.worker FD

FD is the descriptor of a socket. The description of a calculator comes first, and is answered by None or the reason why
it cannot be made; then structures, each answered by its labels or the reason why there are none. The process ends when
the socket does, as when the command that began it is killed.
"""

import sys
from dataclasses import asdict
from multiprocessing.connection import Connection

from nequip_elemtransfer.materials.calculated_labels import NotLabelled, calculated_labels
from nequip_elemtransfer.materials.calculator_file import make_calculator


def main() -> None:
    """Answer until there is nobody to answer to."""
    with Connection(int(sys.argv[1])) as parent:
        try:
            _answer(parent)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass  # the command has ended


def _answer(parent: Connection) -> None:
    key, description = parent.recv()
    try:
        calculator = make_calculator(key, description)
    except ValueError as error:
        parent.send(str(error))
        return
    parent.send(None)
    while True:
        atoms = parent.recv()
        try:
            parent.send(asdict(calculated_labels(atoms, calculator)))
        except NotLabelled as error:
            parent.send(str(error))


if __name__ == "__main__":
    main()
