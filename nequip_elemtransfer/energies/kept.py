"""Kept types whose labels come from another method than the source's: another zero of energy, another energy scale."""

from collections.abc import Mapping, Sequence

import numpy as np

from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.structures.labels import LabelKind, Labels

# Energy shifts are another method's where the source's leave this times as much of the energies (r.m.s.), and this
# much in eV/atom.
_FACTOR, _LEAST_SHIFT = 2.0, 0.03

# and energy scales where they are this far from one: a source that resembles the labels in part asks for a lower one
_LEAST_SCALE = 0.1

# standard errors that a difference must exceed
_ERRORS = 3.0


def another_method(
    parts: NetworkParts,
    labels: Labels,
    start: tuple[np.ndarray, np.ndarray],
    frozen: np.ndarray,
    types: Sequence[str],
    weights: Mapping[LabelKind, float],
) -> list[str]:
    """A sentence for each kept type of which the labels ask for another energy scale or shift than the source has.

    Args:
        parts: predictions at the target's lengths
        labels: of the same structures
        start: α and μ (eV) of the start, each of shape (n_types,)
        frozen: types whose energies stay as they are in the source, shape (n_types,)
        types: their names
        weights: of the kinds of labels in the fit of α
    """
    alpha, mu = start
    scales = _scales(parts, labels, frozen, weights)
    asked_for = np.array([scales.get(t, scale) for t, scale in enumerate(alpha)])
    shifts = _shifts(parts, labels, asked_for, mu, frozen)
    sentences = []
    for t in sorted({*scales, *shifts}):
        asked = [f"α = {scales[t]:.3g}, where a kept type has 1"] if t in scales else []
        asked += [f"μ = {shifts[t]:.4f} eV, where the source has {mu[t]:.4f}"] if t in shifts else []
        sentences.append(
            f"{types[t]} is kept as it is in the source, and the labels ask for {' and '.join(asked)}: they come from "
            "another method or code. `kept_types: fit` (`plan --kept-types fit`) fits it as any other type."
        )
    return sentences


def _scales(
    parts: NetworkParts, labels: Labels, frozen: np.ndarray, weights: Mapping[LabelKind, float]
) -> dict[int, float]:
    """α of kept types that is not one."""
    terms = {kind: term for kind, term in parts.terms(labels).items() if weights[kind] > 0}
    if not terms or not frozen.any():
        return {}
    try:
        found = fit.fit_energy_scales(terms, weights, np.zeros(len(frozen), dtype=bool))
    except fit.NoResemblance:
        return {}  # which the errors of the start say
    if not frozen[list(found.common)].all():
        return {}  # one number for kept types and others says nothing of the kept
    off = np.abs(found.scales - 1)
    other = frozen & (off > _LEAST_SCALE) & (off > _ERRORS * found.errors)
    return {int(t): float(found.scales[t]) for t in np.flatnonzero(other)}


def _shifts(
    parts: NetworkParts, labels: Labels, alpha: np.ndarray, mu: np.ndarray, frozen: np.ndarray
) -> dict[int, float]:
    """μ in eV of kept types that is not the source's, at energy scales ``alpha``."""
    if not labels.has("energy") or not frozen.any():
        return {}
    found = parts.fit_shifts(labels, alpha, mu, np.zeros(len(frozen), dtype=bool))
    rest = labels.energies - parts.predicted(alpha, np.zeros(len(mu))).energies
    left = [_rms((rest - parts.counts @ x) / parts.counts.sum(axis=1)) for x in (mu, found.shifts)]
    if left[0] < max(_FACTOR * left[1], _LEAST_SHIFT):
        return {}
    off = np.abs(found.shifts - mu)
    other = frozen & (off > _LEAST_SHIFT) & (off > _ERRORS * found.errors)
    return {int(t): float(found.shifts[t]) for t in np.flatnonzero(other)}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(values**2)))
