"""Energies that the start explains no better than a gap between them and the others: outliers, or a second zero."""

from collections.abc import Sequence

import numpy as np

from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.structures.labels import Labels
from nequip_elemtransfer.structures.words import listed

# A gap between energies is notable where it is this many times the spread within the parts, and this much in eV/atom.
_SPREADS, _LEAST_GAP = 5.0, 0.1

_LEAST_STRUCTURES = 5


def energy_gap(
    parts: NetworkParts, labels: Labels, alpha: np.ndarray, mu: np.ndarray, places: Sequence[int] | None = None
) -> list[str]:
    """A sentence where energies fall into two parts that structure and composition do not explain.

    Args:
        parts: predictions at the target's lengths
        labels: of the same structures, those of isolated atoms missing
        alpha, mu: of the start, each of shape (n_types,), μ in eV
        places: of the structures in their file; as they come by default
    """
    n_atoms = parts.counts.sum(axis=1)
    rest = (labels.energies - parts.predicted(alpha, mu).energies) / n_atoms
    known = np.flatnonzero(np.isfinite(rest))
    if len(known) < _LEAST_STRUCTURES:
        return []
    order = known[np.argsort(rest[known])]
    gaps = np.diff(rest[order])
    cut = int(np.argmax(gaps)) + 1
    halves = order[:cut], order[cut:]
    within = np.concatenate([rest[half] - rest[half].mean() for half in halves])
    if gaps[cut - 1] < max(_LEAST_GAP, _SPREADS * float(np.sqrt(np.mean(within**2)))):
        return []
    fewer, others = sorted(halves, key=len)
    numbers = sorted(int(i if places is None else places[i]) for i in fewer)
    off = float(rest[fewer].mean() - rest[others].mean())
    one = len(fewer) == 1
    return [
        f"{len(fewer)} of {len(known)} energies ({listed(numbers)}) {'lies' if one else 'lie'} {abs(off):.3g} eV/atom "
        f"{'above' if off > 0 else 'below'} the others, which structure and composition do not explain: "
        f"{'an outlier' if one else 'outliers'}, or another zero of energy in the same file. Leave "
        f"{'it' if one else 'them'} out, or bring all to one zero."
    ]
