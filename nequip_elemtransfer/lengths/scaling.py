"""Corresponding states: how a model is given a length scale λ.

Radial encodings depend only on ``x = r / r_cut(pair)`` and the angular part only on directions, so with the pair
cutoff ``λ_tu R`` the target network computes the source's function of ``r / λ_tu`` without any training.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel
from nequip.utils.dtype import floating_point_tolerance
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.builders import Architecture, pair_cutoffs, pair_table
from nequip_elemtransfer.architecture.nequip_names import (
    FACTOR,
    LENGTHS,
    PAIR_POTENTIAL,
    first_radial_weights,
    holder_of_pair_potential,
    modules,
    the_module,
)
from nequip_elemtransfer.architecture.probe import largest_difference, probe_cluster

logger = RankedLogger(__name__, rank_zero_only=True)


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

    Raises:
        UnknownName: if there is such a constant and nothing that would undo it
    """
    before, after = _encoding_factor(source), _encoding_factor(target)
    if before == after:
        return {}
    return dict.fromkeys(first_radial_weights(target), before / after)


def set_lengths(model: GraphModel, architecture: Architecture, scales: np.ndarray) -> None:
    """Rescale a built model's lengths in place, for trying many λ without building as many models.

    Args:
        model: built from ``architecture``
        architecture: at the source's lengths
        scales: λ_tu, shape (n_types, n_types)

    Raises:
        UnknownName: if the model does not have one module that holds its cutoffs
    """
    buffer = the_module(model, LENGTHS)._rmax_recip
    buffer.copy_(torch.as_tensor(1.0 / (pair_cutoffs(architecture) * scales)).reshape(buffer.shape))


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
    potential = before_architecture.get("pair_potential") is not None
    with _network_alone(before, potential), _network_alone(after, potential):
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
def _network_alone(model: GraphModel, has_pair_potential: bool) -> Iterator[None]:
    """The model without its pair potential, which is a function of r itself and not of r / λ."""
    if not has_pair_potential:
        yield
        return
    holder = holder_of_pair_potential(model)
    potential = getattr(holder, PAIR_POTENTIAL)
    try:
        setattr(holder, PAIR_POTENTIAL, torch.nn.Identity())
        yield
    finally:
        setattr(holder, PAIR_POTENTIAL, potential)


def _encoding_factor(model: GraphModel) -> float:
    factors = [
        float(module.factor)
        for module in modules(model, FACTOR)
        if module.in_field == AtomicDataDict.EDGE_EMBEDDING_KEY
    ]
    return math.prod(factors)
