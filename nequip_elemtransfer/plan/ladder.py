"""Zero-shot errors after each step of the initialisation, on structures that the step was not fitted to."""

from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.frames import Labels, atom_types
from nequip_elemtransfer.plan.errors import (
    Estimate,
    composition_baseline,
    energy_error,
    force_error,
    structure_of_atoms,
)
from nequip_elemtransfer.plan.start import Start


@dataclass(frozen=True)
class Step:
    """Held-out errors of one step.

    Args:
        name: what was done last
        force_mae, force_rmse: over components, eV/Å; None without force labels
        energy_mae: eV/atom, None without energy labels
        energy_mae_refitted: likewise with the energy shifts refitted, which makes the steps comparable
        force_mae_per_type: by target type, eV/Å
    """

    name: str
    force_mae: Estimate | None
    force_rmse: Estimate | None
    energy_mae: Estimate | None
    energy_mae_refitted: Estimate | None
    force_mae_per_type: dict[str, Estimate]


def ladder(start: Start, scales: np.ndarray | None) -> list[Step]:
    """Errors of predicting no forces and the composition's mean energy, then of each step of the initialisation.

    Each fold is predicted by a start whose λ (if ``scales`` is None), α and μ were fitted to the other folds.

    Args:
        start: scanned
        scales: λ of each target type; None fits it
    """
    nothing, one = _baseline(start), np.ones(len(start.kept))
    final = start.held_out(scales)
    return [
        _step("no forces, mean energy", start, nothing, nothing),
        _step("element map", start, start.held_out(one, scale=False, shift=False), start.held_out(one, scale=False)),
        _step(
            "+ length scale",
            start,
            start.held_out(scales, scale=False, shift=False),
            start.held_out(scales, scale=False),
        ),
        _step("+ energy scale", start, start.held_out(scales, shift=False), final),
        _step("+ energy shifts", start, final, final),
    ]


def _baseline(start: Start) -> Labels:
    energies, every = np.zeros(len(start.counts)), np.arange(len(start.counts))
    if start.labels.energies is not None:
        for fold in start.folds:
            train = np.setdiff1d(every, fold)
            if len(train):
                energies[fold] = composition_baseline(train, start.labels.energies, start.counts)[fold]
    return Labels(energies, np.zeros((start.counts.sum(), 3)))


def _step(name: str, start: Start, predicted: Labels, refitted: Labels) -> Step:
    labels, counts = start.labels, start.counts
    structure, types = structure_of_atoms(counts), atom_types(start.transfer.frames)
    force_mae = force_rmse = energy_mae = energy_mae_refitted = None
    per_type = {}
    if labels.forces is not None:
        force_mae = force_error(predicted.forces, labels.forces, structure)
        force_rmse = force_error(predicted.forces, labels.forces, structure, squared=True)
        per_type = {
            name: force_error(predicted.forces[own], labels.forces[own], structure[own])
            for t, name in enumerate(start.transfer.element_map.target_types)
            if (own := types == t).any()
        }
    if labels.energies is not None:
        energy_mae = energy_error(predicted.energies, labels.energies, counts)
        energy_mae_refitted = energy_error(refitted.energies, labels.energies, counts)
    return Step(name, force_mae, force_rmse, energy_mae, energy_mae_refitted, per_type)
