"""What a target model predicts, taken apart by type so that energy scales and shifts act without re-running it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.builders import evaluation_mode, set_energies
from nequip_elemtransfer.architecture.nequip_names import PAIR_POTENTIAL
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.least_unexplained import Term
from nequip_elemtransfer.output.progress import progress_bar
from nequip_elemtransfer.structures.frames import compositions, is_bonded
from nequip_elemtransfer.structures.labels import LabelKind, Labels, atoms_of_frames, is_periodic

Frames = Sequence[AtomicDataDict.Type]


@dataclass(frozen=True)
class NetworkParts:
    """Predictions on frames by the type of the atom that holds the energy, at energy scales σ and zero shifts.

    Forces and stresses are derivatives of the energy, so they split and scale as it does.

    Args:
        energies: of the network, eV, shape (n_types, n_frames)
        forces: of the network, eV/Å, shape (n_types, n_atoms, 3)
        stresses: of the network, eV/Å³, shape (n_types, n_frames, 3, 3); NaN for frames that are not periodic
        fixed: what no energy scale multiplies, such as a pair potential
        counts: atoms of each type in each frame, shape (n_frames, n_types)
        bonded: whether any atom of the frame has a neighbour, shape (n_frames,); None if they all have. Energies of
            isolated atoms are no part of any fit
    """

    energies: np.ndarray
    forces: np.ndarray
    stresses: np.ndarray
    fixed: Labels
    counts: np.ndarray
    bonded: np.ndarray | None = None

    def predicted(self, alpha: np.ndarray, shifts: np.ndarray) -> Labels:
        """What the model says with σ times ``alpha`` and with ``shifts`` in eV, both of shape (n_types,)."""
        return Labels(
            energies=alpha @ self.energies + self.fixed.energies + self.counts @ shifts,
            forces=np.tensordot(alpha, self.forces, axes=1) + self.fixed.forces,
            stresses=np.tensordot(alpha, self.stresses, axes=1) + self.fixed.stresses,
        )

    def terms(self, labels: Labels) -> dict[LabelKind, Term]:
        """What fits to labels have to explain, see :func:`.fit.make_terms`."""
        by_kind: dict[LabelKind, np.ndarray] = {"energy": self.energies, "forces": self.forces, "stress": self.stresses}
        return fit.make_terms(self._of_bonded(labels), self.fixed, by_kind, self.counts)

    def fit_shifts(
        self, labels: Labels, alpha: np.ndarray, start: np.ndarray, frozen: np.ndarray
    ) -> fit.EnergyShiftFit:
        """μ in eV by least squares of energies at scales ``alpha``, see :func:`.fit.fit_energy_shifts`."""
        rest = self._of_bonded(labels).energies - self.predicted(alpha, np.zeros(len(alpha))).energies
        return fit.fit_energy_shifts(rest, self.counts, start, frozen)

    def of_frames(self, frames: np.ndarray) -> "NetworkParts":
        """The same for some of the frames, given by index."""
        return NetworkParts(
            energies=self.energies[:, frames],
            forces=self.forces[:, atoms_of_frames(frames, self.counts)],
            stresses=self.stresses[:, frames],
            fixed=self.fixed.of_frames(frames, self.counts),
            counts=self.counts[frames],
            bonded=None if self.bonded is None else self.bonded[frames],
        )

    def _of_bonded(self, labels: Labels) -> Labels:
        return labels if self.bonded is None else labels.without(np.flatnonzero(~self.bonded), self.counts)


def predict(model: GraphModel, frames: Iterable[AtomicDataDict.Type], task: str = "") -> Labels:
    """A model's energies, forces and stresses on frames that carry neighbour lists.

    The frames go to the device the model is on. What the model does not predict is NaN, and so is the stress of a
    frame that is not periodic.

    Args:
        task: what a progress bar calls it; no bar if empty
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    energies, forces, stresses = [], [], []
    with evaluation_mode(model):
        for frame in progress_bar(frames, desc=task, unit="frame", disable=not task, leave=False):
            out = model(AtomicDataDict.to_(frame.copy(), device))
            energies.append(out[AtomicDataDict.TOTAL_ENERGY_KEY].item())
            forces.append(_array(out, AtomicDataDict.FORCE_KEY, (len(frame[AtomicDataDict.POSITIONS_KEY]), 3)))
            stress = _array(out, AtomicDataDict.STRESS_KEY, (3, 3))
            stresses.append(stress if is_periodic(frame) else np.full((3, 3), np.nan))
    return Labels(np.array(energies), np.concatenate(forces), np.array(stresses))


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
    n_types, bonded = len(scales), np.array([is_bonded(frame) for frame in frames])
    zero, counts = np.zeros(n_types), compositions(frames, n_types)
    nothing = Labels(np.zeros(len(frames)), np.zeros((counts.sum(), 3)), np.zeros((len(frames), 3, 3)))
    fixed = nothing
    if any(name.endswith(PAIR_POTENTIAL) for name, _ in model.named_modules()):
        set_energies(model, zero, zero)
        fixed = predict(model, frames, task)
    found: dict[int, Labels] = {}
    for t in np.flatnonzero(counts.any(axis=0)).tolist():
        set_energies(model, np.where(np.arange(n_types) == t, scales, 0.0), zero)
        found[t] = predict(model, frames, task)
    set_energies(model, scales, zero)

    def parts(name: str) -> np.ndarray:
        zeros, constant = getattr(nothing, name), getattr(fixed, name)
        return np.array([getattr(found[t], name) - constant if t in found else zeros for t in range(n_types)])

    return NetworkParts(parts("energies"), parts("forces"), parts("stresses"), fixed, counts, bonded)


def _array(out: AtomicDataDict.Type, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in out:
        return np.full(shape, np.nan)
    return out[name].detach().double().cpu().numpy().reshape(shape)
