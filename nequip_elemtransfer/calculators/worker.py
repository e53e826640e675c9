"""A calculator in a process of its own, which answers questions:

    python -m nequip_elemtransfer.calculators.worker FD

FD is the descriptor of a socket. The description of a calculator comes first, and is answered by None or the reason why
it cannot be made; then pairs of a question and a structure: ``label`` is answered by labels, ``time`` by the seconds
that a force call took, both by a reason where there is no answer. The process ends when the socket does, as when the
command that began it is killed.
"""

import sys
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials.calculator import NotLabelled, calculated_labels, make_calculator, seconds_of_forces


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
        question, atoms = parent.recv()
        try:
            parent.send(_asked(question, atoms, calculator))
        except NotLabelled as error:
            parent.send(str(error))


def _asked(question: str, atoms: Atoms, calculator: Calculator) -> Any:
    if question == "time":
        return seconds_of_forces(atoms, calculator)
    return asdict(calculated_labels(atoms, calculator))


if __name__ == "__main__":
    main()
