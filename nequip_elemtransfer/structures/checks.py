"""Structures that no model can be fitted to, each refused in a sentence that names the structure and the atom."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from nequip.data import AtomicDataDict

from nequip_elemtransfer.output.refusal import shortened
from nequip_elemtransfer.structures.labels import LabelKind

# Closer than this no two nuclei come: the shortest bond, that of H2, has 0.74 Å.
_LEAST_DISTANCE = 0.3

# Å; a tenth of a millimetre. Neighbour lists of larger numbers run out of memory, or of digits.
_LARGEST_COORDINATE = 1e6

# eV, eV/Å or eV/Å³. An atom has 2e6 eV at most, with all electrons, in any number of atoms that fits into memory.
_LARGEST_LABEL = 1e12

# NequIP's names of the labels, and what one value of each belongs to
_LABELS: dict[str, LabelKind] = {
    AtomicDataDict.TOTAL_ENERGY_KEY: "energy",
    AtomicDataDict.FORCE_KEY: "forces",
    AtomicDataDict.STRESS_KEY: "stress",
}


class UnusableStructure(ValueError):
    """A structure that is damaged or is no structure."""


def check_whole_file(path: str | Path) -> None:
    """Refuse an (extended) XYZ file that ASE would read in part, since it stops at an empty line without a word.

    Other files are passed over, and lines that ASE refuses itself.

    Raises:
        UnusableStructure: with the line
    """
    if Path(path).suffix not in (".xyz", ".extxyz") or not Path(path).is_file():
        return
    lines = Path(path).read_bytes().splitlines()
    n_lines = max((i for i, line in enumerate(lines, start=1) if line.strip()), default=0)
    start = index = 0
    while start < n_lines:
        header = lines[start].strip()
        if not header.isdigit():
            if not header and index > 0:
                raise UnusableStructure(
                    f"{str(path)!r} has text behind the empty line {start + 1}, where ASE stops reading, after {index} "
                    "structures: take the line out."
                )
            return
        start += int(header) + 2
        if start > n_lines:
            raise UnusableStructure(
                f"structure {index} of {str(path)!r} announces {shortened(int(header))} atoms, and the file ends "
                f"before they do: cannot be read by ASE, is it cut?"
            )
        while start < n_lines and lines[start].startswith(b"VEC"):  # a cell, as ASE reads it too
            start += 1
        index += 1


def check_atoms(atoms: Atoms, name: str) -> None:
    """Refuse what NequIP's reading of ASE structures would stumble over.

    Args:
        name: what a message calls the structure

    Raises:
        UnusableStructure: with the reason
    """
    n = len(atoms)
    if n == 0:
        raise UnusableStructure(f"{name} has no atoms: leave it out.")
    holders = (atoms.arrays, atoms.info, getattr(atoms.calc, "results", {}))
    for energy in (holder["energy"] for holder in holders[1:] if holder.get("energy") is not None):
        if not isinstance(energy, (float, np.floating)) and np.shape(energy) not in [(), (1,)]:
            raise UnusableStructure(f"{name} has energies of shape {np.shape(energy)}: one number is needed.")
        if not isinstance(energy, (float, np.floating, np.ndarray)):
            raise UnusableStructure(
                f"{name} has the energy {str(energy)!r}: NequIP takes a number with a decimal point, such as -4.0."
            )
    tensor = [(6,), (9,), (3, 3)]
    allowed: dict[str, list[tuple[int, ...]]] = {"forces": [(n, 3)], "stress": [*tensor], "virial": [*tensor]}
    for label, shapes in allowed.items():
        for holder in holders:
            if holder.get(label) is not None and np.shape(holder[label]) not in shapes:
                raise UnusableStructure(
                    f"{name} has {label} of shape {np.shape(holder[label])}: for {n} atoms the shape must be "
                    f"{' or '.join(map(str, shapes))}."
                )
    _check_geometry(atoms.positions, np.asarray(atoms.cell), atoms.pbc, name)


def check_frame(frame: AtomicDataDict.Type, name: str) -> None:
    """Refuse a frame that is no structure, or a label that is infinite; NaN is a missing label.

    Args:
        frame: as the datamodule makes it, without a neighbour list or with one
        name: what a message calls the structure

    Raises:
        UnusableStructure: with the reason
    """
    positions = frame[AtomicDataDict.POSITIONS_KEY].detach().cpu().numpy()
    if len(positions) == 0:
        raise UnusableStructure(f"{name} has no atoms: leave it out.")
    cell = frame.get(AtomicDataDict.CELL_KEY)
    pbc = frame.get(AtomicDataDict.PBC_KEY)
    _check_geometry(
        positions,
        np.zeros((3, 3)) if cell is None else cell.reshape(3, 3).cpu().numpy(),
        np.zeros(3, dtype=bool) if pbc is None else pbc.reshape(3).cpu().numpy(),
        name,
    )
    for field, kind in _LABELS.items():
        if field not in frame:
            continue
        values = frame[field].detach().cpu().numpy()
        absurd = np.abs(values) > _LARGEST_LABEL  # which NaN is not
        if absurd.any():
            where = f" of atom {np.argwhere(absurd)[0][0]}" if kind == "forces" else ""
            found = "an infinite" if np.isinf(values).any() else f"an absurd ({values[absurd][0]:.3g})"
            raise UnusableStructure(
                f"{name} has {found} {kind} label{where}: mend it, or write nan where the label is missing."
            )


def check_distances(lengths: np.ndarray, edges: np.ndarray, name: str) -> None:
    """Refuse atoms that lie upon each other.

    Args:
        lengths: of the edges in Å, shape (n_edges,)
        edges: atoms each edge joins, shape (2, n_edges)
        name: what a message calls the structure

    Raises:
        UnusableStructure: naming the closest pair
    """
    if len(lengths) and lengths.min() < _LEAST_DISTANCE:
        i, j = edges[:, int(np.argmin(lengths))]
        raise UnusableStructure(
            f"{name} has atoms {i} and {j} {lengths.min():.3g} Å apart, closer than any nuclei: is the structure "
            "damaged, or its cell in another unit than Å?"
        )


def check_fields(frame: AtomicDataDict.Type, embedded: Iterable[Mapping[str, Any]], name: str) -> None:
    """Refuse a structure that lacks what a model reads beside positions and types, such as a charge.

    Args:
        embedded: NequIP's ``categorical_graph_field_embed`` of the model
        name: what a message calls the structure

    Raises:
        UnusableStructure: naming the field
    """
    for field in embedded:
        if field["field"] not in frame:
            raise UnusableStructure(
                f"{name} has no {field['field']!r}, which the source model reads: give it in the structure's info "
                f"(an integer from {field['min']} to {field['max']})."
            )


def _check_geometry(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, name: str) -> None:
    if not np.isfinite(positions).all():
        atom = np.argwhere(~np.isfinite(positions))[0][0]
        raise UnusableStructure(f"the position of atom {atom} of {name} is not finite: mend it or leave it out.")
    if not np.isfinite(cell).all():
        raise UnusableStructure(f"the cell of {name} is not made of finite numbers: mend it or leave it out.")
    for what, coordinates in (("an atom", positions), ("a cell vector", cell)):
        if (largest := np.abs(coordinates).max()) > _LARGEST_COORDINATE:
            raise UnusableStructure(
                f"{name} has {what} with a coordinate of {largest:.3g}, more than {_LARGEST_COORDINATE:g} Å: is the "
                "structure damaged, or in another unit than Å?"
            )
    if any(not np.any(cell[i]) for i in np.flatnonzero(pbc)):
        raise UnusableStructure(
            f"{name} is periodic along a cell vector of length zero: give the cell, or set pbc to false there."
        )
    if pbc.all() and abs(np.linalg.det(cell)) < 1e-6:
        raise UnusableStructure(f"the cell vectors of {name} lie in a plane: the cell has no volume.")
