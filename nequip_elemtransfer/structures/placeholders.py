"""Zeros that stand where a label is missing, told from zeros that are true.

In a perfect crystal every force is zero by symmetry, and the energy of an isolated atom may be the zero of energy. So a
zero is a placeholder only where it cannot be true:

- forces that are all exactly zero, where atoms are not placed such that every sum of forces between pairs vanishes;
- a stress of nine exact zeros beside forces that are not zero, or in cells of different volumes, or in a file that has
  such stresses;
- an energy of exactly zero far from those that the other structures ask for.

They are taken for missing, and that is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from nequip.data import AtomicDataDict

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.labels import is_periodic, labels_of
from nequip_elemtransfer.structures.names import entries, full_tensor, without
from nequip_elemtransfer.structures.words import listed

# Å; pairs that are looked at for symmetry, and for whether an atom is alone
_REACH = 6.0

# Sums over pairs below this part of their terms vanish: positions are printed with six digits.
_VANISHES = 1e-4

# of volumes per atom, relative: at one volume at most the stress of a crystal is zero
_SAME_VOLUME = 1e-3

# An energy of zero is none where those of the others are this many times their spread away, and this much in eV/atom.
_SPREADS, _FARTHEST = 10.0, 0.1

_LISTED = 5

_FIELDS: dict[LabelKind, tuple[str, ...]] = {
    "energy": (AtomicDataDict.TOTAL_ENERGY_KEY,),
    "forces": (AtomicDataDict.FORCE_KEY,),
    "stress": (AtomicDataDict.STRESS_KEY, AtomicDataDict.VIRIAL_KEY),
}


def without_placeholders(structures: Sequence[Atoms], spec: str) -> tuple[str, ...]:
    """Take zeros that stand for missing labels out of structures.

    Args:
        structures: changed in place
        spec: the file, for messages

    Returns:
        sentences on what was taken out; none where nothing was
    """
    found = placeholders([RawLabels.of(atoms) for atoms in structures])
    for kind, members in found.items():
        for i in members:
            without(structures[i], [kind])
    return tuple(sentence(kind, members, len(structures), repr(spec)) for kind, members in found.items() if members)


def frames_without_placeholders(
    frames: Sequence[AtomicDataDict.Type],
) -> tuple[list[AtomicDataDict.Type], tuple[str, ...]]:
    """The same of NequIP's frames, in which NaN marks a missing label; those with a placeholder are copies."""
    found = placeholders([RawLabels.of_frame(frame) for frame in frames])
    cleaned = [dict(frame) for frame in frames]
    for kind, members in found.items():
        for i in members:
            for field in _FIELDS[kind]:
                if field in cleaned[i]:
                    cleaned[i][field] = torch.full_like(cleaned[i][field], torch.nan)
    where = "the training set"
    return cleaned, tuple(sentence(kind, own, len(frames), where) for kind, own in found.items() if own)


@dataclass(frozen=True)
class RawLabels:
    """What the search for placeholders sees of a structure; None for a label that is missing.

    Args:
        atoms: without labels
        energy: eV
        forces: eV/Å, shape (n_atoms, 3)
        stress: eV/Å³, shape (3, 3)
    """

    atoms: Atoms
    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None

    @classmethod
    def of(cls, atoms: Atoms) -> "RawLabels":
        """The labels under NequIP's names."""
        held = entries(atoms)
        energy, forces, stress = (held.get(kind) for kind in LABEL_KINDS)
        return cls(
            atoms,
            None if energy is None else float(np.ravel(energy)[0]),
            None if forces is None else np.asarray(forces, dtype=float),
            None if stress is None or not atoms.pbc.all() else full_tensor(stress),
        )

    @classmethod
    def of_frame(cls, frame: AtomicDataDict.Type) -> "RawLabels":
        """The labels of a NequIP frame; NaN is a label that is missing."""
        labels, periodic = labels_of([frame]), is_periodic(frame)
        numbers = frame.get(AtomicDataDict.ATOMIC_NUMBERS_KEY, frame[AtomicDataDict.ATOM_TYPE_KEY] + 1)
        atoms = Atoms(
            numbers.reshape(-1).numpy(),
            frame[AtomicDataDict.POSITIONS_KEY].detach().numpy(),
            cell=frame[AtomicDataDict.CELL_KEY].reshape(3, 3).numpy() if AtomicDataDict.CELL_KEY in frame else None,
            pbc=frame[AtomicDataDict.PBC_KEY].reshape(3).numpy() if AtomicDataDict.PBC_KEY in frame else False,
        )
        return cls(
            atoms,
            float(labels.energies[0]) if np.isfinite(labels.energies[0]) else None,
            labels.forces if np.isfinite(labels.forces).all() else None,
            labels.stresses[0] if periodic and np.isfinite(labels.stresses[0]).all() else None,
        )


def placeholders(found: Sequence[RawLabels]) -> dict[LabelKind, list[int]]:
    """Indices of the structures whose label of a kind is a zero that cannot be true."""
    forces = [i for i, one in enumerate(found) if _is_zero(one.forces) and not _rests_by_symmetry(one.atoms)]
    return {"energy": _energies(found), "forces": forces, "stress": _stresses(found, forces)}


def sentence(kind: LabelKind, members: Sequence[int], n: int, where: str) -> str:
    """What is said of placeholders."""
    reason: dict[LabelKind, str] = {
        "energy": "an energy of exactly 0, far from the others",
        "forces": "forces that are all exactly 0, though no symmetry asks for it",
        "stress": "a stress of exactly 0, which cannot be true beside its forces or in cells of several volumes",
    }
    return f"{len(members)} of {n} structures of {where} ({listed(members)}) have {reason[kind]}: taken for missing."


def _is_zero(values: np.ndarray | None) -> bool:
    return values is not None and not np.any(values)  # NaN is not zero


def _rests_by_symmetry(atoms: Atoms) -> bool:
    """Whether forces between pairs cancel on every atom, whatever they are: three functions of distance and two of the
    elements stand for all."""
    cell = complete_cell(atoms.cell)
    i, j, d, vectors = neighbour_list("ijdD", positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=_REACH)
    inside = (1 - d / _REACH) ** 2
    for charge in (np.ones(len(atoms)), np.sqrt(atoms.numbers)):
        for power in range(3):
            size = charge[j] * inside * (d / _REACH) ** power  # (n_pairs,)
            sums = [np.bincount(i, size * x / d, len(atoms)) for x in vectors.T]
            total = np.bincount(i, size, len(atoms))
            if np.any(np.linalg.norm(sums, axis=0) > _VANISHES * np.maximum(total, 1e-12)):
                return False
    return True


def _stresses(found: Sequence[RawLabels], without_forces: Sequence[int]) -> list[int]:
    zero = [i for i, one in enumerate(found) if _is_zero(one.stress)]
    missing = set(without_forces)
    beside = [i for i in zero if i not in missing and (f := found[i].forces) is not None and np.any(f)]
    if beside or len(zero) < 2:
        return zero if beside else []
    volumes: dict[str, list[float]] = {}
    for i in zero:
        atoms = found[i].atoms
        elements = atoms.symbols.formula.reduce()[0].format("hill")
        volumes.setdefault(elements, []).append(atoms.get_volume() / len(atoms))
    return zero if any(max(own) > (1 + _SAME_VOLUME) * min(own) for own in volumes.values()) else []


def _energies(found: Sequence[RawLabels]) -> list[int]:
    zero = [i for i, one in enumerate(found) if one.energy == 0 and _is_bonded(one.atoms)]
    if not zero:
        return []
    others = [i for i, one in enumerate(found) if one.energy and np.isfinite(one.energy)]
    if not others:
        return zero if len(zero) > 1 else []
    elements = sorted({int(z) for one in found for z in np.unique(one.atoms.numbers)})

    def fractions(members: Sequence[int]) -> np.ndarray:  # (n_members, n_elements)
        return np.array([[np.mean(found[i].atoms.numbers == z) for z in elements] for i in members])

    per_atom = np.array([(found[i].energy or 0.0) / len(found[i].atoms) for i in others])
    shifts = np.linalg.lstsq(fractions(others), per_atom, rcond=1e-8)[0]
    spread = float(np.median(np.abs(per_atom - fractions(others) @ shifts)))
    asked = fractions(zero) @ shifts
    return [i for i, e in zip(zero, asked) if abs(e) > _FARTHEST + _SPREADS * spread]


def _is_bonded(atoms: Atoms) -> bool:
    if len(atoms) == 1 and not atoms.pbc.any():
        return False
    cell = complete_cell(atoms.cell)
    return bool(neighbour_list("i", positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=_REACH).size)
