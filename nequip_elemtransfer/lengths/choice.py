"""The length scales of a transfer as the key asks for them, and how they came about."""

from dataclasses import dataclass, replace

import numpy as np

from nequip_elemtransfer.config import LabelKind, TransferConfig
from nequip_elemtransfer.lengths import scales as lengths
from nequip_elemtransfer.lengths.search import COARSE_FACTORS, FINE_REACH, LengthSearch
from nequip_elemtransfer.mapping.element_map import ElementMap

# A difference between covalent radii and labels above this part of λ is worth a warning.
NOTABLE_DISAGREEMENT = 0.02


@dataclass(frozen=True)
class LengthChoice:
    """The length scales and what decided them.

    Args:
        scales: λ of each target type, shape (n_types,)
        errors: standard error of each λ, zero where it was not fitted, infinite where the structures do not tell it,
            shape (n_types,)
        decided_by: ``labels``, ``covalent radii`` or ``nothing`` (λ = 1) where λ was to be fitted, else ``given``
        by_kind: λ of each target type at which each kind of label alone is explained best, where there is one
        covalent_radii: λ of each target type from covalent radii; None where a type has none
    """

    scales: np.ndarray
    errors: np.ndarray
    decided_by: str
    by_kind: dict[LabelKind, np.ndarray]
    covalent_radii: np.ndarray | None


def given_lengths(config: TransferConfig, element_map: ElementMap, frozen: np.ndarray) -> LengthChoice:
    """The choice for any ``length_scale`` but ``fit``.

    Args:
        frozen: types whose lengths stay as they are in the source, shape (n_types,)

    Raises:
        ValueError: a λ is missing, or no ratio of lengths
    """
    scales = lengths.per_type_scales(config.length_scale, element_map, frozen)
    lengths.require_plausible_lengths(config.length_scale, scales, element_map)
    return LengthChoice(scales, np.zeros(len(scales)), "given", {}, _radii(element_map, frozen))


def guessed_lengths(element_map: ElementMap, frozen: np.ndarray) -> np.ndarray:
    """λ of each target type before any label is seen, shape (n_types,); frozen types stay at one."""
    return np.where(frozen, 1.0, lengths.first_guess(element_map))


def longest_lengths(config: TransferConfig, element_map: ElementMap, frozen: np.ndarray) -> np.ndarray:
    """The largest λ of each target type that the choice may come to, shape (n_types,)."""
    if config.length_scale != "fit":
        return given_lengths(config, element_map, frozen).scales
    reach = np.where(frozen, 1.0, COARSE_FACTORS[-1] + FINE_REACH)
    return reach * guessed_lengths(element_map, frozen)


def choice(search: LengthSearch, element_map: ElementMap) -> LengthChoice:
    """What a search that scanned the range found, or the first guess where it did not or could not decide."""
    radii = _radii(element_map, search.frozen)
    exact = np.zeros(len(search.guess))
    undecided = LengthChoice(search.guess, exact, "nothing" if radii is None else "covalent radii", {}, radii)
    if not len(search.factors):
        return undecided
    best = search.best()
    by_kind = {kind: search.scales(factor) for kind, factor in best.factors_by_kind.items()}
    if not best.decided:
        return replace(undecided, by_kind=by_kind)
    errors = np.where(search.frozen, 0.0, best.error * search.guess)
    return LengthChoice(search.scales(best.factor), errors, "labels", by_kind, radii)


def _radii(element_map: ElementMap, frozen: np.ndarray) -> np.ndarray | None:
    if not lengths.has_radii(element_map):
        return None
    return np.where(frozen, 1.0, lengths.covalent_scales(element_map))
