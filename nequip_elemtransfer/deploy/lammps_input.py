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

from nequip_elemtransfer.output.atomic import folder_beside, put_in_place, require_writable
from nequip_elemtransfer.output.table import printable

# pair_style nequip wants every force on the rank that owns the atom, pair_style allegro sends those on ghosts back
_NEWTON = {"nequip": "off", "allegro": "on", "mliap": "on"}

_RANKS = {
    "nequip": "The model passes messages, so pair_style nequip runs on one MPI rank (one GPU).",
    "allegro": "The model is strictly local, so pair_style allegro runs on any number of MPI ranks.",
    "mliap": "pair_style mliap runs on any number of MPI ranks, which exchange what ghosts have received. On GPUs, one "
    "for each rank: lmp -k on g 1 -sf kk -pk kokkos newton on neigh half.",
}


class UnreadableName(ValueError):
    """A name that LAMMPS reads as another, or not at all."""


def usage(info: Mapping[str, Any]) -> str:
    """How to use a file in LAMMPS or ASE, from its metadata."""
    file = info["file"]
    if info["kind"] == "package":
        command = ["nequip-deploy", "build", "--model", file, f"{_stem(file)}.nequip.pth"]
        return (
            f"Compile it where it will run: {printable(shlex.join(command))}\n"
            "ASE: NequIPCalculator._from_saved_model, training: nequip.model.ModelFromPackage."
        )
    ase_line = f"NequIPCalculator.from_compiled_model({_text(file)}, device={_text(info['device'] or 'cpu')})"
    if info["pair_style"] is None:
        return f"In ASE:\n  from nequip.integrations.ase import NequIPCalculator\n  atoms.calc = {ase_line}"
    try:
        potential = _potential_lines(info, file)
    except UnreadableName as error:
        return f"No lines for LAMMPS: {error}"
    lines = [
        "In LAMMPS (LAMMPS type i is the i-th name on the pair_coeff line):",
        *(f"  {line}" for line in potential),
        *(f"  {line}" for line in _mass_lines(info["type_names"])),
        _RANKS[info["pair_style"]],
    ]
    return "\n".join(lines)


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
    file: Path, info: Mapping[str, Any], atoms: Atoms, temperature: float, force: bool = False
) -> list[Path]:
    """Write an input that minimises, heats and runs NVT, and its data file.

    Args:
        file: the input; the data file is ``FILE.data`` beside it
        info: metadata of the deployed file
        atoms: the cell is brought to rest along its periodic directions
        temperature: in K
        force: replace files that exist

    Returns:
        the files written

    Raises:
        OSError: if they cannot be written
        UnreadableName: if LAMMPS would read the name of a file or a type otherwise
        ValueError: if the file is not for LAMMPS
    """
    if info["pair_style"] is None:
        raise ValueError(
            f"{info['file']} is not for LAMMPS: deploy a .nequip.pth or .nequip.lmp.pt, or a .nequip.pt2 for LAMMPS."
        )
    files = input_files(file, force)
    with folder_beside(file) as folder:
        staged = [folder / out.name for out in files]
        try:
            staged[0].write_text(_input(info, atoms, file, temperature), encoding="utf-8")
            write_data(staged[1], atoms, info["type_names"])
        except OSError as error:
            raise OSError(f"{file} and its data file cannot be written: {error.strerror}.") from error
        for source, out in zip(staged, files):
            put_in_place(source, out, force)
    return list(files)


def write_data(file: Path, atoms: Atoms, type_names: Sequence[str]) -> None:
    """Write a LAMMPS data file in metal units, LAMMPS type i being the model's i-th type, with masses in u."""
    ase.io.write(file, atoms, format="lammps-data", specorder=list(type_names), masses=True, units="metal")


def _potential_lines(info: Mapping[str, Any], model: str) -> list[str]:
    style, types = info["pair_style"], _types(info["type_names"])
    if style == "mliap":
        pair = [f"pair_style    mliap unified {_word(model)} 0", f"pair_coeff    * * {types}"]
    else:
        pair = [f"pair_style    {style}", f"pair_coeff    * * {_word(model)} {types}"]
    return ["units         metal", "atom_style    atomic", f"newton        {_NEWTON[style]}", *pair]


def _mass_lines(type_names: Sequence[str]) -> list[str]:
    return [
        f"mass          {i} {atomic_masses[atomic_numbers[name]]:.4f}    # {name}"
        if name in atomic_numbers
        else f"mass          {i} ?    # {name} is no element: its mass in u"
        for i, name in enumerate(type_names, start=1)
    ]


def _input(info: Mapping[str, Any], atoms: Atoms, file: Path, temperature: float) -> str:
    units, style, newton, *potential = _potential_lines(info, os.path.relpath(info["file"], file.parent))
    name = file.name
    return "\n".join(
        [
            f"# {_types(info['type_names'])}: minimise, heat to {temperature:g} K, run NVT (from nequip-deploy)",
            f"# Run in this folder: lmp -in {shlex.quote(name)}",
            f"# {_RANKS[info['pair_style']]}",
            "",
            units,
            style,
            newton,
            "boundary      p p p",
            f"read_data     {_word(name + '.data')}",
            "",
            *potential,
            "",
            *_SETTINGS,
            "",
            *_minimisation(atoms),
            "",
            _DYNAMICS.format(
                temperature=temperature, dump=dump_file(f"{name}.lammpstrj"), types=_types(info["type_names"])
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
    "thermo_style  custom step temp pe ke etotal press vol",
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
dump_modify   trajectory element {types} sort id format float %.8f
fix           nvt all nvt temp $T $T 0.1
run           20000
"""
