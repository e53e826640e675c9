"""Any ASE calculator: its description, and its energy, forces and stress or one sentence on why there are none.

A description names it as Hydra names things, with its arguments: ``{_target_: ase.calculators.emt.EMT}``. What is named
is imported and called, so a description is the user's own and never comes out of a checkpoint.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from hydra.utils import instantiate

from nequip_elemtransfer.output.paths import CALCULATOR_EXAMPLE, require_calculators


def check_description(key: str, value: Any) -> dict[str, Any]:
    """The description of a calculator, once it is one.

    Args:
        key: what a message calls it

    Raises:
        ValueError: it names no ``_target_``
    """
    if not (isinstance(value, Mapping) and isinstance(value.get("_target_"), str)):
        raise ValueError(f"{key} must describe an ASE calculator, as in {CALCULATOR_EXAMPLE}, found {value!r}.")
    return dict(value)


def read_description(path: str | Path) -> dict[str, Any]:
    """The description in a YAML file.

    Raises:
        FileNotFoundError: there is no such file
        ValueError: it is not YAML, or describes no calculator
    """
    require_calculators(path)
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    return check_description(repr(str(path)), value)


def make_calculator(key: str, description: Mapping[str, Any]) -> Calculator:
    """The calculator of a description.

    Args:
        key: what a message calls it

    Raises:
        ValueError: it cannot be imported or made, or is no ASE calculator
    """
    try:
        made = instantiate(dict(description))
    except Exception as error:  # whatever the named class or function raises
        reason = " ".join(str(error.__cause__ or error).split()) or type(error).__name__
        raise ValueError(f"{key} cannot be made from {dict(description)}: {reason}") from error
    if not callable(getattr(made, "get_property", None)):
        raise ValueError(f"{key} names {description['_target_']!r}, which makes no ASE calculator but {made!r:.80}.")
    return made


class NotLabelled(ValueError):
    """A structure that a calculator has no energy and forces of."""


@dataclass(frozen=True)
class CalculatedLabels:
    """What a calculator says of a structure.

    Args:
        energy: total, eV
        forces: in eV/Å, shape (n_atoms, 3)
        stress: in eV/Å³, Voigt order xx, yy, zz, yz, xz, xy, positive under tension, shape (6,); None for a structure
            that is not periodic in three directions, and where the calculator has none
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None


@dataclass(frozen=True)
class CallSeconds:
    """What a force call takes.

    Args:
        clock: s
        processor: of all threads of this process, s; less than the clock where the call waits for a busy processor, a
            GPU or another process
    """

    clock: float
    processor: float


def calculated_labels(atoms: Atoms, calculator: Calculator) -> CalculatedLabels:
    """Energy, forces, and stress if there is one.

    Args:
        atoms: left as it is
        calculator: forgets what it calculated before

    Raises:
        NotLabelled: the calculator fails, lacks energies or forces, or gives numbers that are not finite
    """
    atoms = _bare(atoms)
    if hasattr(calculator, "reset"):
        calculator.reset()  # some keep the number of atoms
    atoms.calc = calculator
    try:
        energy, forces = float(atoms.get_potential_energy()), np.array(atoms.get_forces(), dtype=float)
        stress = _stress(atoms) if atoms.pbc.all() else None
    except Exception as error:  # a calculator may fail in any way
        raise _not_labelled(error) from error
    for name, value in (("energy", energy), ("forces", forces), ("stress", stress)):
        if value is not None and not np.isfinite(value).all():
            raise NotLabelled(f"the {name} {'are' if name == 'forces' else 'is'} not finite")
    if forces.shape != (len(atoms), 3):
        raise NotLabelled(f"the forces have the shape {forces.shape}, not ({len(atoms)}, 3)")
    return CalculatedLabels(energy, forces, stress)


def seconds_of_forces(atoms: Atoms, calculator: Calculator) -> CallSeconds:
    """What a force call takes.

    Args:
        atoms: moved since the last call, or a calculator answers from memory

    Raises:
        NotLabelled: the calculator fails
    """
    atoms = _bare(atoms)
    atoms.calc = calculator
    clock, processor = time.perf_counter(), time.process_time()
    try:
        atoms.get_forces()
    except Exception as error:  # a calculator may fail in any way
        raise _not_labelled(error) from error
    return CallSeconds(time.perf_counter() - clock, time.process_time() - processor)


def _not_labelled(error: Exception) -> NotLabelled:
    return NotLabelled(f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}")


def _stress(atoms: Atoms) -> np.ndarray | None:
    try:
        return np.array(atoms.get_stress(), dtype=float)
    except (PropertyNotImplementedError, NotImplementedError):
        return None


def _bare(atoms: Atoms) -> Atoms:
    """The structure without the labels it may have, with what a calculation may depend on."""
    bare = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=atoms.info.copy())
    for name in ("initial_magmoms", "initial_charges", "tags"):
        if atoms.has(name):
            bare.set_array(name, atoms.get_array(name))
    return bare
