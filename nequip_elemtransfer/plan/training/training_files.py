"""Whether NequIP can train on a file of structures as it is, copies for where it cannot, and what is said of labels.

NequIP makes batches of structures that all carry the same labels, and a validation set in which a kind of label is
missing has no error of that kind. In the copies every structure carries every label, NaN where it is missing, and the
structures set aside for validation are those with most labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from nequip.data import AtomicDataDict
from nequip.data.ase import from_ase

from nequip_elemtransfer.config import KIND_NAMES, LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.files import UNUSED
from nequip_elemtransfer.structures.labels import Labels, labels_of, missing_labels
from nequip_elemtransfer.structures.reading import ReadFile
from nequip_elemtransfer.structures.words import listed

_FIELDS: dict[LabelKind, str] = {
    "energy": AtomicDataDict.TOTAL_ENERGY_KEY,
    "forces": AtomicDataDict.FORCE_KEY,
    "stress": AtomicDataDict.STRESS_KEY,
}

# structures of which none is held back
_FEW = 30

# what follows from a kind of label that is not there
_WITHOUT: dict[LabelKind, str] = {
    "energy": "μ could not be fitted and is the source's",
    "forces": "nothing is known of the errors that decide a verdict",
    "stress": "λ is fitted to the other labels, which say less of volume and stiffness than stresses do",
}


@dataclass(frozen=True)
class Reading:
    """How NequIP has to read structures.

    Args:
        as_they_are: whether the file will do, or copies are needed
        graph_fields: whole numbers, such as a charge, that the model reads from a structure's info
        unused: other quantities that the file holds, which NequIP would read too
        key_mapping: NequIP's, from names in the file to its own
    """

    as_they_are: bool
    graph_fields: list[str]
    unused: list[str]
    key_mapping: dict[str, str] = field(default_factory=dict)


def n_validation(n_structures: int, asked: int | None = None) -> int:
    """How many of some structures are set aside for validation: what is asked, or a tenth, and none of a few.

    Of a few every one is needed for training, and its last state, that of learning rate 0, is as good as the best that
    a validation would find (``evidence/ten_in_all.md``).

    Raises:
        ValueError: what is asked leaves no structure to train on
    """
    if asked is None:
        return 0 if n_structures < _FEW else round(0.1 * n_structures)
    if not 0 <= asked < n_structures:
        raise ValueError(f"--hold-back is {asked}: of {n_structures} structures, give 0 to {n_structures - 1}.")
    return asked


def reading_of(read: ReadFile, kinds: Sequence[LabelKind], graph_fields: Sequence[str]) -> Reading:
    """How NequIP has to read structures to train on some kinds of labels."""
    frames = [from_ase(atoms, exclude_keys=UNUSED) for atoms in read.structures]
    alike = all(frame.keys() == frames[0].keys() for frame in frames)
    complete = all(
        _FIELDS[kind] in frame and bool(np.isfinite(frame[_FIELDS[kind]].numpy()).all())
        for frame in frames
        for kind in kinds
    )
    stored = {name for a in read.structures for name in (*a.arrays, *a.info, *getattr(a.calc, "results", {}))}
    unused = sorted({*read.excluded} | (stored & set(UNUSED)))
    as_they_are = alike and complete and not read.converted
    return Reading(as_they_are, list(graph_fields), unused, dict(read.key_mapping))


def completed(
    structures: Sequence[Atoms], kinds: Sequence[LabelKind], graph_fields: Sequence[str], n_val: int
) -> tuple[list[Atoms], list[Atoms]]:
    """Copies for training and for validation that carry every label of some kinds, NaN where it is missing.

    Args:
        graph_fields: as in :class:`Reading`
        n_val: how many are set aside for validation, at the least
    """
    frames = [from_ase(atoms, include_keys=[AtomicDataDict.VIRIAL_KEY], exclude_keys=UNUSED) for atoms in structures]
    labels = [labels_of([frame]) for frame in frames]
    copies = [_copy(*pair, kinds, graph_fields) for pair in zip(structures, labels)]
    chosen = _validation(labels, kinds, n_val)
    kept = [i for i in range(len(copies)) if i not in chosen]
    return [copies[i] for i in kept], [copies[i] for i in chosen]


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
            f"{'holds isolated atoms only and was' if one else 'hold isolated atoms only and were'} left out of every "
            "fit and error: `energy_shifts: isolated_atoms` takes such energies as references."
        )
    if not predicts_forces:
        notes.append("The source predicts neither forces nor stresses, so those of the structures were left out.")
    for kind in LABEL_KINDS:
        if not used.has(kind) and (kind == "energy" or predicts_forces):
            notes.append(f"No structure has {KIND_NAMES[kind]}: {_WITHOUT[kind]}.")
    partly = [f"{KIND_NAMES[kind]} in {missing[kind]}" for kind in LABEL_KINDS if used.has(kind) and missing[kind]]
    if partly:
        notes.append(f"Missing labels were left out, the others kept: of {n} structures, {', '.join(partly)}.")
    return notes


def _copy(atoms: Atoms, labels: Labels, kinds: Sequence[LabelKind], graph_fields: Sequence[str]) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.info = {field: atoms.info[field] for field in graph_fields}
    values = {
        "energy": float(labels.energies[0]),
        "forces": labels.forces,
        "stress": full_3x3_to_voigt_6_stress(labels.stresses[0]),
    }
    copy.calc = SinglePointCalculator(copy, **{kind: values[kind] for kind in kinds})
    return copy


def _validation(labels: Sequence[Labels], kinds: Sequence[LabelKind], n: int) -> list[int]:
    """Indices of the structures set aside: of those with most labels, evenly spaced, and one at least of each kind."""
    known = np.array([[bool(np.isfinite(one.of(kind)).all()) for kind in kinds] for one in labels])
    if n == 0:
        return []
    best = np.argsort(-known.sum(axis=1), kind="stable")
    most = best[known[best].sum(axis=1) == known[best[0]].sum()]
    pool = np.sort(most if len(most) >= n else best[:n])
    chosen = set(pool[np.linspace(0, len(pool) - 1, n).round().astype(int)].tolist())
    for column in known.T:
        if column.any() and not column[list(chosen)].any() and len(chosen) + 1 < len(labels):
            chosen.add(int(np.argmax(column)))
    return sorted(chosen)
