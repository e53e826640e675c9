"""What can be wrong with a file of structures: each changes good ones."""

import io
import re

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

N = 6
NAN, INF = float("nan"), float("inf")


def copied(atoms):
    other = atoms.copy()
    labels = {name: np.copy(value) for name, value in atoms.calc.results.items()}
    labels["stress"] = full_3x3_to_voigt_6_stress(labels["stress"])
    other.calc = SinglePointCalculator(other, **labels)
    return other


def set_label(name, value, frames=range(N), place=()):
    """Puts a value into a label, or into one place of it."""

    def change(structures):
        for i in frames:
            label = np.array(structures[i].calc.results[name], dtype=float)
            label[place] = value
            structures[i].calc.results[name] = label if label.shape else float(label)

    return change


def times(name, factor):
    def change(structures):
        for atoms in structures:
            atoms.calc.results[name] = factor * np.asarray(atoms.calc.results[name])

    return change


def drop(*names, frames=range(N)):
    def change(structures):
        for i in frames:
            for name in names:
                del structures[i].calc.results[name]

    return change


def replaced(name, value, frame=2):
    """Puts a label of another shape or type where extended XYZ finds it."""

    def change(structures):
        del structures[frame].calc.results[name]
        holder = structures[frame].arrays if name == "forces" else structures[frame].info
        holder[name] = value

    return change


def called(name, other):
    """Puts a label under another name."""

    def change(structures):
        for atoms in structures:
            value = atoms.calc.results.pop(name)
            (atoms.arrays if np.ndim(value) == 2 else atoms.info)[other] = value

    return change


def beside(name, other):
    """Puts another calculator's label beside the structures' own."""

    def change(structures):
        for atoms in structures:
            atoms.arrays[other] = 1.2 * atoms.calc.results[name]

    return change


def moved(atom, position, frame=3):
    def change(structures):
        structures[frame].positions[atom] = position

    return change


def upon_another(distance):
    def change(structures):
        structures[3].positions[1] = structures[3].positions[0] + [distance, 0, 0]

    return change


def celled(cell, pbc=True, frame=3):
    def change(structures):
        structures[frame].cell[:] = cell
        structures[frame].pbc = pbc

    return change


def in_unit_of_length(size):
    def change(structures):
        for atoms in structures:
            atoms.set_cell(size * atoms.cell, scale_atoms=True)

    return change


def added(atoms):
    return lambda structures: [*structures, atoms]


def labelled(atoms, **labels):
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def dimer(element="Ge"):
    return labelled(
        Atoms(f"{element}2", positions=[[0, 0, 0], [0, 0.1, 2.5]]), energy=-4.0, forces=[[0, 0, 0.3], [0, 0, -0.3]]
    )


def isolated(energy):
    return labelled(Atoms("Ge", cell=[30, 30, 30], pbc=True), energy=energy, forces=[[0, 0, 0]], stress=np.zeros(6))


def as_virials(structures):
    for atoms in structures:
        stress = voigt_6_to_full_3x3_stress(atoms.calc.results.pop("stress"))
        atoms.info["virial"] = -stress * atoms.get_volume()


def crystal_without_forces(structures):
    """The perfect crystal: forces and shear are zero, energies alike."""
    perfect = bulk("Ge", "diamond", a=5.7, cubic=True)
    return [labelled(perfect.copy(), energy=-30.0, forces=np.zeros((8, 3)), stress=np.zeros(6)) for _ in range(N)]


def renamed(symbol, frame=1, atom=0):
    def change(structures):
        structures[frame].symbols[atom] = symbol

    return change


def as_text(structures):
    """The lines of an extended XYZ file."""
    buffer = io.StringIO()
    ase.io.write(buffer, structures, format="extxyz")
    return buffer.getvalue().splitlines(keepends=True)


def truncated(structures):
    return "".join(as_text(structures)[:15])


def energy_reads(text, frame=2):
    """The energy of one structure, as it stands in the file."""

    def change(structures):
        lines = as_text(structures)
        comment = frame * (len(structures[0]) + 2) + 1
        lines[comment], n = re.subn(r"energy=\S+", f"energy={text}", lines[comment])
        assert n == 1
        return "".join(lines)

    return change
