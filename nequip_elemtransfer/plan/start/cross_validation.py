"""A start fitted to some structures and tried on the others, and its errors after each step of the initialisation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from nequip.data import AtomicDataDict

from nequip_elemtransfer.config import LabelKind, TransferConfig
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.plan.errors import (
    Estimate,
    label_error,
    mean_error,
    mean_errors,
    structure_of_label,
    unexplained,
)
from nequip_elemtransfer.plan.structures import ChosenStructures, require_labels
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.structures.frames import atom_types, compositions
from nequip_elemtransfer.structures.labels import Labels, atoms_of_frames
from nequip_elemtransfer.transfer.start import Start


class HeldOut:
    """Labelled structures in parts, each of which is predicted by what was fitted to the others.

    Args:
        frames: in NequIP's form, without neighbour lists
        labels: of the frames, NaN where missing
        type_names: of the atoms
        folds: indices of the frames of each part, see :func:`.structures.folds`
        families: number of each frame's family, the same for copies; None if there are none
    """

    def __init__(
        self,
        frames: Sequence[AtomicDataDict.Type],
        labels: Labels,
        type_names: Sequence[str],
        folds: Sequence[np.ndarray],
        families: Sequence[int] | None = None,
    ) -> None:
        self.frames, self.labels, self.type_names, self.folds = frames, labels, list(type_names), folds
        self.families = np.arange(len(frames)) if families is None else np.asarray(families)  # (n_frames,)
        self.counts = compositions(frames, len(self.type_names))  # (n_frames, n_types)

    def predicted(self, predict: Callable[[np.ndarray, np.ndarray], Labels]) -> Labels:
        """Predictions for every frame.

        Args:
            predict: labels of the frames of a part, from the indices of the frames outside it and of its own
        """
        found, every = no_labels(self.counts), np.arange(len(self.frames))
        for fold in self.folds:
            part = predict(np.setdiff1d(every, fold), fold)
            found.energies[fold], found.stresses[fold] = part.energies, part.stresses
            found.forces[atoms_of_frames(fold, self.counts)] = part.forces
        return found

    def step(self, name: str, predicted: Labels, refitted: Labels) -> "Step":
        """Errors of held-out predictions.

        Args:
            refitted: predictions for the energies with the energy shifts refitted
        """
        labels, counts, families = self.labels, self.counts, self.families
        return Step(
            name,
            force_rmse=label_error("forces", predicted, labels, counts, families=families, squared=True),
            energy_mae_refitted=label_error("energy", refitted, labels, counts, families=families),
            force_mae_per_type=self._by_type(predicted.forces - labels.forces),
            **mean_errors(predicted, labels, counts, families),
        )

    def baseline(self) -> "Step":
        """Errors of predicting no forces and the composition's mean energy."""

        def mean_energy(train: np.ndarray, fold: np.ndarray) -> Labels:
            zero = np.zeros(len(self.type_names))
            shifts = fit.fit_energy_shifts(self.labels.energies[train], self.counts[train], zero, zero > 0).shifts
            return replace(no_labels(self.counts[fold]), energies=self.counts[fold] @ shifts)

        return self.step("no forces, mean energy", *[self.predicted(mean_energy)] * 2)

    def _by_type(self, difference: np.ndarray) -> dict[str, Estimate]:
        types, structure = atom_types(self.frames), self.families[structure_of_label("forces", self.counts)]
        own = {name: types == t for t, name in enumerate(self.type_names)}
        errors = {name: mean_error(difference[mask], structure[mask]) for name, mask in own.items() if mask.any()}
        return {name: error for name, error in errors.items() if error is not None}


@dataclass(frozen=True)
class Step:
    """Held-out errors of one step; None where there are no labels of a kind.

    Args:
        name: what was done last
        force_mae, force_rmse: over components, eV/Å
        energy_mae: eV/atom
        energy_mae_refitted: likewise with the energy shifts refitted, which makes the steps comparable
        stress_mae: over components, eV/Å³
        force_mae_per_type: by target type, eV/Å
    """

    name: str
    force_mae: Estimate | None
    force_rmse: Estimate | None
    energy_mae: Estimate | None
    energy_mae_refitted: Estimate | None
    stress_mae: Estimate | None
    force_mae_per_type: dict[str, Estimate]


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


class CrossValidation(HeldOut):
    """A start whose λ, α and μ are fitted outside each fold.

    Args:
        start: searches λ on all its structures; ask for fits of λ after its scan
        folds, families: as in :class:`HeldOut`
    """

    def __init__(self, start: Start, folds: Sequence[np.ndarray], families: Sequence[int] | None = None) -> None:
        super().__init__(*start.structures.searched(), start.config.type_names, folds, families)
        self.start = start

    @property
    def tried_scales(self) -> np.ndarray | None:
        """λ for held-out errors: None, that is fitted to the other folds, where labels decide λ."""
        return None if self.start.lengths.decided_by == "labels" else self.start.scales

    def lengths_without(self, fold: np.ndarray) -> np.ndarray:
        """λ of each target type fitted to the frames outside a fold, shape (n_types,)."""
        search, train = self.start.search, np.setdiff1d(np.arange(len(self.frames)), fold)
        if not len(train) or not len(search.factors):
            return search.guess
        return search.scales(search.factor(train))

    def energies(
        self, scales: np.ndarray, frames: np.ndarray, *, scale: bool = True, shift: bool = True, refit: bool = False
    ) -> FittedEnergies:
        """α and μ at λ of each type, fitted to some frames as far as these have labels, or left as in the source.

        Args:
            refit: fit the energy shifts of all types, those that the start keeps among them
        """
        start, parts = self.start, self.start.search.parts(scales).of_frames(frames)
        labels = self.labels.of_frames(frames, self.counts)
        as_it_is = fit.EnergyScaleFit.given(np.ones(len(start.frozen)))
        fitted = fitted_scales(start, parts, labels) if scale else as_it_is
        alpha, shifts = fitted or as_it_is, start.target.start_shifts
        if refit and labels.has("energy"):
            shifts = parts.fit_shifts(labels, alpha.scales, shifts, np.zeros(len(shifts), dtype=bool)).shifts
        elif shift and labels.has("energy"):
            shifts = start.energy_shifts(parts, labels, alpha.scales).shifts
        return FittedEnergies(alpha.scales, shifts, alpha.errors, fitted is not None)

    def held_out(
        self, scales: np.ndarray | None, *, scale: bool = True, shift: bool = True, refit: bool = False
    ) -> Labels:
        """Predictions on every frame by a start fitted to the other folds.

        Args:
            scales: λ of each target type; None fits it too
            scale, shift, refit: whether α and μ are fitted, see :meth:`energies`
        """

        def predict(train: np.ndarray, fold: np.ndarray) -> Labels:
            at = self.lengths_without(fold) if scales is None else scales
            fitted = self.energies(at, train, scale=scale, shift=shift, refit=refit)
            return self.start.search.parts(at).of_frames(fold).predicted(fitted.scales, fitted.shifts)

        return self.predicted(predict)

    def ladder(self, scales: np.ndarray | None) -> list[Step]:
        """Errors of predicting no forces and the composition's mean energy, then of each step of the initialisation.

        Args:
            scales: λ of each target type; None fits it too
        """
        one, final = np.ones(len(self.start.frozen)), self.held_out(scales)
        refitted = self.held_out(scales, refit=True) if self.start.frozen.any() else final
        mapped, scaled = (self.held_out(at, scale=False, shift=False) for at in (one, scales))
        return [
            self.baseline(),
            self.step("element map", mapped, self.held_out(one, scale=False, refit=True)),
            self.step("+ length scale", scaled, self.held_out(scales, scale=False, refit=True)),
            self.step("+ energy scale", self.held_out(scales, shift=False), refitted),
            self.step("+ energy shifts", final, refitted),
        ]

    @property
    def judged_types(self) -> list[str]:
        """Those that start from another type: what is kept would say little of them. All where every type is kept."""
        names = self.type_names
        return [name for name, kept in zip(names, self.start.frozen) if not kept] or names

    def unexplained(self, scales: np.ndarray | None, all_types: bool = False) -> dict[LabelKind, float]:
        """Part of the variance of each kind of held-out labels that the fitted start does not explain.

        Args:
            scales: λ of each target type; None fits it too
            all_types: forces count on all atoms, and not only on those of :attr:`judged_types`
        """
        return unexplained(self.held_out(scales), self.labels if all_types else self._judged_labels, self.counts)

    def unexplained_map_alone(self) -> dict[LabelKind, float]:
        """The same for the element map alone, at λ = α = 1."""
        predicted = self.held_out(np.ones(len(self.start.frozen)), scale=False)
        return unexplained(predicted, self._judged_labels, self.counts)

    @property
    def _judged_labels(self) -> Labels:
        judged = np.isin(np.array(self.type_names)[atom_types(self.frames)], self.judged_types)  # (n_atoms,)
        return replace(self.labels, forces=np.where(judged[:, None], self.labels.forces, np.nan))


def labelled_start(config: TransferConfig, model: SourceModel, chosen: ChosenStructures) -> Start:
    """A start on structures of a file, among all of which λ is searched.

    Raises:
        UnusableStructure: if a structure lacks a field that the model reads
        NoLabels: if there are no labels that the source predicts
    """
    types, fields = config.type_names, model.embedded_fields
    frames = to_frames(chosen.picked, types, config.species(types), fields, chosen.places)
    start = Start.of(config, model, lambda _: frames, most_searched=len(frames))
    start.structures.require_bonds()
    require_labels(start.structures.labels, " that the source predicts")
    return start


def fitted_scales(start: Start, parts: NetworkParts, labels: Labels) -> fit.EnergyScaleFit | None:
    """α of each target type, one where labels say nothing of it; None where they do not resemble the predictions."""
    if not parts.terms(labels):
        return fit.EnergyScaleFit.given(np.ones(len(start.frozen)))
    try:
        return start.energy_scales(parts, labels)
    except fit.NoResemblance:
        return None


def no_labels(counts: np.ndarray) -> Labels:
    """Zeros for structures of these compositions, shape (n_frames, n_types)."""
    n = len(counts)
    return Labels(np.zeros(n), np.zeros((counts.sum(), 3)), np.zeros((n, 3, 3)))
