"""A candidate start on structures: λ, α and μ fitted on some, tried on the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from nequip.data import AtomicDataDict

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.lengths.choice import LengthChoice, choice, guessed_lengths
from nequip_elemtransfer.lengths.search import COARSE_FACTORS, LengthSearch
from nequip_elemtransfer.plan.errors import unexplained
from nequip_elemtransfer.structures.frames import atom_types, compositions
from nequip_elemtransfer.structures.labels import Labels, atoms_of_frames
from nequip_elemtransfer.transfer.target import TargetBuilder

# Kinds of labels count alike, as in the key's own default.
EQUAL_WEIGHTS: Mapping[LabelKind, float] = dict.fromkeys(LABEL_KINDS, 1.0)


@dataclass(frozen=True)
class FittedEnergies:
    """Energy scales and shifts.

    Args:
        scales: α of each target type, shape (n_types,)
        shifts: μ of each target type in eV, shape (n_types,)
        errors: standard error of each α, zero where it was not fitted, infinite where the structures do not tell it
        resembles: False if the labels gave no positive α, which then is one
    """

    scales: np.ndarray
    shifts: np.ndarray
    errors: np.ndarray
    resembles: bool = True


class CrossValidation:
    """One element map on labelled frames.

    Args:
        target: builds models of the element map
        frames: of the target types, without neighbour lists
        labels: of the frames, NaN where missing
        folds: indices of the frames of each fold, see :func:`.structures.folds`
        families: number of each frame's family, the same for copies; None if there are none
    """

    def __init__(
        self,
        target: TargetBuilder,
        frames: Sequence[AtomicDataDict.Type],
        labels: Labels,
        folds: Sequence[np.ndarray],
        families: Sequence[int] | None = None,
    ) -> None:
        self.target, self.frames, self.labels, self.folds = target, frames, labels, folds
        self.families = np.arange(len(frames)) if families is None else np.asarray(families)  # (n_frames,)
        self.frozen = target.element_map.kept
        self.counts = compositions(frames, len(self.frozen))  # (n_frames, n_types)
        guess = guessed_lengths(target.element_map, self.frozen)
        self.search = LengthSearch(
            lambda scales: target.parts_at(scales, frames), labels, guess, self.frozen, EQUAL_WEIGHTS
        )

    @property
    def type_names(self) -> list[str]:
        """The target types."""
        return list(self.target.element_map.target_types)

    @property
    def searchable(self) -> bool:
        """Whether there is a λ to be found: labels to go by, and a type that is not kept."""
        return bool(self.labels.kinds) and not self.frozen.all()

    def scan(self, coarse: np.ndarray = COARSE_FACTORS, task: str = "") -> None:
        """Evaluate the start over a range of λ, if there is one to be found."""
        if self.searchable:
            self.search.scan(coarse, task)

    @cached_property
    def lengths(self) -> LengthChoice:
        """λ of each target type fitted to all frames, as the key fits it; ask after the scan."""
        return choice(self.search, self.target.element_map)

    @cached_property
    def fold_lengths(self) -> list[np.ndarray]:
        """λ of each target type fitted to the frames outside each fold; ask after the scan."""
        return [self._lengths_without(fold) for fold in self.folds]

    def energies(
        self, scales: np.ndarray, frames: np.ndarray, *, scale: bool = True, shift: bool = True
    ) -> FittedEnergies:
        """α and μ fitted to some frames at λ of each type, or left as they come from the source."""
        parts = self.search.parts(scales).of_frames(frames)
        labels = self.labels.of_frames(frames, self.counts)
        fitted, shifts, resembles = fit.EnergyScaleFit.given(np.ones(len(self.frozen))), self.target.start_shifts, True
        if scale:
            try:
                fitted = fit.fit_energy_scales(parts.terms(labels), EQUAL_WEIGHTS, self.frozen)
            except fit.NoResemblance:
                resembles = False
        if shift:
            shifts = parts.fit_shifts(labels, fitted.scales, shifts, self.frozen).shifts
        return FittedEnergies(fitted.scales, shifts, fitted.errors, resembles)

    def held_out(self, scales: np.ndarray | None, *, scale: bool = True, shift: bool = True) -> Labels:
        """Predictions on every frame by a start fitted to the other folds.

        Args:
            scales: λ of each target type; None fits it too
            scale, shift: whether α and μ are fitted
        """
        n = len(self.frames)
        energies, stresses = np.zeros(n), np.zeros((n, 3, 3))
        forces = np.zeros((self.counts.sum(), 3))
        for place, fold in enumerate(self.folds):
            at = self.fold_lengths[place] if scales is None else scales
            train = np.setdiff1d(np.arange(n), fold)
            # one structure: nothing to fit to, so nothing is fitted
            fitted = self.energies(at, train, scale=scale and len(train) > 0, shift=shift and len(train) > 0)
            predicted = self.search.parts(at).of_frames(fold).predicted(fitted.scales, fitted.shifts)
            energies[fold], stresses[fold] = predicted.energies, predicted.stresses
            forces[atoms_of_frames(fold, self.counts)] = predicted.forces
        return Labels(energies, forces, stresses)

    @property
    def judged_types(self) -> list[str]:
        """Those that start from another type: what is kept would say little of them. All where every type is kept."""
        names = self.type_names
        return [name for name, kept in zip(names, self.frozen) if not kept] or names

    def unexplained(self, scales: np.ndarray | None, all_types: bool = False) -> dict[LabelKind, float]:
        """Part of the variance of each kind of held-out labels that the fitted start does not explain.

        Args:
            scales: λ of each target type; None fits it too
            all_types: forces count on all atoms, and not only on those of :attr:`judged_types`
        """
        return unexplained(self.held_out(scales), self.labels if all_types else self._judged_labels, self.counts)

    def unexplained_map_alone(self) -> dict[LabelKind, float]:
        """The same for the element map alone, at λ = α = 1."""
        return unexplained(self.held_out(np.ones(len(self.frozen)), scale=False), self._judged_labels, self.counts)

    @property
    def _judged_labels(self) -> Labels:
        judged = np.isin(np.array(self.type_names)[atom_types(self.frames)], self.judged_types)  # (n_atoms,)
        return replace(self.labels, forces=np.where(judged[:, None], self.labels.forces, np.nan))

    def _lengths_without(self, fold: np.ndarray) -> np.ndarray:
        train = np.setdiff1d(np.arange(len(self.frames)), fold)
        if not len(train) or not len(self.search.factors):
            return self.search.guess
        return self.search.scales(self.search.factor(train))
