"""What a target model predicts before any training, taken apart so that scales and shifts act without re-running it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel

from nequip_elemtransfer import fit
from nequip_elemtransfer.frames import Labels, compositions, predict
from nequip_elemtransfer.trained_options import set_energies


@dataclass(frozen=True)
class NetworkParts:
    """Predictions on frames by the type of the atom that holds the energy, at energy scales σ and zero shifts.

    Args:
        energies: of the network, eV, shape (n_types, n_frames)
        forces: of the network, eV/Å, shape (n_types, n_atoms, 3)
        fixed_energies: what no energy scale multiplies, such as a pair potential, eV, shape (n_frames,)
        fixed_forces: shape (n_atoms, 3)
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """

    energies: np.ndarray
    forces: np.ndarray
    fixed_energies: np.ndarray
    fixed_forces: np.ndarray
    counts: np.ndarray

    def predicted(self, alpha: np.ndarray, shifts: np.ndarray) -> Labels:
        """Energies and forces with σ times ``alpha`` and with ``shifts`` in eV, both of shape (n_types,)."""
        return Labels(
            energies=alpha @ self.energies + self.fixed_energies + self.counts @ shifts,
            forces=np.tensordot(alpha, self.forces, axes=1) + self.fixed_forces,
        )

    def fit_scales(self, labels: Labels, kept: np.ndarray) -> fit.EnergyScaleFit:
        """α by least squares of forces, see :func:`.fit.fit_energy_scales`; types in ``kept`` stay at one."""
        rest = (labels.forces - self.fixed_forces).reshape(-1)
        return fit.fit_energy_scales(rest, self.forces.reshape(len(kept), -1), kept)

    def fit_shifts(self, labels: Labels, alpha: np.ndarray, start: np.ndarray, kept: np.ndarray) -> fit.EnergyShiftFit:
        """μ in eV by least squares of energies at scales ``alpha``, see :func:`.fit.fit_energy_shifts`."""
        rest = labels.energies - self.predicted(alpha, np.zeros(len(alpha))).energies
        return fit.fit_energy_shifts(rest, self.counts, start, kept)

    def of_frames(self, frames: np.ndarray) -> "NetworkParts":
        """The same for some of the frames, given by index."""
        atoms = atoms_of_frames(frames, self.counts)
        return NetworkParts(
            energies=self.energies[:, frames],
            forces=self.forces[:, atoms],
            fixed_energies=self.fixed_energies[frames],
            fixed_forces=self.fixed_forces[atoms],
            counts=self.counts[frames],
        )


@dataclass(frozen=True)
class ZeroShot:
    """Errors on the training frames after one step of the initialisation, before any training.

    Args:
        step: what was done last
        force_mae: over force components, eV/Å, None without force labels
        force_rmse: likewise
        energy_mae: over energies per atom, eV/atom, None without energy labels
        energy_mae_refitted: the same with the energy shifts refitted, which makes the steps comparable
    """

    step: str
    force_mae: float | None
    force_rmse: float | None
    energy_mae: float | None
    energy_mae_refitted: float | None


def atoms_of_frames(frames: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Indices, among the atoms of all frames, of the atoms of the frames given by index.

    Args:
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """
    ends = np.cumsum(counts.sum(axis=1))
    starts = ends - counts.sum(axis=1)
    return np.concatenate([np.arange(starts[f], ends[f]) for f in frames])


def network_parts(
    model: GraphModel, frames: Sequence[AtomicDataDict.Type], scales: np.ndarray, task: str = ""
) -> NetworkParts:
    """Run a model on frames once for each type they hold, and once more if it has parts that do not scale.

    Args:
        model: its scales and shifts are set here and left at those values
        frames: with neighbour lists
        scales: σ of each type, shape (n_types,)
        task: name for a progress bar
    """
    n_types = len(scales)
    zero, counts = np.zeros(n_types), compositions(frames, n_types)
    energies = np.zeros((n_types, len(frames)))
    forces = np.zeros((n_types, counts.sum(), 3))
    fixed = Labels(np.zeros(len(frames)), np.zeros(forces.shape[1:]))
    if any(name.endswith("pair_potential") for name, _ in model.named_modules()):
        set_energies(model, zero, zero)
        fixed = predict(model, frames, task)
    for t in np.flatnonzero(counts.any(axis=0)):
        set_energies(model, np.where(np.arange(n_types) == t, scales, 0.0), zero)
        found = predict(model, frames, task)
        energies[t] = found.energies - fixed.energies
        if found.forces is not None:
            forces[t] = found.forces - fixed.forces
    set_energies(model, scales, zero)
    return NetworkParts(energies, forces, fixed.energies, fixed.forces, counts)


def zero_shot(step: str, predicted: Labels, labels: Labels, counts: np.ndarray) -> ZeroShot:
    """Errors of predictions against labels.

    Args:
        step: what was done last
        counts: atoms of each type in each frame, shape (n_frames, n_types)
    """
    force_mae = force_rmse = energy_mae = refitted = None
    if labels.forces is not None:
        error = predicted.forces - labels.forces
        force_mae, force_rmse = float(np.abs(error).mean()), float(np.sqrt((error**2).mean()))
    if labels.energies is not None:
        n_atoms, error = counts.sum(axis=1), predicted.energies - labels.energies
        energy_mae = float(np.abs(error / n_atoms).mean())
        refitted = float(np.abs(fit.composition_residual(error, counts)).mean())
    return ZeroShot(step, force_mae, force_rmse, energy_mae, refitted)
