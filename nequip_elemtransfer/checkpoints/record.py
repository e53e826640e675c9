"""The record of a transfer that a model carries: written with the checkpoint, read from it, and told as text."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from numbers import Real
from typing import Any, TypeVar, get_args, get_origin

from ase.data import atomic_numbers

from nequip_elemtransfer.config import ISOLATED_ATOMS, LATTICE, LabelKind, Setting, TypeStart, start_text
from nequip_elemtransfer.energies.zero_shot import ZeroShot
from nequip_elemtransfer.lengths.choice import NOTABLE_DISAGREEMENT
from nequip_elemtransfer.mapping.per_type import Action, TensorReport
from nequip_elemtransfer.output.refusal import RefusedFile, shortened
from nequip_elemtransfer.output.table import printable, table, with_error

T = TypeVar("T")

PerType = dict[str, float]
# standard errors by type; None where the structures do not tell one
ErrorPerType = dict[str, float | None]
Species = dict[str, str]


@dataclass(frozen=True)
class Cutoffs:
    """Cutoff radii of source and target in Å."""

    source: float
    target: float


@dataclass(frozen=True)
class LengthRecord:
    """λ by type, and what decided it, as in :class:`.LengthChoice`; ``setting`` is the key's."""

    setting: Setting
    per_type: PerType
    r_max: Cutoffs
    errors: ErrorPerType = field(default_factory=dict)
    decided_by: str = "given"
    by_kind: dict[LabelKind, PerType] = field(default_factory=dict)
    covalent_radii: PerType | None = None


@dataclass(frozen=True)
class EnergyScaleRecord:
    """α by type, the types that share one, and the resulting ``per_type_energy_scales``; ``setting`` is the key's."""

    setting: Setting
    per_type: PerType
    common_to: list[str]
    errors: ErrorPerType = field(default_factory=dict)
    per_type_energy_scales: PerType = field(default_factory=dict)


@dataclass(frozen=True)
class EnergyShiftRecord:
    """μ by type in eV, and what the compositions determine of it; ``setting`` is the key's."""

    setting: Setting
    per_type: PerType
    rank: int
    fitted_types: list[str]
    undetermined_types: list[str]
    errors: ErrorPerType = field(default_factory=dict)


@dataclass(frozen=True)
class TransferRecord:
    """What a transfer did. What has a default is not in the records of earlier versions.

    Args:
        source, sha256: path and digest of the trained model
        elements: target type -> what it started from
        length_scale, energy_scale, energy_shifts: λ, α and μ
        n_frames: number of structures that the start was fitted to
        tensors: what was done to each parameter and buffer
        zero_shot: errors after each step of the initialisation
        weights: digest of the initial state
        chemical_species: of types that are not named after their element
        pair_potential: class name of one that the model holds
        fit_weights: of the kinds of labels
        missing_labels: number of structures that lack each kind of label
        isolated_atoms: indices of the structures that are isolated atoms, which no fit used
        versions: of the packages
    """

    source: str
    sha256: str
    elements: dict[str, TypeStart]
    length_scale: LengthRecord
    energy_scale: EnergyScaleRecord
    energy_shifts: EnergyShiftRecord
    n_frames: int
    tensors: list[TensorReport]
    zero_shot: list[ZeroShot]
    weights: str
    chemical_species: Species = field(default_factory=dict)
    pair_potential: str | None = None
    fit_weights: dict[str, float] = field(default_factory=dict)
    missing_labels: dict[str, int] = field(default_factory=dict)
    isolated_atoms: list[int] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a checkpoint or JSON."""
        record = asdict(self)
        for tensor in record["tensors"]:
            tensor["shape"] = list(tensor["shape"])
        return record

    @classmethod
    def from_dict(cls, record: Any) -> "TransferRecord":
        """The record that a file holds; other fields may be there.

        Raises:
            RefusedFile: with the first field that is missing or of another kind
        """
        found = _read(cls, record, "")
        for name in ("length_scale", "energy_scale", "energy_shifts"):
            per_type = getattr(found, name).per_type
            if set(per_type) != set(found.elements):
                raise RefusedFile(_sentence(f"{name}.per_type", per_type))
        return found

    def text(self) -> str:
        """The receipt: the tensor table, λ, α, μ and the zero-shot errors, for the log."""
        return "\n\n".join([self._headline(), self._tensors(), self._scales(), self._zero_shot()])

    def _headline(self) -> str:
        starts = "; ".join(f"{t} from {start_text(s)}" for t, s in self.elements.items())
        source = f"source {self.source} (sha256 {self.sha256[:12]}...)"
        return f"Element transfer: {printable(starts)}\n{printable(source)}"

    def _tensors(self) -> str:
        rows = [[t.name, str(tuple(t.shape)), t.action] for t in self.tensors]
        return table(["tensor", "shape", "what was done"], rows, [False] * 3)

    def _scales(self) -> str:
        fits = (self.length_scale, self.energy_scale, self.energy_shifts)
        rows = [
            [t, *(with_error(found.per_type[t], found.errors.get(t, 0.0)) for found in fits)] for t in self.elements
        ]
        settings = ["", *(f"({found.setting if isinstance(found.setting, str) else 'given'})" for found in fits)]
        header = ["type", "length scale λ", "energy scale α", "energy shift μ (eV)"]
        notes = [*self._length_notes(), *self._energy_notes(), *self._label_notes()]
        return "\n".join([table(header, [settings, *rows], [False] + [True] * 3), *notes])

    def _length_notes(self) -> list[str]:
        """The cutoffs, what decided a fitted λ, and where labels and covalent radii disagree."""
        length = self.length_scale
        notes = [f"cutoff radius {length.r_max.source:.4f} Å -> {length.r_max.target:.4f} Å"]
        if length.decided_by in ("covalent radii", "nothing"):
            notes.append(
                "the labels do not tell one length scale from another, so λ is "
                + ("that of the covalent radii" if length.decided_by == "covalent radii" else "1")
            )
        for t in self.elements:
            asked = {kind: scales[t] for kind, scales in length.by_kind.items() if scales[t] != 1.0}
            if asked:
                notes.append(f"λ of {t} by " + ", ".join(f"{kind} alone {scale:.3f}" for kind, scale in asked.items()))
            guess = (length.covalent_radii or {}).get(t)
            if length.decided_by == "labels" and guess:
                apart = abs(length.per_type[t] / guess - 1)
                if apart > NOTABLE_DISAGREEMENT:
                    notes.append(
                        f"covalent radii would say {guess:.3f} for {t}, {apart:.1%} from what the labels ask for: the "
                        "labels are followed"
                    )
        return notes

    def _energy_notes(self) -> list[str]:
        """What the labels did not tell apart, and what was done with a pair potential."""
        common, shift = self.energy_scale.common_to, self.energy_shifts
        notes = []
        if len(common) > 1:
            notes.append(f"one α for {', '.join(common)}: the labels do not tell theirs apart")
        if shift.undetermined_types:
            notes.append(
                f"the compositions (rank {shift.rank} of {len(shift.fitted_types)}) do not determine the shifts of "
                f"{', '.join(shift.undetermined_types)} one by one: theirs change as little as fits"
            )
        if self.pair_potential is not None:
            notes.append(
                f"pair potential {self.pair_potential}: neither λ nor α scales it, but its envelope ends at the "
                "target's cutoff; what is fitted of λ, α and μ is fitted to the labels less it"
            )
            if self.length_scale.decided_by in ("given", "covalent radii"):
                notes.append(
                    "λ was not fitted: beside a pair potential it is that of the network alone, which ratios of "
                    "lattice constants and of radii are not"
                )
        return notes

    def _label_notes(self) -> list[str]:
        """What the fits left out."""
        missing = [f"{n} without {kind}" for kind, n in self.missing_labels.items() if n]
        notes = [f"of {self.n_frames} structures, {', '.join(missing)}"] if missing else []
        if self.isolated_atoms:
            numbers = ", ".join(map(str, self.isolated_atoms))
            notes.append(f"isolated atoms, which say nothing of bonds, are left out of the fits: structure {numbers}")
        return notes

    def _zero_shot(self) -> str:
        columns = {
            "force MAE": ("force_mae", "meV/Å"),
            "force RMSE": ("force_rmse", "meV/Å"),
            "energy MAE": ("energy_mae", "meV/atom"),
            "shifts refitted": ("energy_mae_refitted", "meV/atom"),
            "stress MAE": ("stress_mae", "meV/Å³"),
        }
        rows = [[row.step, *(_milli(getattr(row, name)) for name, _ in columns.values())] for row in self.zero_shot]
        units = ["", *(unit for _, unit in columns.values())]
        title = f"Errors on the {self.n_frames} training structures before any training:\n"
        return title + table(["initialisation", *columns], [units, *rows], [False] + [True] * len(columns))


def known_errors(types: Sequence[str], errors: Sequence[float]) -> ErrorPerType:
    """Standard errors by type, None where the structures do not tell one.

    Args:
        errors: infinite where they do not, shape (n_types,)
    """
    return {t: float(error) if math.isfinite(error) else None for t, error in zip(types, errors)}


def _milli(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_known_number(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_error(value: Any) -> bool:
    return value is None or (_is_known_number(value) and value >= 0)


def _is_mapping_to(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(is_right, value.values()))


_is_per_type = _is_mapping_to(_is_known_number)


def _is_named_numbers(value: Any) -> bool:
    """``{lattice: {Si: 5.469, Ge: 5.763}}``, ``{isolated_atoms: {Ge: -0.1}}``."""
    named = isinstance(value, Mapping) and len(value) == 1 and all(n in (LATTICE, ISOLATED_ATOMS) for n in value)
    return named and all(map(_is_per_type, value.values()))


def _is_starts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(target) and target.isalnum() and (_is_text(start) or (_is_per_type(start) and len(start) > 0))
        for target, start in value.items()
    )


# what tells whether the value of a field of a type is right
_CHECKS: dict[Any, Callable[[Any], bool]] = {
    str: _is_text,
    Action: _is_text,
    str | None: lambda value: value is None or _is_text(value),
    int: _is_count,
    float: _is_known_number,
    float | None: _is_number_or_none,
    list[str]: _is_texts,
    list[int]: lambda value: isinstance(value, (list, tuple)) and all(map(_is_count, value)),
    tuple[int, ...]: lambda value: isinstance(value, (list, tuple)) and all(map(_is_count, value)),
    PerType: _is_per_type,
    PerType | None: lambda value: value is None or _is_per_type(value),
    ErrorPerType: _is_mapping_to(_is_error),
    Species: _is_mapping_to(lambda symbol: _is_text(symbol) and atomic_numbers.get(symbol, 0) > 0),
    dict[str, int]: _is_mapping_to(_is_count),
    dict[str, Any]: _is_mapping_to(lambda value: True),
    dict[LabelKind, PerType]: _is_mapping_to(_is_per_type),
    dict[str, TypeStart]: _is_starts,
    Setting: lambda value: (
        _is_text(value) or _is_known_number(value) or _is_per_type(value) or _is_named_numbers(value)
    ),
}


def _read(kind: type[T], value: Any, place: str) -> T:
    """A dataclass from plain data, each field of the kind that its type says."""
    if not isinstance(value, Mapping):
        raise RefusedFile(_sentence(place, value))
    found = {}
    for part in fields(kind):  # type: ignore[arg-type]
        where = f"{place}.{part.name}" if place else part.name
        if part.name in value:
            found[part.name] = _value(part.type, value[part.name], where)
        elif part.default is MISSING and part.default_factory is MISSING:
            raise RefusedFile(f"the record of its transfer has no `{where}`: it was altered or cut.")
    return kind(**found)


def _value(kind: Any, value: Any, place: str) -> Any:
    if is_dataclass(kind):
        return _read(kind, value, place)  # type: ignore[arg-type]
    if get_origin(kind) is list and is_dataclass(get_args(kind)[0]):
        if not isinstance(value, list):
            raise RefusedFile(_sentence(place, value))
        return [_value(get_args(kind)[0], item, f"{place}.{i}") for i, item in enumerate(value)]
    if not _CHECKS[kind](value):
        raise RefusedFile(_sentence(place, value))
    return value


def _sentence(place: str, value: Any) -> str:
    name = f"`{place}` of the record of its transfer" if place else "the record of its transfer"
    return f"{name} is {shortened(value)}, which no transfer writes: it was altered or cut."
