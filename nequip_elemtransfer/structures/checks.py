"""Structures that no model can be fitted to, each refused in a sentence that names the structure and the atom."""

import lzma
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from ase.io.formats import UnknownFileTypeError, filetype, open_with_compression
from matscipy.neighbours import neighbour_list
from nequip.data import AtomicDataDict

from nequip_elemtransfer.output.refusal import shortened
from nequip_elemtransfer.structures.labels import LabelKind

# Closer than this no two nuclei come: the shortest bond, that of H2, has 0.74 Å.
_LEAST_DISTANCE = 0.3
# Neighbours are searched in bins as wide as the distance; a box of 1000 Å would have more than fit into memory.
_MOST_BINS = 1e7

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

# Shapes that labels in a file may have; None stands for the number of atoms
_TENSOR: list[tuple[int | None, ...]] = [(6,), (9,), (3, 3)]
_SHAPES: dict[str, list[tuple[int | None, ...]]] = {
    "energy": [(1,)],
    "forces": [(None, 3)],
    "stress": _TENSOR,
    "virial": _TENSOR,
}
_OWN_NAMES = {label: label for label in _SHAPES}


class UnusableStructure(ValueError):
    """A structure that is damaged or is no structure."""


def check_whole_file(path: str | Path, file_format: str | None = None) -> None:
    """Refuse an (extended) XYZ file that ASE would read in part, since it stops at an empty line without a word.

    Other files are passed over, compressed ones that are damaged, and lines that ASE refuses itself.

    Args:
        file_format: ASE's name of the format, where it is given; else as ASE tells it from name and content

    Raises:
        UnusableStructure: with the line
    """
    if not Path(path).is_file():
        return
    try:
        if (file_format or filetype(str(path))) != "extxyz":
            return
        with open_with_compression(str(path), "rb") as file:
            text = file.read().rstrip()
    except (EOFError, LookupError, OSError, UnicodeError, ValueError, UnknownFileTypeError, lzma.LZMAError, zlib.error):
        return
    _check_whole_text(text, str(path))


def _check_whole_text(text: bytes, path: str) -> None:
    """The same for the text of a file; only its headers are looked at, since there may be millions of lines."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    ends = [*np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")).tolist(), len(text)]  # of the lines

    def line(i: int) -> bytes:
        return text[ends[i - 1] + 1 if i else 0 : ends[i]].strip()

    start = index = 0
    while start < len(ends):
        header = line(start)
        if not header.isdigit():
            if not header and index > 0:
                raise UnusableStructure(
                    f"{path!r} has text behind the empty line {start + 1}, where ASE stops reading, after {index} "
                    f"structure{'' if index == 1 else 's'}: take the line out."
                )
            return
        start += int(header) + 2
        if start > len(ends) and int(header):
            raise UnusableStructure(
                f"structure {index} of {path!r} announces {shortened(int(header))} atoms, and the file ends "
                f"before they do: cannot be read by ASE, is it cut?"
            )
        while start < len(ends) and line(start).startswith(b"VEC"):  # a cell, as ASE reads it too
            start += 1
        index += 1


def check_atoms(atoms: Atoms, name: str, labels: Mapping[str, str] = _OWN_NAMES) -> None:
    """Refuse what no model can be fitted to, or NequIP's reading of ASE structures would stumble over.

    Args:
        name: what a message calls the structure
        labels: name of an entry -> what it is read as, energy, forces, stress or virial

    Raises:
        UnusableStructure: with the reason
    """
    n = len(atoms)
    if n == 0:
        raise UnusableStructure(f"{name} has no atoms: leave it out.")
    for holder in (atoms.arrays, atoms.info, getattr(atoms.calc, "results", {})):
        for entry, label in labels.items():
            if (value := holder.get(entry)) is not None:
                _check_label(label, value, n, name)
    _check_geometry(atoms.positions, np.asarray(atoms.cell), atoms.pbc, name)
    if not atoms.numbers.all():
        atom = int(np.argmin(atoms.numbers))
        raise UnusableStructure(f"atom {atom} of {name} is no chemical element: name one, or leave the structure out.")
    cell = complete_cell(atoms.cell)
    reach = max(_LEAST_DISTANCE, float(abs(np.linalg.det(cell)) / _MOST_BINS) ** (1 / 3))
    if neighbour_list("d", positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=reach).size:
        i, j, d = neighbour_list("ijd", positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=reach)
        check_distances(d, np.array([i, j]), name)


def _check_label(label: str, value: Any, n_atoms: int, name: str) -> None:
    shape, kind = np.shape(value), np.asarray(value).dtype.kind
    if label == "energy":
        if shape not in [(), (1,)]:
            raise UnusableStructure(f"{name} has energies of shape {shape}: one number is needed.")
        if not isinstance(value, (float, np.floating)) and (shape == () or kind != "f"):
            raise UnusableStructure(
                f"{name} has the energy {str(value)!r}: NequIP takes a number with a decimal point, such as -4.0."
            )
    else:
        shapes = [(n_atoms if length is None else length, *others) for length, *others in _SHAPES[label]]
        if shape not in shapes:
            raise UnusableStructure(
                f"{name} has {label} of shape {shape}: for {n_atoms} atom{'' if n_atoms == 1 else 's'} the shape must "
                f"be {' or '.join(map(str, shapes))}."
            )
        if kind not in "fiu":
            raise UnusableStructure(f"{name} has {label} that are no numbers ({str(np.ravel(value)[0])!r}): mend them.")
    _check_size(np.asarray(value), label, name)


def _check_size(values: np.ndarray, label: str, name: str) -> None:
    """Refuse infinite and absurd labels; NaN is a missing one."""
    absurd = np.abs(values) > _LARGEST_LABEL  # which NaN is not
    if absurd.any():
        where = f" of atom {np.argwhere(absurd)[0][0]}" if label == "forces" else ""
        found = "an infinite" if np.isinf(values).any() else f"an absurd ({values[absurd][0]:.3g})"
        raise UnusableStructure(
            f"{name} has {found} {label} label{where}: mend it, or write nan where the label is missing."
        )


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
        _check_size(frame[field].detach().cpu().numpy(), kind, name)


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
