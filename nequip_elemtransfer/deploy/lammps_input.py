"""How a deployed file is used: the lines for LAMMPS and ASE, and a complete LAMMPS input to start from."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.deploy.executable_stack import GLIBC_ADVICE
from nequip_elemtransfer.deploy.structures import element_of, elements_of
from nequip_elemtransfer.deploy.uncertainty_info import grade_lines, thermo_columns, watch_lines
from nequip_elemtransfer.output.atomic import folder_beside, put_in_place, require_writable
from nequip_elemtransfer.output.table import printable

# pair_style nequip wants every force on the rank that owns the atom, pair_style allegro sends those on ghosts back
_NEWTON = {"nequip": "off", "allegro": "on", "mliap": "on"}

_RANKS = {
    "nequip": "The model passes messages, so pair_style nequip runs on one MPI rank (one GPU); pair_style allegro is "
    "not for it.",
    "allegro": "The model is strictly local, so pair_style allegro runs on any number of MPI ranks.",
    "mliap": "pair_style mliap runs this file on CUDA GPUs alone, by KOKKOS, with a GPU for each MPI rank. Without, "
    "deploy a .nequip.pth file for one rank, or train an Allegro model.",
}

# the only one that works: without KOKKOS, LAMMPS exchanges no ghosts, and with it NequIP runs on CUDA
_MLIAP_COMMAND = "mpirun -np N lmp -k on g N -sf kk -pk kokkos newton on neigh half -in"


class UnreadableName(ValueError):
    """A name that LAMMPS reads as another, or not at all."""


def lammps_types(info: Mapping[str, Any], names: Sequence[str] | None = None) -> list[str]:
    """The model's type for each LAMMPS type: those named, or all in the model's order.

    Where a file has a cutoff for each pair of types, the pair styles ``nequip`` and ``allegro`` fill the row of the
    last LAMMPS type of a name; the others' hold whatever is in memory.

    Args:
        info: metadata of the deployed file

    Raises:
        ValueError: if the model has no type of a name, or a name comes twice where that goes wrong
    """
    known = info["type_names"]
    if names is None:
        return list(known)
    if info["pair_style"] is None:
        raise ValueError(f"--lammps-types: {info['file']} is not for LAMMPS.")
    for name in names:
        if name not in known:
            raise ValueError(
                f"--lammps-types: {name!r} is no type of the model and crashes the pair style{suggest(name, known)}"
            )
    if info["per_edge_type_cutoff"] and info["pair_style"] != "mliap":
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"--lammps-types names {name!r} twice, and the file has a cutoff for each pair of types, of which "
                    f"pair_style {info['pair_style']} fills only the last row of a name, so that energies are wrong "
                    "without a word: name each type once, or build the file with --common-cutoff."
                )
    return list(names)


def usage(info: Mapping[str, Any], types: Sequence[str] | None = None) -> str:
    """How to use a file in LAMMPS or ASE, from its metadata.

    Args:
        types: as :func:`lammps_types` takes them, which may refuse
    """
    types, file = lammps_types(info, types), info["file"]
    if info["kind"] == "package":
        command = ["nequip-deploy", "build", "--model", file, f"{_stem(file)}.nequip.pth"]
        return (
            f"Compile it where it will run: {printable(shlex.join(command))}\n"
            "ASE: NequIPCalculator._from_saved_model, training: nequip.model.ModelFromPackage."
        )
    stack = f"The file {GLIBC_ADVICE}." if info["executable_stack"] else ""
    if info["pair_style"] is None:
        lines = ["In ASE:", *_indented(_ase_lines(info))]
        return "\n".join([stack, *lines] if stack else lines)
    try:
        settings, potential = _settings_lines(info), _potential_lines(info, types, file)
    except UnreadableName as error:
        return f"No lines for LAMMPS: {error}"
    lines = [
        "In LAMMPS (LAMMPS type i is the i-th name on the pair_coeff line):",
        *_indented([*settings, *_read_lines(info), *potential, *_mass_lines(types, info)]),
        *_uncertainty_usage(info),
        _RANKS[info["pair_style"]],
        f"Run it by: {_MLIAP_COMMAND} INPUT (N: the GPUs of a node)" if info["pair_style"] == "mliap" else "",
        _names_once(info),
        stack,
    ]
    return "\n".join(filter(None, lines))


def input_files(file: Path, force: bool = False) -> tuple[Path, Path]:
    """The input and its data file beside it, once it is clear that they may be written.

    Raises:
        OSError: if not
        UnreadableName: if LAMMPS would read their names otherwise
    """
    dump_file(file.name)
    files = file, file.with_name(f"{file.name}.data")
    for out in files:
        require_writable(out, force)
    return files


def write_lammps_input(
    file: Path,
    info: Mapping[str, Any],
    atoms: Atoms,
    temperature: float,
    force: bool = False,
    types: Sequence[str] | None = None,
) -> list[Path]:
    """Write an input that minimises, heats and runs NVT, and its data file.

    Args:
        file: the input; the data file is ``FILE.data`` beside it
        info: metadata of the deployed file
        atoms: the cell is brought to rest along its periodic directions
        temperature: in K
        force: replace files that exist
        types: as :func:`lammps_types` takes them; atoms of an element are of the first type that is this element

    Returns:
        the files written

    Raises:
        OSError: if they cannot be written
        UnreadableName: if LAMMPS would read the name of a file or a type otherwise
        ValueError: if the file is not for LAMMPS, or its types are not one element each, or ``types`` are refused
    """
    if info["pair_style"] is None:
        raise ValueError(
            f"{info['file']} is not for LAMMPS: deploy a .nequip.pth or .nequip.lmp.pt, or a .nequip.pt2 for LAMMPS."
        )
    types = lammps_types(info, types)
    elements, files = elements_of(types, info), input_files(file, force)
    with folder_beside(file) as folder:
        staged = [folder / out.name for out in files]
        try:
            staged[0].write_text(_input(info, types, atoms, file, temperature), encoding="utf-8")
            write_data(staged[1], atoms, elements)
        except OSError as error:
            raise OSError(f"{file} and its data file cannot be written: {error.strerror}.") from error
        for source, out in zip(staged, files):
            put_in_place(source, out, force)
    return list(files)


def write_data(file: Path, atoms: Atoms, elements: Sequence[str]) -> None:
    """Write a LAMMPS data file in metal units, with masses in u and atoms numbered from 1 on.

    Args:
        elements: chemical symbol of each LAMMPS type
    """
    atoms = atoms.copy()
    for name in ("type", "id"):  # of a LAMMPS file that it was read from, and ASE would write those
        atoms.arrays.pop(name, None)
    ase.io.write(file, atoms, format="lammps-data", specorder=list(elements), masses=True, units="metal")


def _settings_lines(info: Mapping[str, Any]) -> list[str]:
    return ["units         metal", "atom_style    atomic", f"newton        {_NEWTON[info['pair_style']]}"]


def _read_lines(info: Mapping[str, Any]) -> list[str]:
    """The user's structure, without which LAMMPS knows no types, as the pair style needs it."""
    lines = ["read_data     structure.data    # your structure"]
    if info["pair_style"] == "nequip":
        lines.append("reset_atoms   id    # from 1 to N, without which pair_style nequip crashes")
    return lines


def _potential_lines(info: Mapping[str, Any], types: Sequence[str], model: str) -> list[str]:
    style, names = info["pair_style"], _types(types)
    if style == "mliap":
        return [f"pair_style    mliap unified {_word(model)} 0", f"pair_coeff    * * {names}"]
    return [f"pair_style    {style}", f"pair_coeff    * * {_word(model)} {names}"]


def _mass_lines(types: Sequence[str], info: Mapping[str, Any]) -> list[str]:
    lines = []
    for i, name in enumerate(types, start=1):
        symbol = element_of(name, info)
        if symbol is None:
            lines.append(f"# mass        {i} ...    # in u, if the data file has none: {name} is no element")
        else:
            label = name if symbol == name else f"{name} ({symbol})"
            lines.append(f"mass          {i} {atomic_masses[atomic_numbers[symbol]]:.4f}    # {label}")
    return lines


def _uncertainty_usage(info: Mapping[str, Any]) -> list[str]:
    """How the uncertainty of a file is read, if it has one."""
    if info["uncertainty"] is None:
        return []
    thermo = " ".join(["thermo_style  custom step temp pe press", *thermo_columns(info)])
    lines = [*grade_lines(info), thermo, *watch_lines(info, "unknown.lammpstrj")]
    return ["How far its atoms are from the training (1: the farthest of it), after the pair style:", *_indented(lines)]


def _ase_lines(info: Mapping[str, Any]) -> list[str]:
    package, name = "nequip.integrations.ase", "NequIPCalculator"
    if info["uncertainty"] is not None:
        package, name = "nequip_elemtransfer", "UncertaintyCalculator"
    options = f"{_text(info['file'])}, device={_text(info['device'] or 'cpu')}"
    return [f"from {package} import {name}", f"atoms.calc = {name}.from_compiled_model({options})"]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _names_once(info: Mapping[str, Any]) -> str:
    if not info["per_edge_type_cutoff"] or info["pair_style"] == "mliap":
        return ""
    return (
        "Name each type once: the file has a cutoff for each pair of types, and two LAMMPS types of one name would get "
        "wrong ones without a word (nequip-deploy build --common-cutoff writes a file that allows it)."
    )


def _input(info: Mapping[str, Any], types: Sequence[str], atoms: Atoms, file: Path, temperature: float) -> str:
    name, model = file.name, os.path.relpath(info["file"], file.parent)
    run = f"{_MLIAP_COMMAND} {shlex.quote(name)} (N: the GPUs of a node)" if info["pair_style"] == "mliap" else None
    return "\n".join(
        [
            f"# {_types(types)}: minimise, heat to {temperature:g} K, run NVT (from nequip-deploy)",
            f"# Run in this folder: {run or f'lmp -in {shlex.quote(name)}'}",
            f"# {_RANKS[info['pair_style']]}",
            *([f"# The file {GLIBC_ADVICE}."] if info["executable_stack"] else []),
            "",
            *_settings_lines(info),
            "boundary      p p p",
            f"read_data     {_word(name + '.data')}",
            "",
            *_potential_lines(info, types, model),
            *grade_lines(info),
            "",
            *_SETTINGS,
            " ".join(["thermo_style  custom step temp pe ke etotal press vol", *thermo_columns(info)]),
            "",
            *_minimisation(atoms),
            "",
            *([*watched, ""] if (watched := watch_lines(info, dump_file(f"{name}.unknown.lammpstrj"))) else []),
            _DYNAMICS.format(
                temperature=temperature,
                dump=dump_file(f"{name}.lammpstrj"),
                elements=" ".join(elements_of(types, info)),
            ),
        ]
    )


def _minimisation(atoms: Atoms) -> list[str]:
    """Bring positions to rest, and the cell along periodic directions; vacuum keeps its size."""
    minimize = "minimize      0.0 1.0e-3 500 5000"
    periodic = [axis for axis, is_periodic in zip("xyz", atoms.pbc) if is_periodic]
    if not periodic:
        return ["# positions at rest", minimize, "reset_timestep 0"]
    tilted = not np.allclose(atoms.cell.angles(), 90)
    tilts = [a + b for a, b in combinations(periodic, 2)] if tilted else []
    pressures = " ".join(f"{component} 0.0" for component in periodic + tilts)
    return [
        "# positions and cell at rest",
        f"fix           relax all box/relax {pressures} vmax 0.001",
        minimize,
        "unfix         relax",
        "reset_timestep 0",
    ]


def _word(text: str) -> str:
    """A name as one word of a LAMMPS command; between quotes, ``$``, ``#`` and ``&`` are letters like others."""
    if re.fullmatch(r"[\w./+-]+", text, re.ASCII):
        return text
    # LAMMPS puts ASCII in the place of some other characters
    if all(c.isalnum() or (c.isascii() and c.isprintable()) for c in text):
        for quote in "\"'":
            if quote not in text:
                return f"{quote}{text}{quote}"
    raise UnreadableName(f"LAMMPS cannot read the file name {text!r}: rename the file, in letters and digits.")


def dump_file(text: str) -> str:
    """A file name as one word for ``dump``, which puts time steps and ranks in the place of some characters.

    Raises:
        UnreadableName: if LAMMPS would read it otherwise
    """
    if found := set("*%") & set(text):
        raise UnreadableName(f"LAMMPS would write {text!r} under another name because of its {min(found)!r}: rename.")
    return _word(text)


def _types(names: Sequence[str]) -> str:
    """Names of types as words of a LAMMPS command."""
    wrong = [name for name in names if not re.fullmatch(r"[\w.+-]+", name, re.ASCII) or name == "NULL"]
    if wrong:
        raise UnreadableName(
            f"the type {wrong[0]!r} cannot be named in LAMMPS, which takes ASCII letters and digits, and NULL for no "
            "type: train the model with another name."
        )
    return " ".join(names)


def _text(value: str) -> str:
    """A string in Python."""
    return json.dumps(value)


def _stem(file: str) -> str:
    return file.removesuffix(".nequip.zip")


# times in ps, lengths in Å, energies in eV, pressures in bar
_SETTINGS = (
    "neighbor      1.0 bin",
    "neigh_modify  delay 0 every 1 check yes",
    "thermo        50",
)
_DYNAMICS = """\
# heat in 5 ps
variable      T equal {temperature:g}              # K
timestep      0.001
velocity      all create $(v_T/10) 4928459 mom yes rot yes dist gaussian
fix           heat all nvt temp $(v_T/10) $T 0.1
run           5000
unfix         heat

# NVT for 20 ps
dump          trajectory all custom 100 {dump} id type element x y z fx fy fz
dump_modify   trajectory element {elements} sort id format float %.8f
fix           nvt all nvt temp $T $T 0.1
run           20000
"""
