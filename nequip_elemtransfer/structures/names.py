"""Which entries of a structure are labels: those under NequIP's names, and what looks like one under another.

NequIP reads ``energy``, ``forces`` and ``stress`` of a structure's arrays, its info and its calculator, the later over
the earlier, and nothing else. The world has many more names: ``REF_energy``, ``dft_forces``, ``force``, ``virials``.
What looks like a label is named here and never guessed: the user says what it is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress
from nequip.data import AtomicDataDict

from nequip_elemtransfer.config import KIND_NAMES, LABEL_KINDS, LabelKind, suggest
from nequip_elemtransfer.structures.options import ENERGY_PER_ATOM, GRADIENT, NO_LABEL, VIRIAL, DataOptions

# NequIP's fields of the kinds, as `key_mapping` names them
FIELDS: dict[str, str] = {
    "energy": AtomicDataDict.TOTAL_ENERGY_KEY,
    "forces": AtomicDataDict.FORCE_KEY,
    "stress": AtomicDataDict.STRESS_KEY,
    VIRIAL: AtomicDataDict.VIRIAL_KEY,
}
# What an entry is read as -> the kind of label that comes of it
KIND_OF: dict[str, LabelKind] = {
    "energy": "energy",
    ENERGY_PER_ATOM: "energy",
    "forces": "forces",
    GRADIENT: "forces",
    "stress": "stress",
    VIRIAL: "stress",
}
_UNITS: dict[LabelKind, str] = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}

# Two entries that differ by less are one label, printed twice: absolute in eV, eV/Å and eV/Å³, and relative.
_ROUNDING: dict[LabelKind, tuple[float, float]] = {
    "energy": (1e-4, 1e-7),
    "forces": (1e-4, 1e-4),
    "stress": (1e-5, 1e-3),
}

# Beginnings of the words of a name that make it something else than a label: settings, errors, other energies.
_OTHERWISE = re.compile(
    r"(?:^|_)(?:tol|cut|sigma|weight|uncert|std|stdev|var|err|unit|mae|rmse|conv|kin|ekin|fermi|homo|lumo|gap$|zpe|zero"
    r"|max|min|norm|thresh|mask|name|hash|time|iter|step|freq|scale|shift|offset|constant|field|magnetic)"
)
# Energies that stand beside a total energy as a rule, and are no other answer to it
_COMPANIONS = re.compile(
    r"(?:^|_)(?:free|formation|form|cohes|bind|atomi[sz]ation|adsor|hull|per|disp|vdw|d3|d4|nuclear|repul|coul|hartree|xc"
    r"|exchange|correl|ewald|elec|entropy|enthalpy|interaction|surface|strain|elastic|barrier|relax|reference)"
)
# Arrays of three numbers for each atom that are no forces
_VECTORS = re.compile(
    r"(?:^|_)(?:pos|coord|xyz|cart|frac|scaled|direct|vel|v$|mom|mag|spin|dip|disp|shift|mask|unwrap|image|charge|colo"
    r"|rgb|orient|quat|ax|normal|uncert|std|err|var|polar|born|site|initial|equil|r$|u$|angular|tag|move"
    r"|cell|latt|box|trans|rot|deform|strain|metric|kpt|recip)"
)
_ENERGIES = re.compile(r"energ|^(?:e|etot|e_tot|etotal|e_total|toten|u0|epot|e_pot|pe)$")


def options_of(section: Mapping[str, Any]) -> DataOptions:
    """How a section of NequIP that reads through ASE takes the names of labels."""
    kinds = {field: kind for kind, field in FIELDS.items()}
    mapping, excluded = section.get("key_mapping"), section.get("exclude_keys")
    pairs = mapping.items() if isinstance(mapping, Mapping) else ()
    mapped = {str(name): kinds[str(field)] for name, field in pairs if str(field) in kinds}
    names = excluded if isinstance(excluded, Sequence) and not isinstance(excluded, str) else ()
    return DataOptions(mapped | {str(name): NO_LABEL for name in names})


@dataclass(frozen=True)
class LookAlike:
    """A name that may be that of a label.

    Args:
        kind: of label
        read_as: what it would be read as
        named: whether the name says so, or the shape alone could
        rival: whether it is another answer where there is a label of the kind
    """

    kind: LabelKind
    read_as: str
    named: bool = True
    rival: bool = True


@cache
def look_alike(name: str) -> LookAlike | None:
    """What a name that is not NequIP's could mean; None for what is no label."""
    last = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", name.rpartition(".")[2]).lower().strip("_")
    if not re.search(r"stress|viri|forc|frc|grad", last) and not _ENERGIES.search(last):
        return None if _VECTORS.search(last) else LookAlike("forces", "forces", named=False, rival=False)
    if _OTHERWISE.search(last):
        return None
    if "viri" in last:
        return LookAlike("stress", VIRIAL)
    if "stress" in last:
        return LookAlike("stress", "stress")
    if re.search("forc|frc|grad", last):
        return LookAlike("forces", GRADIENT if "grad" in last else "forces")
    per_atom = re.search(r"per_?atom|energies|_pa$", last) is not None
    rival = not per_atom and _COMPANIONS.search(last) is None
    return LookAlike("energy", ENERGY_PER_ATOM if per_atom else "energy", rival=rival)


def looks_labelled(name: str) -> bool:
    """Whether a name says that it is a label."""
    like = look_alike(name)
    return like is not None and like.named


def entries(atoms: Atoms) -> dict[str, Any]:
    """What a structure holds by name, as NequIP reads it; what stands in a dictionary as ``data.forces``."""
    found: dict[str, Any] = dict(atoms.arrays)
    del found["numbers"], found["positions"]
    for name, value in atoms.info.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": v for inner, v in value.items()}
        else:
            found[name] = value
    if isinstance(atoms.calc, SinglePointCalculator):
        found |= atoms.calc.results
    return found


def is_nested(name: str, atoms: Atoms) -> bool:
    """Whether an entry stands in a dictionary, where NequIP does not look."""
    return "." in name and name not in atoms.info and name not in atoms.arrays


def without(atoms: Atoms, names: Sequence[str]) -> None:
    """Take entries out of a structure."""
    for name in names:
        outer, _, inner = name.partition(".")
        if isinstance(atoms.info.get(outer), Mapping):
            atoms.info[outer] = {k: v for k, v in atoms.info[outer].items() if k != inner}
        atoms.info.pop(name, None)
        if name in atoms.arrays:
            del atoms.arrays[name]
        if atoms.calc is not None:
            atoms.calc.results.pop(name, None)


def as_stress(virial: Any, volume: float) -> np.ndarray:
    """The stress in eV/Å³, shape (3, 3), of a virial in eV: ``σ = −W / V``."""
    return -full_tensor(virial) / volume


def full_tensor(values: Any) -> np.ndarray:
    """A tensor as 3 × 3, from Voigt's six numbers (xx, yy, zz, yz, xz, xy), nine, or 3 × 3."""
    array = np.asarray(values, dtype=float)
    return voigt_6_to_full_3x3_stress(array) if array.shape == (6,) else array.reshape(3, 3)


class UnclearLabels(ValueError):
    """A file whose labels are not where NequIP looks, or there twice."""


@dataclass
class _Found:
    """Where an entry was first found.

    Args:
        structure: index
        shape: of its value
        difference: from the label of NequIP's name, in that kind's unit; None where there is none
        count: of structures
    """

    structure: int
    shape: tuple[int, ...]
    difference: float | None
    count: int = 1


class Names:
    """Looks for unclear labels, structure by structure.

    Args:
        known: names that the user has said the meaning of
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = known
        self._lacking: dict[tuple[LabelKind, str], _Found] = {}
        self._rivals: dict[tuple[LabelKind, str], _Found] = {}
        self._doubtful: dict[tuple[str, ...], bool] = {}

    def look(self, index: int, atoms: Atoms) -> None:
        """Look at the entries of one structure, which has the labels that the user named under NequIP's names."""
        held = (*atoms.arrays, *atoms.info, *getattr(atoms.calc, "results", ()))
        if held not in self._doubtful:  # most files have one set of names
            nested = any(isinstance(value, Mapping) for value in atoms.info.values())
            self._doubtful[held] = nested or any(self._may_be(name) for name in held)
        if self._doubtful[held]:
            self._look(index, atoms)

    def _may_be(self, name: str) -> bool:
        standard = name in LABEL_KINDS or name in ("numbers", "positions")
        return not standard and name not in self._known and look_alike(name) is not None

    def _look(self, index: int, atoms: Atoms) -> None:
        held = entries(atoms)
        for kind in LABEL_KINDS:
            if kind == "stress" and not atoms.pbc.all():
                continue  # no such stress is used
            label = self._label(kind, held)
            candidates = list(self._candidates(kind, held, len(atoms)))
            if not _is_there(label):
                named = [name for name, like in candidates if like.named]
                for name in named or [name for name, _ in candidates]:
                    _count(self._lacking, (kind, name), _Found(index, np.shape(held[name]), None))
                continue
            for name in (name for name, like in candidates if like.rival):
                off = own_label_difference(kind, label, name, held[name], atoms)
                if off is not None:
                    _count(self._rivals, (kind, name), _Found(index, np.shape(held[name]), off))

    def _label(self, kind: LabelKind, held: Mapping[str, Any]) -> Any:
        """The label of a kind: under NequIP's name, or under one that the user named."""
        if kind in held and self._known.get(kind) != NO_LABEL:
            return held[kind]
        return next((held[name] for name, read_as in self._known.items() if read_as == kind and name in held), None)

    def _candidates(self, kind: LabelKind, held: Mapping[str, Any], n_atoms: int) -> Iterator[tuple[str, LookAlike]]:
        for name, value in held.items():
            if not self._may_be(name):
                continue
            like = look_alike(name)
            if like is not None and like.kind == kind and _fits(like, value, n_atoms) and _is_there(value):
                yield name, like

    def unclear(self, kinds: Sequence[LabelKind] = LABEL_KINDS) -> bool:
        """Whether labels of some kinds are lacking or there twice."""
        return any(kind in kinds for kind, _ in (*self._lacking, *self._rivals))

    def refuse(self, spec: str, kinds: Sequence[LabelKind] = LABEL_KINDS) -> None:
        """Refuse a file with unclear labels.

        Args:
            spec: of the file
            kinds: that are of use

        Raises:
            UnclearLabels: naming the entries, and how to read or to leave them
        """
        rivals = {key: found for key, found in self._rivals.items() if key[0] in kinds}
        if rivals:
            raise UnclearLabels(_sentence_of_rivals(spec, rivals))
        lacking = {key: found for key, found in self._lacking.items() if key[0] in kinds}
        if lacking:
            raise UnclearLabels(_sentence_of_lacking(spec, lacking))

    def said(self, spec: str, kinds: Sequence[LabelKind] = LABEL_KINDS) -> list[str]:
        """The same in a sentence, where labels are of no use."""
        names = sorted({name for kind, name in (*self._lacking, *self._rivals) if kind in kinds})
        if not names:
            return []
        one = len(names) == 1
        what = "what looks like a label" if one else "what look like labels"
        return [f"Left aside in {spec!r}: {', '.join(names)}, {what} under {'another name' if one else 'other names'}."]


def _count(found: dict[tuple[LabelKind, str], _Found], key: tuple[LabelKind, str], new: _Found) -> None:
    if key in found:
        found[key].count += 1
    else:
        found[key] = new


def _is_there(value: Any) -> bool:
    """Whether a value holds a finite number."""
    if value is None:
        return False
    array = np.asarray(value)
    return array.dtype.kind not in "fiu" or bool(np.isfinite(array).any())


def _fits(like: LookAlike, value: Any, n_atoms: int) -> bool:
    """Whether a value could be such a label, by its type and shape."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or not array.size:
        return False
    if like.kind == "energy":
        return array.size == 1 or (like.read_as == ENERGY_PER_ATOM and array.shape[:1] == (n_atoms,))
    if like.kind == "stress":
        return array.shape in [(6,), (9,), (3, 3)]
    if not like.named:
        return array.shape == (n_atoms, 3) and array.dtype.kind == "f"
    return array.size == 3 * n_atoms and array.ndim > 0


def own_label_difference(kind: LabelKind, label: Any, name: str, value: Any, atoms: Atoms) -> float | None:
    """Largest difference of an entry from the label of NequIP's name; None where they agree to rounding."""
    try:
        if kind == "stress":
            other = as_stress(value, atoms.get_volume()) if "viri" in name.lower() else full_tensor(value)
            label = full_tensor(label)
        else:
            other, label = np.asarray(value, dtype=float), np.asarray(label, dtype=float)
            other = -other if "grad" in name.lower() else other
            other = other.reshape(label.shape)
    except (TypeError, ValueError):
        return None  # a label of another shape is refused as such
    absolute, relative = _ROUNDING[kind]
    off = np.abs(other - label)
    apart = off > absolute + relative * np.abs(label)  # NaN is not
    return float(np.nanmax(off)) if apart.any() else None


def _sentence_of_lacking(spec: str, lacking: Mapping[tuple[LabelKind, str], _Found]) -> str:
    kinds = list(dict.fromkeys(kind for kind, _ in lacking))
    found = {kind: [_shown(name, where) for (k, name), where in lacking.items() if k == kind] for kind in kinds}
    looks = ", ".join(_listed(names, "or") for names in found.values())
    several = [kind for kind in kinds if len(found[kind]) > 1]
    choice = f" (or another for {_listed([KIND_NAMES[kind] for kind in several], 'and')})" if several else ""
    first: dict[LabelKind, str] = {}
    for kind, name in lacking:
        first.setdefault(kind, name)
    some, index = next(iter(first.values())), min(where.structure for where in lacking.values())
    return (
        f"structure {index} of {spec!r} has no {_listed([KIND_NAMES[kind] for kind in kinds], 'or')} where NequIP looks"
        f", and {looks} {'looks' if sum(map(len, found.values())) == 1 else 'look'} like that: read with "
        f"{_options(first)}{choice}, in a config of NequIP {_yaml(first)}; what is no label is left out by "
        f"--key {some}=, or `exclude_keys: [{some}]`."
    )


def _sentence_of_rivals(spec: str, rivals: Mapping[tuple[LabelKind, str], _Found]) -> str:
    first: dict[LabelKind, str] = {}
    for kind, name in rivals:
        first.setdefault(kind, name)
    differences = ", ".join(
        f"{kind} and {name} (they differ by up to {rivals[kind, name].difference:.3g} {_UNITS[kind]})"
        for kind, name in rivals
    )
    index = min(found.structure for found in rivals.values())
    leave = " ".join(f"--key {name}=" for name in dict.fromkeys(name for _, name in rivals))
    theirs = ", ".join(dict.fromkeys(name for _, name in rivals))
    return (
        f"structure {index} of {spec!r} has two answers: {differences}. Take {', '.join(first)} with {leave}, in a "
        f"config of NequIP `exclude_keys: [{theirs}]`; or take {', '.join(first.values())} with {_options(first)}, in "
        f"a config {_yaml(first)} with `exclude_keys: [{', '.join(first)}]`."
    )


def _shown(name: str, found: _Found) -> str:
    return f"{name!r}" + (f" of shape {found.shape}" if found.shape else "")


def _options(names: Mapping[LabelKind, str]) -> str:
    found = [(name, look_alike(name)) for name in names.values()]
    return " ".join(f"--key {name}={like.read_as}" for name, like in found if like is not None)


def _yaml(names: Mapping[LabelKind, str]) -> str:
    """What a config of NequIP says, where it can say it."""
    likes = {name: like for name in names.values() if (like := look_alike(name)) is not None}
    plain = {name: FIELDS[like.read_as] for name, like in likes.items() if like.read_as in LABEL_KINDS}
    plain = {name: field for name, field in plain.items() if "." not in name}
    virials = [name for name, like in likes.items() if like.read_as == VIRIAL]
    others = [name for name in likes if name not in plain and name not in virials]
    plain |= {name: FIELDS[VIRIAL] for name in virials}
    parts = [f"`key_mapping: {{{', '.join(f'{name}: {field}' for name, field in plain.items())}}}`"] if plain else []
    parts += ["`nequip.data.transforms.VirialToStressTransform`"] if virials else []
    parts += [f"a copy that `plan --out` writes, since it has no word for {', '.join(others)}"] if others else []
    return " and ".join(parts)


def _listed(items: Sequence[str], word: str) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"


def require_known(known: Mapping[str, str], present: set[str], spec: str) -> None:
    """Refuse what the user said of entries that no structure has.

    Raises:
        UnclearLabels: with the names that there are
    """
    gone = [name for name, kind in known.items() if name not in present and kind != NO_LABEL]
    if gone:
        there = sorted(present) or ["none"]
        raise UnclearLabels(f"--key names {gone[0]!r}, which no structure of {spec} has{suggest(gone[0], there)}.")
