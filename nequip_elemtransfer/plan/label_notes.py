"""What is said of labels that were not there, and of structures that were left out."""

from collections.abc import Sequence

import numpy as np

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.labels import Labels, missing_labels

_NAMES: dict[LabelKind, str] = {"energy": "energies", "forces": "forces", "stress": "stresses"}
_WITHOUT: dict[LabelKind, str] = {
    "energy": "μ could not be fitted and is the source's",
    "forces": "nothing is known of the errors that decide a verdict",
    "stress": "λ is fitted to the other labels, which say less of volume and stiffness than stresses do",
}
_LISTED = 5


def label_notes(
    labels: Labels, counts: np.ndarray, isolated: Sequence[int], places: Sequence[int], predicts_forces: bool
) -> list[str]:
    """Sentences on missing labels and isolated atoms.

    Args:
        labels: as used, those of isolated atoms missing
        counts: atoms of each type in each structure, shape (n_frames, n_types)
        isolated: indices of structures that are isolated atoms
        places: of the structures in their file
        predicts_forces: whether the source predicts forces and stresses
    """
    bonded = np.setdiff1d(np.arange(len(counts)), isolated)
    used, n = labels.of_frames(bonded, counts), len(bonded)
    missing = missing_labels(used, counts[bonded])
    notes = []
    if isolated:
        one = len(isolated) == 1
        notes.append(
            f"Structure{'' if one else 's'} {listed([places[i] for i in isolated])} "
            f"{'is an isolated atom and was' if one else 'are isolated atoms and were'} left out of every fit and "
            "error: `energy_shifts: isolated_atoms` takes such energies as references."
        )
    if not predicts_forces:
        notes.append("The source predicts neither forces nor stresses, so those of the structures were left out.")
    for kind in LABEL_KINDS:
        if not used.has(kind) and (kind == "energy" or predicts_forces):
            notes.append(f"No structure has {_NAMES[kind]}: {_WITHOUT[kind]}.")
    partly = [f"{_NAMES[kind]} in {missing[kind]}" for kind in LABEL_KINDS if used.has(kind) and missing[kind]]
    if partly:
        notes.append(f"Missing labels were left out, the others kept: of {n} structures, {', '.join(partly)}.")
    return notes


def listed(numbers: Sequence[int]) -> str:
    """``no. 3, no. 7``, the first few."""
    shown = ", ".join(f"no. {number}" for number in numbers[:_LISTED])
    return shown + (", …" if len(numbers) > _LISTED else "")
