"""Corresponding states: how lengths of the source become lengths of the target.

Radial encodings depend only on ``x = r / r_cut(pair)`` and the angular part only on directions, so with the pair
cutoff ``λ_tu R`` the target network computes the source's function of ``r / λ_tu`` without any training.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from ase.data import atomic_numbers, covalent_radii
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel
from nequip.nn.misc import ApplyFactor
from nequip.utils.dtype import floating_point_tolerance
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture import Architecture, pair_cutoffs, pair_table
from nequip_elemtransfer.config import Setting
from nequip_elemtransfer.element_map import ElementMap
from nequip_elemtransfer.probe import largest_difference, probe_cluster

# Curium. ASE fills later places with a number that is also protactinium's own radius.
_LAST_RADIUS = 96

logger = RankedLogger(__name__, rank_zero_only=True)


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
    used = element_map.weights.any(axis=0)
    return element_map.per_type(np.array([_radius(s) if u else 0.0 for s, u in zip(element_map.source_species, used)]))


def per_type_scales(setting: Setting, element_map: ElementMap) -> np.ndarray:
    """λ of each target type for any setting but ``fit``, shape (n_target,).

    One number holds for every type that does not keep its name; kept types stay at one.
    """
    if setting == "covalent_radii":
        return covalent_scales(element_map)
    if isinstance(setting, Mapping):
        return np.array([setting[t] for t in element_map.target_types])
    return np.where(element_map.kept, 1.0, 1.0 if setting == "none" else float(setting))


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


def with_lengths(architecture: Architecture, scales: np.ndarray) -> Architecture:
    """The architecture with every pair cutoff times λ_tu.

    One common λ needs only ``r_max``; several need ``per_edge_type_cutoff``, with ``r_max`` times the largest.

    Args:
        architecture: for the target types, at the source's lengths
        scales: λ_tu, shape (n_types, n_types)
    """
    if np.all(scales == 1.0):
        return architecture
    scaled = dict(architecture, r_max=float(architecture["r_max"]) * float(scales.max()))
    if np.ptp(scales) > 1e-9 or architecture.get("per_edge_type_cutoff") is not None:
        # none above r_max, not by rounding either: NequIP would refuse it
        scaled["per_edge_type_cutoff"] = pair_table(architecture["type_names"], pair_cutoffs(architecture) * scales)
    return scaled


def radial_factors(source: GraphModel, target: GraphModel) -> dict[str, float]:
    """What the first layer of each radial MLP must be multiplied by to undo a constant that depends on ``r_max``.

    NequIP's GNN models multiply the radial encoding by ``2π / r_max²``; Allegro has no such constant, and the
    result is empty.

    Returns:
        parameter name -> factor, ``(r_max'/r_max)²`` for NequIP
    """
    before, after = _encoding_factor(source), _encoding_factor(target)
    if before == after:
        return {}
    return {
        f"{name}.edge_mlp.mlp.0.weight": before / after
        for name, module in target.named_modules()
        if hasattr(module, "edge_mlp")
    }


def set_lengths(model: GraphModel, architecture: Architecture, scales: np.ndarray) -> None:
    """Rescale a built model's lengths in place, for trying many λ without building as many models.

    Args:
        model: built from ``architecture``
        architecture: at the source's lengths
        scales: λ_tu, shape (n_types, n_types)
    """
    for module in model.modules():
        if type(module).__name__ == "EdgeLengthNormalizer":
            reciprocal = torch.as_tensor(1.0 / (pair_cutoffs(architecture) * scales))
            buffer = module._rmax_recip
            buffer.copy_(reciprocal.reshape(buffer.shape))


def prove_similarity(
    before: GraphModel, after: GraphModel, before_architecture: Architecture, after_architecture: Architecture
) -> None:
    """Check ``E'(λx) = E(x)`` and ``λF'(λx) = F(x)`` on a small structure, pair potentials left out.

    Args:
        before: the target's types at the source's lengths, in evaluation mode
        after: the same with a length scale

    Raises:
        ValueError: if the model's radial encoding does not follow its cutoffs
    """
    with _network_alone(before), _network_alone(after):
        difference = largest_difference(
            before, after, probe_cluster(before_architecture), probe_cluster(after_architecture)
        )
    # rounding of r / (λR) enters twice, once in each model
    tolerance = 10 * floating_point_tolerance(before_architecture["model_dtype"])
    if not difference <= tolerance:
        raise ValueError(
            f"{before_architecture['_target_']} cannot take a length scale: its energies and forces on a scaled "
            f"structure differ by {difference:.1e} (tolerance {tolerance:.0e}). Use `length_scale: none`."
        )
    logger.info(f"Similarity E'(λx) = E(x) holds to {difference:.1e} (tolerance {tolerance:.0e}).")


@contextmanager
def _network_alone(model: GraphModel) -> Iterator[None]:
    """The model without its pair potential, which is a function of r itself and not of r / λ."""
    potentials = [(module, module.pair_potential) for module in model.modules() if hasattr(module, "pair_potential")]
    try:
        for module, _ in potentials:
            module.pair_potential = torch.nn.Identity()
        yield
    finally:
        for module, potential in potentials:
            module.pair_potential = potential


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


def _encoding_factor(model: GraphModel) -> float:
    factors = {
        float(module.factor)
        for module in model.modules()
        if isinstance(module, ApplyFactor) and module.in_field == AtomicDataDict.EDGE_EMBEDDING_KEY
    }
    return factors.pop() if factors else 1.0
