"""Structures as the codes that compute them read them, a folder each: geometry only, the settings are the user's."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from nequip_elemtransfer.output.atomic import folder_beside

_CP2K = """&CELL
  A {a}
  B {b}
  C {c}
  PERIODIC {periodic}
&END CELL
&TOPOLOGY
  COORD_FILE_NAME structure.xyz
  COORD_FILE_FORMAT XYZ
&END TOPOLOGY
"""


def _vasp(atoms: Atoms, folder: Path) -> None:
    # VASP takes atoms element by element
    ase.io.write(folder / "POSCAR", atoms[np.argsort(atoms.numbers, kind="stable")], format="vasp", direct=True)


def _espresso(atoms: Atoms, folder: Path) -> None:
    names = {symbol: f"{symbol}.UPF" for symbol in set(atoms.symbols)}  # the file that ASE insists on naming
    settings = {"control": {"calculation": "scf", "tprnfor": True, "tstress": bool(atoms.pbc.all())}}
    ase.io.write(folder / "espresso.pwi", atoms, format="espresso-in", pseudopotentials=names, input_data=settings)


def _cp2k(atoms: Atoms, folder: Path) -> None:
    ase.io.write(folder / "structure.xyz", atoms, format="xyz")
    a, b, c = (" ".join(f"{x:.12f}" for x in vector) for vector in np.asarray(atoms.cell))
    periodic = "".join(axis for axis, there in zip("XYZ", atoms.pbc) if there) or "NONE"
    (folder / "subsys.inc").write_text(_CP2K.format(a=a, b=b, c=c, periodic=periodic), encoding="utf-8")


def _aims(atoms: Atoms, folder: Path) -> None:
    ase.io.write(folder / "geometry.in", atoms, format="aims")


_WRITERS: dict[str, Callable[[Atoms, Path], None]] = {
    "vasp": _vasp,
    "espresso": _espresso,
    "cp2k": _cp2k,
    "aims": _aims,
}
CODES = tuple(_WRITERS)


def check_inputs(codes: Sequence[str], folder: Path | None) -> None:
    """Refuse what cannot be written, before any work is done for it.

    Raises:
        ValueError: an unknown code, or codes without a folder, or a folder without codes
        FileExistsError: the folder exists
    """
    if unknown := [code for code in codes if code not in CODES]:
        raise ValueError(f"no inputs are written for {unknown[0]!r}: choose from {', '.join(CODES)}.")
    if bool(codes) != (folder is not None):
        raise ValueError("inputs need both --write with codes and --folder with a place: give both, or neither.")
    if folder is not None and folder.exists():
        raise FileExistsError(f"{folder} exists already: give another --folder, nothing is written into this one.")


def write_inputs(structures: Sequence[Atoms], codes: Sequence[str], folder: Path) -> None:
    """Write ``folder/CODE/000/...`` for each structure, all or nothing.

    A structure without a cell gets none, which VASP and Quantum ESPRESSO refuse; ``ValueError`` then.

    Raises:
        ValueError, OSError: see :func:`check_inputs`; or a structure that a code cannot have
    """
    check_inputs(codes, folder)
    for place, atoms in enumerate(structures):
        if {"vasp", "espresso"} & set(codes) and not atoms.cell.rank == 3:
            raise ValueError(
                f"chosen structure {place} has no cell, which vasp and espresso need: give candidates one, or write "
                "inputs for cp2k and aims only."
            )
    with folder_beside(folder) as staging:
        for code in codes:
            for place, atoms in enumerate(structures):
                own = staging / "inputs" / code / f"{place:03d}"
                own.mkdir(parents=True)
                _WRITERS[code](Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc), own)
        os.rename(staging / "inputs", folder)
