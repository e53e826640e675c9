"""Reference energies, forces and stresses of structures, in NequIP's units and signs; NaN marks what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from nequip.data import AtomicDataDict

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind


@dataclass(frozen=True)
class Labels:
    """Reference values of structures, or a model's predictions. NaN, NequIP's own mark, stands for a missing label.

    Args:
        energies: total energy of each structure in eV, shape (n_frames,)
        forces: of all atoms in eV/Å, shape (n_atoms, 3)
        stresses: in eV/Å³, positive under tension, shape (n_frames, 3, 3)
    """

    energies: np.ndarray
    forces: np.ndarray
    stresses: np.ndarray

    def of(self, kind: LabelKind) -> np.ndarray:
        """The values of one kind."""
        return {"energy": self.energies, "forces": self.forces, "stress": self.stresses}[kind]

    def has(self, kind: LabelKind) -> bool:
        """Whether any structure has a label of the kind."""
        return bool(np.isfinite(self.of(kind)).any())

    @property
    def kinds(self) -> tuple[LabelKind, ...]:
        """The kinds there are labels of."""
        return tuple(kind for kind in LABEL_KINDS if self.has(kind))

    def of_frames(self, frames: np.ndarray, counts: np.ndarray) -> "Labels":
        """The labels of some structures, given by index.

        Args:
            counts: atoms of each type in each structure, shape (n_frames, n_types)
        """
        return Labels(self.energies[frames], self.forces[atoms_of_frames(frames, counts)], self.stresses[frames])

    def without(self, frames: Sequence[int] | np.ndarray, counts: np.ndarray) -> "Labels":
        """The same with every label of some structures missing."""
        atoms = atoms_of_frames(np.array(frames, dtype=int), counts)
        energies, forces, stresses = self.energies.copy(), self.forces.copy(), self.stresses.copy()
        energies[list(frames)], forces[atoms], stresses[list(frames)] = np.nan, np.nan, np.nan
        return Labels(energies, forces, stresses)

    def without_kinds(self, *kinds: LabelKind) -> "Labels":
        """The same with every label of some kinds missing."""
        name = {"energy": "energies", "forces": "forces", "stress": "stresses"}
        return replace(self, **{name[kind]: np.full_like(self.of(kind), np.nan) for kind in kinds})


def labels_of(frames: Sequence[AtomicDataDict.Type]) -> Labels:
    """The reference values of frames.

    A stress is that of a structure with a volume: where a structure is not periodic in all three directions, whatever
    a file says of its stress depends on the size of an arbitrary box, and is left out. A virial stands for a stress
    where there is none, ``σ = −W / V``.
    """
    return Labels(
        energies=np.array([_energy(f) for f in frames]),
        forces=np.concatenate([_forces(f) for f in frames]),
        stresses=np.array([_stress(f) for f in frames]),
    )


def energy_of(atoms: Atoms) -> float | None:
    """Stored energy in eV, None if there is none or it is not finite. Nothing is computed."""
    stored = {} if atoms.calc is None else atoms.calc.results
    energy = stored.get("energy", atoms.info.get("energy"))
    return float(energy) if energy is not None and np.isfinite(energy) else None


def forces_of(atoms: Atoms) -> np.ndarray | None:
    """Stored forces in eV/Å, shape (n_atoms, 3), None if there are none or one is not finite. Nothing is computed."""
    stored = {} if atoms.calc is None else atoms.calc.results
    forces = stored.get("forces", atoms.arrays.get("forces"))
    return np.asarray(forces, dtype=float) if forces is not None and np.isfinite(forces).all() else None


def missing_labels(labels: Labels, counts: np.ndarray) -> dict[str, int]:
    """Number of structures without an energy, without some force, without a stress.

    Args:
        counts: atoms of each type in each structure, shape (n_frames, n_types)
    """
    frame = np.repeat(np.arange(len(counts)), counts.sum(axis=1))
    found = {
        "energy": ~np.isfinite(labels.energies),
        "forces": np.bincount(frame, ~np.isfinite(labels.forces).all(axis=1), len(counts)) > 0,
        "stress": ~np.isfinite(labels.stresses).all(axis=(1, 2)),
    }
    return {kind: int(mask.sum()) for kind, mask in found.items()}


def atoms_of_frames(frames: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Indices, among the atoms of all frames, of the atoms of the frames given by index.

    Args:
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """
    ends = np.cumsum(counts.sum(axis=1))
    starts = ends - counts.sum(axis=1)
    return np.concatenate([np.arange(starts[f], ends[f]) for f in frames] or [np.zeros(0, dtype=int)])


def is_periodic(frame: AtomicDataDict.Type) -> bool:
    """Whether a frame is periodic in all three directions of a cell with a volume."""
    if AtomicDataDict.CELL_KEY not in frame or AtomicDataDict.PBC_KEY not in frame:
        return False
    return bool(frame[AtomicDataDict.PBC_KEY].all()) and _volume(frame) > 0


def _volume(frame: Mapping[str, Any]) -> float:
    """In Å³."""
    return float(abs(np.linalg.det(frame[AtomicDataDict.CELL_KEY].reshape(3, 3).double().cpu().numpy())))


def _energy(frame: AtomicDataDict.Type) -> float:
    energy = frame.get(AtomicDataDict.TOTAL_ENERGY_KEY)
    return np.nan if energy is None else float(energy)


def _forces(frame: AtomicDataDict.Type) -> np.ndarray:
    forces = frame.get(AtomicDataDict.FORCE_KEY)
    if forces is None:
        return np.full((len(frame[AtomicDataDict.POSITIONS_KEY]), 3), np.nan)
    return forces.detach().double().cpu().numpy()


def _stress(frame: AtomicDataDict.Type) -> np.ndarray:
    if not is_periodic(frame):
        return np.full((3, 3), np.nan)
    if AtomicDataDict.STRESS_KEY in frame:
        stress = frame[AtomicDataDict.STRESS_KEY].detach().double().cpu().numpy().reshape(3, 3)
        if np.isfinite(stress).all():
            return stress
    if AtomicDataDict.VIRIAL_KEY in frame:
        virial = frame[AtomicDataDict.VIRIAL_KEY].detach().double().cpu().numpy().reshape(3, 3)
        return -virial / _volume(frame)
    return np.full((3, 3), np.nan)
