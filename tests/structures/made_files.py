"""Small files of structures with labels under any names, as people have them."""

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

N = 3
# eV, eV/Å and eV/Å³ of structure i; a virial is −σV
ENERGIES = [-8.0 - 0.25 * i for i in range(N)]


def forces(i, n=2):
    return np.arange(3.0 * n).reshape(n, 3) * 0.1 - 0.2 + 0.01 * i


def stress(i):
    return np.array([[1.0, 0.2, 0.3], [0.2, -1.0, 0.4], [0.3, 0.4, 0.5]]) * 0.01 * (i + 1)


def crystals(n=N):
    """Strained germanium without labels."""
    return [bulk("Ge", "diamond", a=5.66 + 0.02 * i) for i in range(n)]


def labelled(energy_as="energy", forces_as="forces", stress_as="stress", *, n=N, **more):
    """Crystals with labels under these names in arrays and info, where NequIP looks as well; None leaves one out.

    Args:
        more: name -> function of the index and the structure, for what stands beside them
    """
    made = crystals(n)
    for i, atoms in enumerate(made):
        if energy_as:
            atoms.info[energy_as] = ENERGIES[i % N]
        if forces_as:
            atoms.arrays[forces_as] = forces(i)
        if stress_as:
            atoms.info[stress_as] = stress(i)
        for name, value in more.items():
            found = value(i, atoms)
            holder = atoms.arrays if np.ndim(found) == 2 and np.shape(found) != (3, 3) else atoms.info
            if found is not None:
                holder[name] = found
    return made


def virial(i, atoms):
    return -stress(i) * atoms.get_volume()


def calculated(**labels):
    """Crystals whose labels a calculator holds."""
    made = crystals()
    for i, atoms in enumerate(made):
        atoms.calc = SinglePointCalculator(atoms, **{name: value(i) for name, value in labels.items()})
    return made


def written(folder, made, name="structures.xyz"):
    """The path of a file of structures, or of text."""
    path = folder / name
    if isinstance(made, bytes):
        path.write_bytes(made)
    elif isinstance(made, str):
        path.write_text(made)
    else:
        ase.io.write(path, made, **({"format": "extxyz"} if ".xyz" in name else {}))
    return path


def molecule(**info):
    return Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]], info=info)


def as_text(*frames):
    """Extended XYZ of frames, each a comment line and lines of atoms."""
    return "".join(f"{len(atoms)}\n{comment}\n" + "".join(f"{line}\n" for line in atoms) for comment, atoms in frames)


CELL = 'Lattice="0 2.8 2.8 2.8 0 2.8 2.8 2.8 0" Properties=species:S:1:pos:R:3'
ATOMS = ["Ge 0 0 0", "Ge 1.4 1.4 1.4"]
