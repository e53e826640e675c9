"""Calculators compared where there is no model to transfer from: their held-out errors, and what a step costs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from nequip.data import AtomicDataDict

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.plan.compared import (
    Comparison,
    calculate_labels,
    compare_calculators,
    comparison_notes,
    named_calculators,
)
from nequip_elemtransfer.plan.label_notes import listed
from nequip_elemtransfer.plan.labelled import NoLabels
from nequip_elemtransfer.plan.ladder import Step, baseline_step
from nequip_elemtransfer.plan.outcome import plain
from nequip_elemtransfer.structures.copies import duplicate_families
from nequip_elemtransfer.structures.files import elements_in, folds, read_structures, to_frames
from nequip_elemtransfer.structures.frames import compositions, evenly_spaced, isolated_atoms
from nequip_elemtransfer.structures.labels import Labels, labels_of

N_PARTS = 5
# Å; structures that agree within it are copies, and atoms without a neighbour within it are isolated
_REACH = 5.0


@dataclass(frozen=True)
class HeldOutStructures:
    """Labelled structures in parts, each of which is predicted by what was fitted to the others.

    Args:
        frames: in NequIP's form, a type for each element
        labels: NaN where missing, as are those of isolated atoms
        folds: indices of each part
        families: number of each structure's family, the same for copies, shape (n_frames,)
        type_names: the elements
    """

    frames: list[AtomicDataDict.Type]
    labels: Labels
    folds: list[np.ndarray]
    families: np.ndarray
    type_names: list[str]

    @cached_property
    def counts(self) -> np.ndarray:
        """Atoms of each element in each structure, shape (n_frames, n_types)."""
        return compositions(self.frames, len(self.type_names))


@dataclass(frozen=True)
class CalculatorPlan:
    """What is known of calculators before any training.

    Args:
        data: path of the structures
        n_structures: in ``data``
        n_evaluated: of them, evenly spaced, that were calculated
        labels: the kinds of labels that they have
        baseline: errors of predicting no forces and the mean energy
        comparison: of the calculators
        notes: what was left out, and why
    """

    data: str
    n_structures: int
    n_evaluated: int
    labels: list[LabelKind]
    baseline: Step
    comparison: Comparison
    notes: list[str]

    @property
    def steps(self) -> list[Step]:
        """The rows of a table of errors."""
        return [self.baseline, *(step for row in self.comparison.rows for step in row.steps)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return plain(asdict(self))


def compare_alone(
    data: str | Path,
    compare: Mapping[str, str | Path],
    *,
    max_structures: int = 40,
    seed: int = 0,
    progress: bool = False,
) -> CalculatorPlan:
    """Compare calculators with labelled structures and each other.

    Args:
        data: labelled structures, any format of ASE
        compare: name -> YAML file of an ASE calculator
        max_structures: evenly spaced, that are calculated
        seed: of the parts that are held out
        progress: show progress bars

    Raises:
        FileNotFoundError: a file is missing
        ValueError: no calculator is named, one cannot be made, or structures are damaged
        NoLabels: the structures have no labels
    """
    if not compare:
        raise ValueError("without a source there is nothing to plan but --compare NAME=FILE.yaml: name a calculator.")
    if max_structures < 1:
        raise ValueError(f"max_structures must be at least 1, found {max_structures}.")
    calculators, structures = named_calculators(compare), read_structures(data)
    places = evenly_spaced(len(structures), max_structures)
    chosen = [structures[i] for i in places]
    elements = elements_in(chosen)
    frames = to_frames(chosen, elements, elements, places=places.tolist())
    isolated = isolated_atoms(frames, _REACH)
    labels = labels_of(frames).without(isolated, compositions(frames, len(elements)))
    if not labels.kinds:
        raise NoLabels(
            "no structure has energies, forces or stresses (isolated atoms do not count): label some, under the names "
            "`energy`, `forces` and `stress` in extended XYZ."
        )
    families = duplicate_families(chosen, _REACH)
    parts = folds(families, N_PARTS, seed)
    held_out = HeldOutStructures(frames, labels, parts, np.asarray(families), elements)
    calculated = calculate_labels(calculators, chosen, progress)
    comparison = compare_calculators(calculated, chosen, held_out)
    notes = [
        f"No structure has a label of {kind}, so its errors are not known."
        for kind in LABEL_KINDS
        if not labels.has(kind)
    ]
    if isolated:
        notes.append(f"Isolated atoms were left out: {listed([int(places[i]) for i in isolated])}.")
    if len(parts) == 1:
        notes.append("One structure, or copies of one, leaves nothing to hold out: the errors are without fits.")
    notes += comparison_notes(comparison, places.tolist())
    return CalculatorPlan(
        str(data), len(structures), len(chosen), list(labels.kinds), baseline_step(held_out), comparison, notes
    )
