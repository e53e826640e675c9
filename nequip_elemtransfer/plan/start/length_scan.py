"""Errors against the length scale λ, what each kind of label asks for, and the λ that follows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.energies.fit import composition_residual
from nequip_elemtransfer.lengths.choice import NOTABLE_DISAGREEMENT, LengthChoice
from nequip_elemtransfer.lengths.search import COARSE_FACTORS, LengthSearch
from nequip_elemtransfer.plan.start.cross_validation import fitted_scales
from nequip_elemtransfer.transfer.start import Start

# The minimum counts as flat if 4 % in λ to either side raise the objective of the fit by less than this.
_FLAT_WINDOW = 0.04
_FLAT_RISE = 0.02


@dataclass(frozen=True)
class LengthScan:
    """Errors at each λ with the energy scale α that forces ask for there, on all frames; without forces, all labels.

    One kind is judged at the α of the forces: at its own, what is wrong could be made small instead of right.

    Args:
        type: the target type whose λ is given; the others keep their ratio to it
        length_scales: λ, ascending, shape (n,)
        force_rmse: eV/Å, shape (n,); None without forces
        energy_rmse: of energies per atom, shifts refitted, eV/atom, shape (n,); None without energies
        stress_rmse: eV/Å³, shape (n,); None without stresses
        energy_scale: α (of ``type``), shape (n,); NaN where the labels do not resemble
        asked: kind of label -> the λ at which it alone is explained best; kinds that ask for none are left out
        marks: name -> λ
        chosen: the mark proposed: ``fit``, or where the labels cannot decide ``covalent radii`` or ``none`` (λ = 1)
        proposed: λ of each type, shape (n_types,)
        warnings: what is wrong with the minimum
        disagreement: a sentence if covalent radii and labels ask for different λ, else empty
    """

    type: str
    length_scales: list[float]
    force_rmse: list[float] | None
    energy_rmse: list[float] | None
    stress_rmse: list[float] | None
    energy_scale: list[float]
    asked: dict[LabelKind, float]
    marks: dict[str, float]
    chosen: str
    proposed: list[float]
    warnings: list[str]
    disagreement: str

    def rmse(self, kind: LabelKind) -> list[float] | None:
        """The errors of one kind of label."""
        return {"forces": self.force_rmse, "energy": self.energy_rmse, "stress": self.stress_rmse}[kind]


def length_scan(start: Start, lattice_ratio: float | None = None) -> LengthScan:
    """What a scanned start says of λ.

    Args:
        start: scanned, with labels and at least one type that is not frozen
        lattice_ratio: of the target's to the source's lattice constant
    """
    search, lengths, types = start.search, start.lengths, start.config.type_names
    first = int(np.flatnonzero(~start.frozen)[0])
    rows = [_errors(start, factor) for factor in search.factors]
    rmse = {kind: [errors[kind] for errors, _ in rows] if search.labels.has(kind) else None for kind in LABEL_KINDS}
    marks = {} if lengths.covalent_radii is None else {"covalent radii": float(lengths.covalent_radii[first])}
    if lattice_ratio is not None:
        marks["lattice"] = lattice_ratio
    decided = lengths.decided_by == "labels"
    fitted = lengths.scales if decided else search.scales(search.best_factor())
    return LengthScan(
        type=types[first],
        length_scales=[float(search.scales(factor)[first]) for factor in search.factors],
        force_rmse=rmse["forces"],
        energy_rmse=rmse["energy"],
        stress_rmse=rmse["stress"],
        energy_scale=[float(alpha[first]) for _, alpha in rows],
        asked={kind: float(scales[first]) for kind, scales in lengths.by_kind.items()},
        marks=marks | {"fit": float(fitted[first])},
        chosen="fit" if decided else "covalent radii" if lengths.covalent_radii is not None else "none",
        proposed=lengths.scales.tolist(),
        warnings=_warnings(search),
        disagreement=_disagreement(lengths, types),
    )


def _errors(start: Start, factor: float) -> tuple[dict[LabelKind, float], np.ndarray]:
    """RMSE of each kind of label at a factor on the first guess, and α of each type."""
    labels, parts = start.search.labels, start.search.parts(start.search.scales(factor))
    alone = labels.without_kinds("energy", "stress") if labels.has("forces") else labels
    fitted = fitted_scales(start, parts, alone)
    alpha = np.full(len(start.frozen), np.nan) if fitted is None else fitted.scales
    predicted = parts.predicted(np.nan_to_num(alpha), np.zeros(len(alpha)))
    difference = {kind: predicted.of(kind) - labels.of(kind) for kind in LABEL_KINDS}
    difference["energy"] = composition_residual(difference["energy"], parts.counts)
    return {kind: _rms(values) for kind, values in difference.items()}, alpha


def _rms(values: np.ndarray) -> float:
    there = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(there**2))) if len(there) else np.nan


def _warnings(search: LengthSearch) -> list[str]:
    if search.best().at_edge:
        return [
            f"the best λ lies at the edge of the range, {COARSE_FACTORS[0]:g} to {COARSE_FACTORS[-1]:g} times the "
            "first guess: the source describes these structures at no length."
        ]
    objective = np.array([search.objective(factor) for factor in search.factors])
    at = search.best_factor()
    sides = [np.interp(at + side * _FLAT_WINDOW, search.factors, objective) for side in (-1, 1)]
    if min(sides) - search.least() < _FLAT_RISE:
        return [
            f"the minimum is flat: {_FLAT_WINDOW:.0%} in λ change what the start leaves unexplained by less than "
            f"{_FLAT_RISE:.0%}, so these structures hardly determine λ."
        ]
    return []


def _disagreement(lengths: LengthChoice, types: Sequence[str]) -> str:
    if lengths.decided_by != "labels" or lengths.covalent_radii is None:
        return ""
    ratio = lengths.covalent_radii / lengths.scales
    worst = int(np.argmax(np.abs(ratio - 1)))
    if abs(ratio[worst] - 1) <= NOTABLE_DISAGREEMENT:
        return ""
    return (
        f"covalent radii give λ = {lengths.covalent_radii[worst]:.3f} for {types[worst]} and the labels "
        f"{lengths.scales[worst]:.3f}, {abs(ratio[worst] - 1):.1%} apart: the labels are followed, and "
        "`length_scale: covalent_radii` would start from the wrong lengths."
    )
