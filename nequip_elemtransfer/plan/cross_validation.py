"""A candidate start on structures: evaluated at many λ, its energies fitted on some and tried on others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from nequip_elemtransfer import fit
from nequip_elemtransfer.frames import Labels, compositions
from nequip_elemtransfer.plan.errors import unexplained_force_variance
from nequip_elemtransfer.transfer import Transfer
from nequip_elemtransfer.zero_shot import NetworkParts, atoms_of_frames

# λ is searched as a factor on the first guess of each type: coarsely over the range, then finely about the best.
COARSE_FACTORS = np.round(np.arange(0.8, 1.2401, 0.04), 4)
FINE_STEP = 0.01
_FINE_STEPS = 3


@dataclass(frozen=True)
class Energies:
    """Energy scales and shifts.

    Args:
        scales: α of each target type, shape (n_types,)
        shifts: μ of each target type in eV, shape (n_types,)
        resembles: False if the forces gave no positive α, which then is one
    """

    scales: np.ndarray
    shifts: np.ndarray
    resembles: bool = True


class Start:
    """One element map of a transfer on its labelled frames.

    Args:
        transfer: gives the source, the element map and the frames; its λ is not used
        folds: indices of the frames of each fold, see :func:`.structures.folds`
        labels: of the frames
    """

    def __init__(self, transfer: Transfer, folds: Sequence[np.ndarray], labels: Labels) -> None:
        self.transfer, self.folds, self.labels = transfer, folds, labels
        self.kept = transfer.element_map.kept
        self.guess = np.where(self.kept, 1.0, transfer.first_guess())
        self.factors = np.array([])  # scanned, ascending
        self._parts: dict[tuple[float, ...], NetworkParts] = {}

    def scales(self, factor: float) -> np.ndarray:
        """λ of each target type at a factor on the first guess, shape (n_types,); kept types stay at one."""
        return np.where(self.kept, 1.0, factor * self.guess)

    def parts(self, scales: np.ndarray) -> NetworkParts:
        """Predictions at λ of each target type, computed once for each λ."""
        key = tuple(np.round(scales, 6).tolist())
        if key not in self._parts:
            self._parts[key] = self.transfer.parts_at(np.array(key))
        return self._parts[key]

    @property
    def counts(self) -> np.ndarray:
        """Atoms of each type in each frame, shape (n_frames, n_types)."""
        return compositions(self.transfer.frames, len(self.kept))

    def scan(self, coarse: np.ndarray = COARSE_FACTORS, task: str = "") -> None:
        """Evaluate the start over the range of λ, and finely about the best of it."""
        self._evaluate(coarse, task)
        best = self.best_factor(np.arange(len(self.transfer.frames)))
        self._evaluate(best + FINE_STEP * np.arange(-_FINE_STEPS, _FINE_STEPS + 1), f"{task}, fine" if task else "")

    def _evaluate(self, factors: np.ndarray, task: str) -> None:
        for factor in tqdm(factors, desc=task, unit="λ", disable=not task, leave=False):
            self.parts(self.scales(factor))
        self.factors = np.unique(np.round([*self.factors, *factors], 6))

    def best_factor(self, frames: np.ndarray) -> float:
        """The factor, of those evaluated, that a fit to ``frames`` chooses."""
        factors = self.factors
        return float(factors[np.argmin([self.objective(factor, frames) for factor in factors])])

    def refined_factor(self, frames: np.ndarray) -> float:
        """:meth:`best_factor` improved by the parabola through it and its two neighbors."""
        factors, best = self.factors, self.best_factor(frames)
        place = int(np.argmin(np.abs(factors - best)))
        if place in (0, len(factors) - 1):
            return best
        x = factors[place - 1 : place + 2]
        a, b, _ = np.polyfit(x, [self.objective(factor, frames) for factor in x], 2)
        return float(np.clip(-b / (2 * a), x[0], x[2])) if a > 0 else best

    def objective(self, factor: float, frames: np.ndarray) -> float:
        """What ``length_scale: fit`` minimises, see :func:`nequip_elemtransfer.fit.length_objective`."""
        parts, labels = self.parts(self.scales(factor)).of_frames(frames), self.labels_of(frames)
        try:
            alpha = parts.fit_scales(labels, self.kept).scales
        except ValueError:
            return fit.NO_RESEMBLANCE
        return fit.length_objective(labels, parts.predicted(alpha, np.zeros(len(alpha))), parts.counts)

    def energies(self, scales: np.ndarray, frames: np.ndarray, *, scale: bool = True, shift: bool = True) -> Energies:
        """α and μ fitted to some frames at λ of each type, or left as they come from the source."""
        parts, labels = self.parts(scales).of_frames(frames), self.labels_of(frames)
        alpha, shifts, resembles = np.ones(len(self.kept)), self.transfer.start_shifts, True
        if scale and labels.forces is not None:
            try:
                alpha = parts.fit_scales(labels, self.kept).scales
            except ValueError:
                resembles = False
        if shift and labels.energies is not None:
            shifts = parts.fit_shifts(labels, alpha, shifts, self.kept).shifts
        return Energies(alpha, shifts, resembles)

    def held_out(self, scales: np.ndarray | None, *, scale: bool = True, shift: bool = True) -> Labels:
        """Predictions on every frame by a start fitted to the other folds.

        Args:
            scales: λ of each target type; None fits it too
            scale, shift: whether α and μ are fitted
        """
        every = np.arange(len(self.transfer.frames))
        energies, forces = np.zeros(len(every)), np.zeros((self.counts.sum(), 3))
        for fold in self.folds:
            train = np.setdiff1d(every, fold)
            if len(train):
                at = self.scales(self.best_factor(train)) if scales is None else scales
                fitted = self.energies(at, train, scale=scale, shift=shift)
            else:  # one structure: nothing to fit to, so nothing is fitted
                at = self.guess if scales is None else scales
                fitted = Energies(np.ones(len(self.kept)), self.transfer.start_shifts)
            predicted = self.parts(at).of_frames(fold).predicted(fitted.scales, fitted.shifts)
            energies[fold] = predicted.energies
            forces[atoms_of_frames(fold, self.counts)] = predicted.forces
        return Labels(energies, forces)

    def labels_of(self, frames: np.ndarray) -> Labels:
        """Labels of the frames given by index."""
        energies, forces = self.labels.energies, self.labels.forces
        return Labels(
            energies=None if energies is None else energies[frames],
            forces=None if forces is None else forces[atoms_of_frames(frames, self.counts)],
        )

    def unexplained(self, scales: np.ndarray | None) -> float:
        """Part of the force variance of held-out frames that the fitted start does not explain."""
        return unexplained_force_variance(self.held_out(scales), self.labels)

    def unexplained_map_alone(self) -> float:
        """The same for the element map alone, at λ = α = 1."""
        return unexplained_force_variance(self.held_out(np.ones(len(self.kept)), scale=False), self.labels)
