"""The one reader of files of structures, which every command uses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ase.io
from ase import Atoms
from nequip.data import AtomicDataDict
from nequip.data.ase import from_ase

from nequip_elemtransfer.output.paths import require_structures
from nequip_elemtransfer.structures.checks import (
    UnusableStructure,
    check_atoms,
    check_distances,
    check_frame,
    check_whole_file,
)
from nequip_elemtransfer.structures.files import UNUSED
from nequip_elemtransfer.structures.frames import edge_lengths, with_neighbors
from nequip_elemtransfer.structures.options import AS_THEY_ARE, DataOptions

# Å; pairs closer than this are looked at for atoms upon each other
_NEAR = 0.5

# What ASE's readers raise on a file that is not what its name says
_READER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    ase.io.formats.UnknownFileTypeError,
    ase.io.ParseError,
)


class UnreadableFile(ValueError):
    """A file that ASE finds no structures in."""


@dataclass(frozen=True)
class ReadFile:
    """The structures of a file, and how they were read.

    Args:
        spec: as it was named, with ASE's ``@`` and a selection if there was one
        structures: with labels under the names ``energy``, ``forces`` and ``stress`` of a single-point calculator, in
            NequIP's units and signs
        said: sentences on what was read as what, converted or left aside; none where a file follows NequIP's names
        converted: whether NequIP has to read a copy, since it cannot read the file like this
        key_mapping: NequIP's, with which it reads the file like this
        excluded: NequIP's ``exclude_keys``, with which it reads the file like this
    """

    spec: str
    structures: list[Atoms]
    said: tuple[str, ...] = ()
    converted: bool = False
    key_mapping: Mapping[str, str] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()


def read_structures(spec: str | Path, options: DataOptions = AS_THEY_ARE, *, labels: bool = True) -> ReadFile:
    """The structures of a file that ASE reads, each checked.

    Args:
        spec: path of a file; behind an ``@`` a selection of ASE's, as in ``run.traj@-2:`` or ``all.db@energy>0``
        options: how labels are named
        labels: whether they are of use; where not, unclear names are said and not refused

    Raises:
        FileNotFoundError: if there is no such file
        UnreadableFile: if ASE cannot read it, or finds no structure
        UnusableStructure: naming a structure that is damaged, or a line where ASE would stop
    """
    path = spec
    require_structures(path)
    check_whole_file(path)
    try:
        structures = ase.io.read(path, ":")
    except _READER_ERRORS as error:  # each of ASE's readers fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, LookupError):  # whose message is the name alone: of an element, or of a format
            reason = f"it does not know {reason}"
        raise UnreadableFile(f"{str(path)!r} cannot be read by ASE: {reason}") from error
    if not structures:
        raise UnreadableFile(f"{str(path)!r} holds no structures.")
    for i, atoms in enumerate(structures):
        _check(atoms, f"structure {i} of {str(path)!r}")
    return ReadFile(str(spec), structures)


def _check(atoms: Atoms, name: str) -> None:
    """Refuse a structure that no model can be fitted to.

    Raises:
        UnusableStructure: with the reason
    """
    check_atoms(atoms, name)
    if not atoms.numbers.all():
        atom = int(atoms.numbers.argmin())
        raise UnusableStructure(f"atom {atom} of {name} is no chemical element: name one, or leave the structure out.")
    frame = from_ase(atoms, exclude_keys=UNUSED)
    check_frame(frame, name)
    near = with_neighbors(frame, _NEAR)
    check_distances(edge_lengths(near), near[AtomicDataDict.EDGE_INDEX_KEY].numpy(), name)
