"""The length scale λ of each type and pair: from covalent radii, lattice constants or given numbers."""

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from nequip_elemtransfer.config import LATTICE, Setting
from nequip_elemtransfer.mapping.element_map import ElementMap

# Curium. ASE fills later places with a number that is also protactinium's own radius.
_LAST_RADIUS = 96

# λ lies in this range, whatever the elements: rare gases are half as large and twice as far apart as others
_USUAL = (1 / 3, 3.0)
# and within this factor of the ratio of covalent radii, which may be 9; the search for λ goes to 1.27 times it
_ABOUT_RADII = 1.5


def covalent_scales(element_map: ElementMap) -> np.ndarray:
    """``λ_t = ρ_t / Σ_s m[t,s] ρ_s`` from ASE's covalent radii (Cordero et al., Dalton Trans. 2008, 2832).

    Returns:
        shape (n_target,)

    Raises:
        ValueError: naming a type that is no element, or an element without a radius
    """
    return np.array([_radius(s) for s in element_map.target_species]) / source_radii(element_map)


def source_radii(element_map: ElementMap) -> np.ndarray:
    """``Σ_s m[t,s] ρ_s`` in Å: the covalent radius each target type has in the eyes of the source, shape (n_target,).

    Raises:
        ValueError: naming a type that is no element, or an element without a radius
    """
    columns = zip(element_map.source_species, element_map.weights.T)
    return element_map.per_type(np.array([_radius(species) if used.any() else 0.0 for species, used in columns]))


def first_guess(element_map: ElementMap) -> np.ndarray:
    """λ of each target type before any label is seen: covalent radii where every type in use has one, else one."""
    return covalent_scales(element_map) if has_radii(element_map) else np.ones(len(element_map.kept))


def has_radii(element_map: ElementMap) -> bool:
    """Whether every type in use is an element with a covalent radius."""
    used = [species for species, used in zip(element_map.source_species, element_map.weights.T) if used.any()]
    return all(0 < atomic_numbers.get(s, 0) <= _LAST_RADIUS for s in (*element_map.target_species, *used))


def lattice_scales(constants: Mapping[str, float], element_map: ElementMap) -> np.ndarray:
    """``λ_t = a_t / Σ_s m[t,s] a_s`` from lattice constants; kept types without one stay at one.

    Args:
        constants: a in Å (or the unit of your choice) by type, of one crystal structure, for source and target types

    Returns:
        shape (n_target,)

    Raises:
        ValueError: naming a type that has none
    """
    scales = np.ones(len(element_map.target_types))
    for i, (target, weights) in enumerate(zip(element_map.target_types, element_map.weights)):
        sources = [s for s, w in zip(element_map.source_types, weights) if w]
        missing = [name for name in (target, *sources) if name not in constants]
        if missing and not element_map.kept[i]:
            raise ValueError(
                f"`length_scale: {{{LATTICE}: ...}}` gives no lattice constant of {', '.join(missing)}, which λ of "
                f"{target} needs: name the target type and each source type it starts from."
            )
        if not missing:
            own = sum(w * constants[s] for s, w in zip(element_map.source_types, weights) if w)
            scales[i] = constants[target] / own
    return scales


def per_type_scales(setting: Setting, element_map: ElementMap, frozen: np.ndarray) -> np.ndarray:
    """λ of each target type for any setting but ``fit``, shape (n_target,).

    One number holds for every type that is not frozen; frozen types stay at one.

    Args:
        frozen: types whose lengths and energies stay as they are in the source, shape (n_target,)
    """
    if setting == "covalent_radii":
        return covalent_scales(element_map)
    if isinstance(setting, Mapping) and isinstance(constants := setting.get(LATTICE), Mapping):
        return lattice_scales(constants, element_map)
    if isinstance(setting, Mapping):
        return np.array([setting[t] for t in element_map.target_types])
    return np.where(frozen, 1.0, 1.0 if setting == "none" else float(setting))


def require_plausible_lengths(setting: Setting, scales: np.ndarray, element_map: ElementMap) -> None:
    """Refuse a given λ that is no ratio of bond lengths of its elements: a cutoff, a percentage, two units.

    Args:
        setting: the key's ``length_scale``
        scales: λ of each target type that follows from it, shape (n_target,)

    Raises:
        ValueError: with the range
    """
    for name, scale, radii in zip(element_map.target_types, scales, first_guess(element_map)):
        low, high = min(_USUAL[0], radii / _ABOUT_RADII), max(_USUAL[1], radii * _ABOUT_RADII)
        if low <= scale <= high:
            continue
        found, mend = f"is {scale:.6g} for {name!r}", "the cutoff is λ times the source's"
        if isinstance(setting, Mapping) and LATTICE in setting:
            found, mend = f"gives {found[3:]}", "give lattice constants of one crystal structure in one unit"
        if not has_radii(element_map):
            mend += "; types that are no elements have no radii: name their elements in `chemical_species`"
        raise ValueError(
            f"`element_transfer.length_scale` {found}, which cannot be meant: λ, the target's bond lengths over the "
            f"source's, lies between {low:.3g} and {high:.3g} for these elements; {mend}."
        )


def pair_scales(scales: np.ndarray, element_map: ElementMap) -> np.ndarray:
    """``λ_tu = (λ_t ρ_s(t) + λ_u ρ_s(u)) / (ρ_s(t) + ρ_s(u))``: the mean of the two, weighted by size.

    With covalent radii this is ``(ρ_t + ρ_u) / (ρ_s(t) + ρ_s(u))``. Sources whose types are no elements weigh equally.

    Args:
        scales: λ_t, shape (n_target,)

    Returns:
        shape (n_target, n_target)
    """
    try:
        radii = source_radii(element_map)
    except ValueError:
        radii = np.ones(len(scales))
    own = scales * radii
    return (own[:, None] + own[None, :]) / (radii[:, None] + radii[None, :])


def _radius(symbol: str) -> float:
    if not atomic_numbers.get(symbol):  # ASE's X, number 0, is no element
        raise ValueError(
            f"type {symbol!r} is not a chemical element, so `length_scale: covalent_radii` has no radius for it: "
            "give a number, `fit` or `none`, or name its element in `chemical_species`."
        )
    if atomic_numbers[symbol] > _LAST_RADIUS:
        raise ValueError(
            f"no covalent radius is known for {symbol!r}: give `length_scale` as a number, `fit` or `none`."
        )
    return float(covalent_radii[atomic_numbers[symbol]])
