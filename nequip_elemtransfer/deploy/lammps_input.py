"""How a deployed file is used: the lines for LAMMPS and ASE, and a complete LAMMPS input to start from."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

# pair_style nequip wants every force on the rank that owns the atom, pair_style allegro sends those on ghosts back
_NEWTON = {"nequip": "off", "allegro": "on"}

_RANKS = {
    "nequip": "The model passes messages, so pair_style nequip runs on one MPI rank (one GPU).",
    "allegro": "The model is strictly local, so pair_style allegro runs on any number of MPI ranks.",
}


def usage(info: Mapping[str, Any]) -> str:
    """How to use a file in LAMMPS or ASE, from its metadata."""
    file = info["file"]
    if info["kind"] == "package":
        return (
            f"Compile it where it will run: nequip-deploy build --model {file} {_stem(file)}.nequip.pth\n"
            "ASE: NequIPCalculator._from_saved_model, training: nequip.model.ModelFromPackage."
        )
    ase_line = f'NequIPCalculator.from_compiled_model("{file}", device="{info["device"] or "cpu"}")'
    if "stress" in (info["outputs"] or ""):
        return f"In ASE:\n  from nequip.integrations.ase import NequIPCalculator\n  atoms.calc = {ase_line}"
    lines = [
        "In LAMMPS (LAMMPS type i is the i-th name on the pair_coeff line):",
        *(f"  {line}" for line in _potential_lines(info, file)),
        *(f"  {line}" for line in _mass_lines(info["type_names"])),
        _RANKS[_pair_style(info)],
    ]
    return "\n".join(lines)


def write_lammps_input(
    file: Path, info: Mapping[str, Any], atoms: Atoms, temperature: float, force: bool = False
) -> list[Path]:
    """Write an input that minimises, heats and runs NVT, and its data file.

    Args:
        file: the input; the data file is ``FILE.data`` beside it
        info: metadata of the deployed file
        atoms: fully periodic
        temperature: in K
        force: replace files that exist

    Returns:
        the files written

    Raises:
        OSError: if they cannot be written
        ValueError: if the file is not for LAMMPS
    """
    if info["kind"] == "package" or "stress" in (info["outputs"] or ""):
        raise ValueError(f"{info['file']} is not compiled for LAMMPS: deploy a .nequip.pth, or a .nequip.pt2 for it.")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file} cannot be written: there is no folder {file.parent}.")
    data = file.with_name(f"{file.name}.data")
    for old in (file, data):
        if old.exists() and not force:
            raise FileExistsError(f"{old} exists; --force replaces it.")
    write_data(data, atoms, info["type_names"])
    model = os.path.relpath(info["file"], file.parent or ".")
    file.write_text(_input(info, model, file.name, data.name, temperature))
    return [file, data]


def write_data(file: Path, atoms: Atoms, type_names: Sequence[str]) -> None:
    """Write a LAMMPS data file in metal units, LAMMPS type i being the model's i-th type, with masses in u."""
    ase.io.write(file, atoms, format="lammps-data", specorder=list(type_names), masses=True, units="metal")


def _potential_lines(info: Mapping[str, Any], model: str) -> list[str]:
    style = _pair_style(info)
    return [
        "units         metal",
        "atom_style    atomic",
        f"newton        {_NEWTON[style]}",
        f"pair_style    {style}",
        f"pair_coeff    * * {model} {' '.join(info['type_names'])}",
    ]


def _pair_style(info: Mapping[str, Any]) -> str:
    """The recorded pair style; for a file of ``nequip-compile``, what its inputs say."""
    if info["inputs"] is not None:
        return "nequip" if "edge_cell_shift" in info["inputs"] else "allegro"
    return info["pair_style"] or "nequip"


def _mass_lines(type_names: Sequence[str]) -> list[str]:
    return [
        f"mass          {i} {atomic_masses[atomic_numbers[name]]:.4f}    # {name}"
        if name in atomic_numbers
        else f"mass          {i} ?    # {name} is no element: its mass in u"
        for i, name in enumerate(type_names, start=1)
    ]


def _input(info: Mapping[str, Any], model: str, name: str, data: str, temperature: float) -> str:
    units, style, newton, *potential = _potential_lines(info, model)
    return "\n".join(
        [
            f"# {' '.join(info['type_names'])}: minimise, heat to {temperature:g} K, run NVT (from nequip-deploy)",
            f"# Run in this folder: lmp -in {name}",
            f"# {_RANKS[_pair_style(info)]}",
            "",
            units,
            style,
            newton,
            "boundary      p p p",
            "box           tilt large",
            f"read_data     {data}",
            "",
            *potential,
            "",
            _PROTOCOL.format(temperature=temperature, dump=f"{name}.lammpstrj", types=" ".join(info["type_names"])),
        ]
    )


def _stem(file: str) -> str:
    return file.removesuffix(".nequip.zip")


# times in ps, lengths in Å, energies in eV, pressures in bar
_PROTOCOL = """\
variable      T equal {temperature:g}              # K
neighbor      1.0 bin
neigh_modify  delay 0 every 1 check yes
thermo        50
thermo_style  custom step temp pe ke etotal press vol

# positions and cell at rest
fix           relax all box/relax aniso 0.0 vmax 0.001
minimize      0.0 1.0e-3 500 5000
unfix         relax
reset_timestep 0

# heat in 5 ps
timestep      0.001
velocity      all create $(v_T/10) 4928459 mom yes rot yes dist gaussian
fix           heat all nvt temp $(v_T/10) $T 0.1
run           5000
unfix         heat

# NVT for 20 ps
dump          trajectory all custom 100 {dump} id type element x y z fx fy fz
dump_modify   trajectory element {types} sort id
fix           nvt all nvt temp $T $T 0.1
run           20000
"""
