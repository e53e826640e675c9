"""Labels whose sign or unit cannot be right, told by comparing them with a model that resembles them."""

from collections.abc import Mapping, Sequence

import numpy as np

from nequip_elemtransfer.config import KIND_NAMES
from nequip_elemtransfer.energies.fit import composition_residual
from nequip_elemtransfer.structures.labels import LabelKind, Labels
from nequip_elemtransfer.structures.unit_names import ENERGIES, LENGTHS, PRESSURES
from nequip_elemtransfer.structures.units import WrongUnit

# Correlation with the source's predictions from which a kind of label is trusted to have one scale.
_RESEMBLES = 0.8
_REVERSED = -0.5

# No source misses one kind of label by this factor and explains another: such a factor is one between units.
_UNIT_FACTOR = 5.0

_LEAST_STRUCTURES = 4

# α of all labels beyond this factor is rarely one between elements
_RARE = 6.0
# and within this factor of one between units looks like it: binding energies of neighbours differ by less
_NEAR = 2.5

# name of the unit that labels would be in -> eV (eV/Å, eV/Å³) in units of it
_UNITS: dict[LabelKind, dict[str, float]] = {
    "energy": {name: 1 / size for name, size in ENERGIES.items() if name not in ("eV", "meV")},
    "forces": {
        f"{energy}/{length}": LENGTHS[length] / ENERGIES[energy]
        for energy, length in [("kcal/mol", "Å"), ("kJ/mol", "nm"), ("Hartree", "Bohr"), ("Rydberg", "Bohr")]
    },
    "stress": {name: 1 / PRESSURES[name] for name in ("kbar", "GPa", "bar")},
}
_OPTIONS: dict[LabelKind, str] = {"energy": "--energy-unit", "forces": "--force-unit", "stress": "--stress-unit"}
_CONVERTS = "`nequip-elemtransfer plan SOURCE FILE {} --out DIR` writes copies in NequIP's units and a train.yaml"


def check_units(labels: Labels, predicted: Labels, counts: np.ndarray) -> None:
    """Refuse labels whose sign or unit disagrees with that of another kind of label.

    For each kind the energy scale that it alone asks for is compared with that of the forces (without forces, of the
    energies). Means over structures do not count: they depend on the zero of energy and on λ.

    Args:
        labels: reference
        predicted: by the start, at energy scales of one
        counts: atoms of each type in each structure, shape (n_frames, n_types)

    Raises:
        WrongUnit: naming the kind, the factor and, where it is a known one, the unit
    """
    asked = {}
    for kind in labels.kinds:
        pair = _centred(kind, labels, predicted, counts)
        if pair is not None:
            asked[kind] = _scale_and_correlation(*pair)
    scales = {kind: scale for kind, (scale, correlation) in asked.items() if correlation > _RESEMBLES}
    if "stress" in asked and asked["stress"][1] < _REVERSED and scales:
        raise WrongUnit(
            f"the stresses of the structures have the opposite sign of the start's (correlation "
            f"{asked['stress'][1]:.2f}), and their {KIND_NAMES[next(iter(scales))]} do not: NequIP takes stresses "
            "positive under tension; put `nequip.data.transforms.StressSignFlipTransform` into the data's transforms, "
            "or read them with `--stress-unit=-eV/Å^3` (or `=-kbar`)."
        )
    if "forces" in asked and asked["forces"][1] < _REVERSED and scales:
        raise WrongUnit(
            f"the forces of the structures have the opposite sign of the start's (correlation "
            f"{asked['forces'][1]:.2f}), and their {KIND_NAMES[next(iter(scales))]} do not: are they gradients of the "
            "energy? NequIP's forces are minus the gradient: `--key NAME=gradient` turns them."
        )
    base = next((kind for kind in ("forces", "energy") if kind in scales), None)
    for kind, scale in scales.items():
        if base is not None and max(scale / scales[base], scales[base] / scale) > _UNIT_FACTOR:
            raise WrongUnit(_sentence(kind, base, scales))


def _sentence(kind: LabelKind, base: LabelKind, scales: Mapping[LabelKind, float]) -> str:
    ratio = scales[kind] / scales[base]
    guilty, unit = _known_unit(kind, base, ratio)
    looks = f"; the {KIND_NAMES[guilty]} look like {unit}" if unit else ""
    mend = _CONVERTS.format(f"{_OPTIONS[guilty]} {unit or 'UNIT'}")
    if guilty == "stress":
        mend += "; where stresses are true and of no use, as of clusters in wide boxes, `--key stress=` leaves them out"
    return (
        f"the {KIND_NAMES[kind]} of the structures ask for an energy scale {ratio:.3g} times that of their "
        f"{KIND_NAMES[base]} ({scales[kind]:.3g} against {scales[base]:.3g}), so they are not in units that go together"
        f"{looks}: NequIP's are eV, eV/Å and eV/Å³. {mend}."
    )


def _known_unit(kind: LabelKind, base: LabelKind, ratio: float) -> tuple[LabelKind, str]:
    """The kind of label that is in another unit, and its name; the first kind and no name where none is known."""
    for guilty, factor in ((kind, ratio), (base, 1 / ratio)):
        for unit, size in _UNITS[guilty].items():
            if abs(np.log(factor / size)) < 0.15:
                return guilty, unit
    return kind, ""


def unit_of_scale(types: Sequence[str], alpha: np.ndarray, fitted: np.ndarray) -> list[str]:
    """A sentence if the fitted energy scales look like a factor between units: all labels may be in another.

    Args:
        types: of the target
        alpha: α of each, shape (n_types,)
        fitted: whether it was, shape (n_types,)
    """
    for name, scale in zip(np.array(types)[fitted], alpha[fitted].tolist()):
        if 1 / _RARE <= scale <= _RARE:
            continue
        labels = {f"in {unit}": size for unit, size in [*_UNITS["energy"].items(), *_UNITS["forces"].items()]}
        trained = {f"of a source trained in {unit}": 1 / size for unit, size in _UNITS["energy"].items()}
        near = [
            (what, size)
            for sizes in (labels, trained)
            for what, size in sorted(sizes.items(), key=lambda item: abs(np.log(scale / item[1])))
            if abs(np.log(scale / size)) < np.log(_NEAR)
        ]
        if not near:
            continue
        what, size = near[0]
        unit = what.split()[1] if what.startswith("in ") else ""
        option = f"--energy-unit {unit.split('/')[0] if 'Bohr' in unit else unit}"
        option += f" --force-unit {unit}" if "Bohr" in unit else ""
        mend = f"if so, {_CONVERTS.format(option)}" if unit else "if so, convert the source's data and train it again"
        return [
            f"α = {scale:.3g} of {name} is near {size:.3g}, the factor of labels {what}, where NequIP takes eV and "
            f"eV/Å: {mend}. No two elements that bond alike differ so much."
        ]
    return []


def _centred(
    kind: LabelKind, labels: Labels, predicted: Labels, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Reference and prediction of the structures that have both, less their means over structures."""
    reference, model = labels.of(kind), predicted.of(kind)
    if kind == "energy":
        reference, model = (composition_residual(energies, counts) for energies in (reference, model))
    axes = tuple(range(1, reference.ndim))
    there = np.isfinite(reference).all(axis=axes) & np.isfinite(model).all(axis=axes)
    structures = np.repeat(np.arange(len(counts)), counts.sum(axis=1) if kind == "forces" else 1)
    if len(np.unique(structures[there])) < _LEAST_STRUCTURES:
        return None
    reference, model = reference[there], model[there]
    if kind == "stress":
        reference, model = reference - reference.mean(axis=0), model - model.mean(axis=0)
    return reference.reshape(-1), model.reshape(-1)


def _scale_and_correlation(reference: np.ndarray, model: np.ndarray) -> tuple[float, float]:
    norms = float(np.linalg.norm(reference) * np.linalg.norm(model))
    if norms == 0:
        return 1.0, 0.0
    product = float(reference @ model)
    return product / float(model @ model), product / norms
