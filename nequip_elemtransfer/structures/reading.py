"""The one reader of files of structures, which every command uses.

Structures come out with their labels under the names ``energy``, ``forces`` and ``stress`` of a single-point
calculator, as NequIP reads them. What was read under another name, converted or left aside is said; what is unclear is
refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.formats import UnknownFileTypeError, filetype, string2index
from ase.stress import full_3x3_to_voigt_6_stress

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.checks import UnusableStructure, check_atoms, check_whole_file
from nequip_elemtransfer.structures.foreign import foreign_format
from nequip_elemtransfer.structures.names import (
    FIELDS,
    KIND_OF,
    Names,
    as_stress,
    entries,
    is_nested,
    require_known,
    without,
)
from nequip_elemtransfer.structures.options import (
    AS_THEY_ARE,
    ENERGY_PER_ATOM,
    GRADIENT,
    NO_LABEL,
    VIRIAL,
    DataOptions,
)
from nequip_elemtransfer.structures.placeholders import without_placeholders
from nequip_elemtransfer.structures.specs import require_there, split_spec
from nequip_elemtransfer.structures.units import check_sizes, check_totals, in_nequip_units

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
    UnknownFileTypeError,
    ase.io.ParseError,
)

# What ASE's databases say of a row beside its structure, where NequIP does not look
_OF_A_ROW = ("unique_id", "key_value_pairs", "data")

_CONVERTED = {
    VIRIAL: "stress by σ = −W / V, in eV/Å³, positive under tension: a virial W in eV is positive under compression",
    GRADIENT: "forces by F = −gradient",
    ENERGY_PER_ATOM: "energy by the number of atoms",
}


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
        labels: whether they are of use; where not, unclear ones are said and not refused

    Raises:
        FileNotFoundError: if there is no such file
        UnreadableFile: if ASE cannot read it, or finds no structure
        UnusableStructure: naming a structure that is damaged, or a line where ASE would stop
        UnclearLabels: if labels are not where NequIP looks, or there twice, or ``options`` name what is not there
        WrongUnit: if they cannot be in the unit that they are said to be in, or that NequIP takes
    """
    return read_files([spec], options, labels=labels)[0]


def read_files(
    specs: Sequence[str | Path], options: DataOptions = AS_THEY_ARE, *, labels: bool = True
) -> list[ReadFile]:
    """The same of several files; each entry that ``options`` name is in one of them at least."""
    raw = [raw_structures(spec) for spec in specs]
    if options.key_mapping:
        present = {name for structures in raw for atoms in structures for name in entries(atoms)}
        require_known(options.key_mapping, present, " and ".join(repr(str(spec)) for spec in specs))
    return [_read(str(spec), structures, options, labels) for spec, structures in zip(specs, raw)]


def _read(spec: str, structures: list[Atoms], options: DataOptions, labels: bool) -> ReadFile:
    read = _with_names(spec, structures, options)
    names = Names(options.key_mapping)
    for i, atoms in enumerate(structures):
        names.look(i, atoms)
    if labels:
        names.refuse(spec)
    for i, atoms in enumerate(structures):
        for name in _OF_A_ROW:
            atoms.info.pop(name, None)
        check_atoms(atoms, f"structure {i} of {spec!r}")
    if not labels:
        return replace(read, said=(*read.said, *names.said(spec)))
    if said := in_nequip_units(structures, options, spec):
        read = replace(read, said=(*read.said, *said), converted=True)
    check_sizes(structures, spec)
    check_totals(structures, spec)
    if said := without_placeholders(structures, spec):
        read = replace(read, said=(*read.said, *said), converted=True)
    return read


def structure_file(spec: str | Path) -> Path:
    """The file of a spec.

    Raises:
        FileNotFoundError: it is not there
        UnreadableFile: it is a folder
    """
    path, _ = split_spec(spec)
    if path.is_dir() and filetype(str(path)) != "eon" and not (path / "metadata").is_file():
        advice = foreign_format(path)
        raise UnreadableFile(
            f"{str(path)!r} is a folder, and ASE reads no structures from it{advice and f'; {advice}'}."
        )
    require_there(path)
    return path


def raw_structures(spec: str | Path, arguments: Mapping[str, Any] | None = None) -> list[Atoms]:
    """The structures of a file as ASE reads them.

    Args:
        arguments: of :func:`ase.io.iread`

    Raises:
        FileNotFoundError, UnreadableFile, UnusableStructure: as :func:`read_structures`
    """
    path, arguments = structure_file(spec), dict(arguments or {})
    check_whole_file(path, arguments.get("format"))
    try:
        structures = list(_iread(spec, arguments))
    except _READER_ERRORS as error:  # each of ASE's readers fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, LookupError):  # whose message is the name alone: of an element, or of a format
            reason = f"it does not know {reason}"
        raise UnreadableFile(
            f"{str(spec)!r} cannot be read by ASE: {foreign_format(path) or reason.rstrip('.')}."
        ) from error
    if not structures:
        raise UnreadableFile(f"{str(spec)!r} holds no structures.")
    return structures


def _iread(spec: str | Path, arguments: Mapping[str, Any]) -> Iterator[Atoms]:
    path, selection = split_spec(spec)
    if not arguments and path.is_file() and filetype(str(path)) in ("db", "json"):
        return _rows(path, selection)
    literal = {"do_not_split_by_at_sign": True} if "@" in path.name and not selection else {}
    return ase.io.iread(str(spec), parallel=False, **{**literal, **arguments})


def _rows(path: Path, selection: str) -> Iterator[Atoms]:
    """As ASE's reader of databases, which leaves out what stands beside a structure in its row."""
    with ase.db.connect(str(path), serial=True) as database:
        try:
            index: Any = string2index(selection or ":")
        except ValueError:
            index = selection
        if isinstance(index, str):
            rows = database.select(selection)
        else:
            chosen = index if isinstance(index, slice) else slice(index, index + 1 or None)
            start, stop, _ = chosen.indices(database.count())
            rows = database.select(offset=start, limit=stop - start) if stop > start else ()
        for row in rows:
            yield row.toatoms(add_additional_information=True)


def _with_names(spec: str, structures: Sequence[Atoms], options: DataOptions) -> ReadFile:
    """Give structures the labels that the options name."""
    converted = "@" in split_spec(spec)[0].name  # where ASE, within NequIP, would look for a selection
    mapping = options.key_mapping
    if not mapping:
        return ReadFile(spec, list(structures), converted=converted)
    held = [entries(atoms) for atoms in structures]
    mapping = {name: kind for name, kind in mapping.items() if any(name in each for each in held)}
    displaced = [kind for kind in LABEL_KINDS if any(_displaces(mapping, kind, each) for each in held)]
    nested = [name for name in mapping if any(is_nested(name, atoms) for atoms in structures)]
    for i, (atoms, each) in enumerate(zip(structures, held)):
        _relabel(atoms, each, mapping, displaced, f"structure {i} of {spec!r}")
    read_as = {name: kind for name, kind in mapping.items() if kind != NO_LABEL}
    turned = [name for name, kind in read_as.items() if kind in _CONVERTED]
    said = [f"Read {' and '.join(f'{name} as {read_as[name]}' for name in read_as)} in {spec!r}."] if read_as else []
    said += [f"Converted {name} to {_CONVERTED[read_as[name]]}." for name in turned]
    said += [f"Left aside in {spec!r}: {', '.join(name for name in mapping if name not in read_as)}."] * (
        len(read_as) < len(mapping)
    )
    return ReadFile(
        spec,
        list(structures),
        tuple(said),
        converted or bool(turned or {*nested} & {*read_as}),
        {name: FIELDS[kind] for name, kind in read_as.items() if kind in LABEL_KINDS},
        tuple(dict.fromkeys([*displaced, *(name for name, kind in mapping.items() if kind == NO_LABEL)])),
    )


def _displaces(mapping: Mapping[str, str], kind: LabelKind, held: Mapping[str, Any]) -> bool:
    """Whether a structure has a label under NequIP's name and under the one that the user named."""
    named = [name for name, read_as in mapping.items() if KIND_OF.get(read_as) == kind and name != kind]
    return kind in held and any(name in held for name in named)


def _relabel(
    atoms: Atoms, held: Mapping[str, Any], mapping: Mapping[str, str], displaced: Sequence[str], name: str
) -> None:
    """Put the labels that a structure holds under NequIP's names, and take out the others."""
    labels: dict[str, Any] = {kind: held[kind] for kind in LABEL_KINDS if kind in held and kind not in displaced}
    for entry, read_as in mapping.items():
        if held.get(entry) is None:
            continue
        if read_as == NO_LABEL:
            labels.pop(entry, None)
        elif (value := _value(held[entry], read_as, atoms, f"{name} has under {entry!r}")) is not None:
            labels[KIND_OF[read_as]] = value
    rest = {k: v for k, v in getattr(atoms.calc, "results", {}).items() if k not in LABEL_KINDS and k not in mapping}
    without(atoms, [*mapping, *LABEL_KINDS])
    atoms.calc = SinglePointCalculator(atoms)
    atoms.calc.results |= rest | labels


def _value(value: Any, read_as: str, atoms: Atoms, where: str) -> Any:
    """The label that comes of an entry; None for a virial where there is no volume."""
    if read_as in LABEL_KINDS:
        return value
    shape, kind = np.shape(value), np.asarray(value).dtype.kind
    allowed: dict[str, list[tuple[int, ...]]] = {
        VIRIAL: [(6,), (9,), (3, 3)],
        GRADIENT: [(len(atoms), 3)],
        ENERGY_PER_ATOM: [(), (1,), (len(atoms),)],
    }
    if shape not in allowed[read_as] or kind not in "fiu":
        shapes = " or ".join(map(str, allowed[read_as]))
        raise UnusableStructure(f"{where} what is no {read_as}: numbers of shape {shapes} are needed, found {shape}.")
    if read_as == GRADIENT:
        return -np.asarray(value, dtype=float)
    if read_as == ENERGY_PER_ATOM:
        return float(np.sum(value)) if np.size(value) > 1 else float(np.ravel(value)[0]) * len(atoms)
    if not (atoms.pbc.all() and atoms.cell.rank == 3):
        return None
    return full_3x3_to_voigt_6_stress(as_stress(value, atoms.get_volume()))
