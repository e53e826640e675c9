"""Zero-shot errors after each step of the initialisation, on structures that the step was not fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from nequip.data import AtomicDataDict

from nequip_elemtransfer.plan.cross_validation import CrossValidation
from nequip_elemtransfer.plan.errors import (
    Estimate,
    composition_baseline,
    label_error,
    mean_error,
    structure_of_label,
)
from nequip_elemtransfer.structures.frames import atom_types
from nequip_elemtransfer.structures.labels import Labels


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


class HeldOut(Protocol):
    """Labelled structures in parts, each of which is predicted by what was fitted to the others."""

    @property
    def frames(self) -> Sequence[AtomicDataDict.Type]:
        """In NequIP's form."""

    @property
    def labels(self) -> Labels:
        """NaN where missing."""

    @property
    def folds(self) -> Sequence[np.ndarray]:
        """Indices of each part."""

    @property
    def counts(self) -> np.ndarray:
        """Atoms of each type in each structure, shape (n_frames, n_types)."""

    @property
    def families(self) -> np.ndarray:
        """Number of each structure's family, the same for copies, shape (n_frames,)."""

    @property
    def type_names(self) -> list[str]:
        """Of the atoms."""


def ladder(start: CrossValidation, scales: np.ndarray | None) -> list[Step]:
    """Errors of predicting no forces and the composition's mean energy, then of each step of the initialisation.

    Each fold is predicted by a start whose λ (if ``scales`` is None), α and μ were fitted to the other folds.

    Args:
        start: scanned
        scales: λ of each target type; None fits it
    """
    one = np.ones(len(start.frozen))
    final = start.held_out(scales)
    return [
        baseline_step(start),
        step_errors(
            "element map", start, start.held_out(one, scale=False, shift=False), start.held_out(one, scale=False)
        ),
        step_errors(
            "+ length scale",
            start,
            start.held_out(scales, scale=False, shift=False),
            start.held_out(scales, scale=False),
        ),
        step_errors("+ energy scale", start, start.held_out(scales, shift=False), final),
        step_errors("+ energy shifts", start, final, final),
    ]


def baseline_step(start: HeldOut) -> Step:
    """Errors of predicting no forces and the composition's mean energy."""
    n = len(start.counts)
    energies, every = np.zeros(n), np.arange(n)
    for fold in start.folds:
        train = np.setdiff1d(every, fold)
        if len(train):
            energies[fold] = composition_baseline(train, start.labels.energies, start.counts)[fold]
    nothing = Labels(energies, np.zeros((start.counts.sum(), 3)), np.zeros((n, 3, 3)))
    return step_errors("no forces, mean energy", start, nothing, nothing)


def step_errors(name: str, start: HeldOut, predicted: Labels, refitted: Labels) -> Step:
    """Errors of held-out predictions.

    Args:
        refitted: predictions for the energies with the energy shifts refitted
    """
    error = partial(label_error, reference=start.labels, counts=start.counts, families=start.families)
    return Step(
        name,
        force_mae=error("forces", predicted),
        force_rmse=error("forces", predicted, squared=True),
        energy_mae=error("energy", predicted),
        energy_mae_refitted=error("energy", refitted),
        stress_mae=error("stress", predicted),
        force_mae_per_type=_by_type(start, predicted.forces - start.labels.forces),
    )


def _by_type(start: HeldOut, difference: np.ndarray) -> dict[str, Estimate]:
    types, structure = atom_types(start.frames), start.families[structure_of_label("forces", start.counts)]
    own = {name: types == t for t, name in enumerate(start.type_names)}
    errors = {name: mean_error(difference[mask], structure[mask]) for name, mask in own.items() if mask.any()}
    return {name: error for name, error in errors.items() if error is not None}
