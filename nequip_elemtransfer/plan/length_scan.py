"""Force and energy errors against the length scale λ, and the λ that follows."""

from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer import fit
from nequip_elemtransfer.plan.errors import unexplained_force_variance
from nequip_elemtransfer.plan.start import COARSE_FACTORS, Start

# The minimum counts as flat if 4 % in λ to either side raise the force RMSE by less than this part of it.
_FLAT_WINDOW = 0.04
_FLAT_RISE = 0.1


@dataclass(frozen=True)
class LengthScan:
    """Errors at each λ with the energy scale α eliminated, on all frames.

    Args:
        type: the target type whose λ is given; the others keep their ratio to it
        length_scales: λ, ascending, shape (n,)
        force_rmse: eV/Å, shape (n,)
        energy_rmse: of energies per atom, shifts refitted, eV/atom, shape (n,); None without energies
        energy_scale: α (of ``type``), shape (n,); NaN where the forces do not resemble
        marks: name -> λ
        chosen: the mark proposed: ``fit``, or where that found no minimum ``covalent radii`` or ``none`` (λ = 1)
        proposed: λ of each type, shape (n_types,)
        warnings: what is wrong with the minimum
    """

    type: str
    length_scales: list[float]
    force_rmse: list[float]
    energy_rmse: list[float] | None
    energy_scale: list[float]
    marks: dict[str, float]
    chosen: str
    proposed: list[float]
    warnings: list[str]


def length_scan(start: Start, lattice_ratio: float | None = None) -> LengthScan:
    """What a scanned start says of λ.

    Args:
        start: scanned, with force labels and at least one type that is not kept
        lattice_ratio: of the target's to the source's lattice constant
    """
    every, first = np.arange(len(start.counts)), int(np.flatnonzero(~start.kept)[0])
    rows = [_row(start, factor, first) for factor in start.factors]
    factor = start.refined_factor(every)
    fitted, at_edge = start.scales(factor), not COARSE_FACTORS[0] < factor < COARSE_FACTORS[-1]
    marks = {"covalent radii": float(start.guess[first])} if start.transfer.has_radii else {}
    if lattice_ratio is not None:
        marks["lattice"] = lattice_ratio
    return LengthScan(
        type=start.transfer.element_map.target_types[first],
        length_scales=[float(start.scales(f)[first]) for f in start.factors],
        force_rmse=[row[0] for row in rows],
        energy_rmse=None if start.labels.energies is None else [row[1] for row in rows],
        energy_scale=[row[2] for row in rows],
        marks=marks | {"fit": float(fitted[first])},
        chosen="fit" if not at_edge else "covalent radii" if start.transfer.has_radii else "none",
        proposed=(start.guess if at_edge else fitted).tolist(),
        warnings=_warnings(start.factors, np.array([row[0] for row in rows]), factor, at_edge),
    )


def _row(start: Start, factor: float, first: int) -> tuple[float, float, float]:
    parts, labels = start.parts(start.scales(factor)), start.labels
    try:
        alpha = parts.fit_scales(labels, start.kept).scales
    except ValueError:
        alpha = np.full(len(start.kept), np.nan)
    predicted = parts.predicted(np.nan_to_num(alpha), np.zeros(len(alpha)))
    rms = float(np.sqrt((labels.forces**2).mean()))
    energy = np.nan
    if labels.energies is not None:
        residual = fit.composition_residual(labels.energies - predicted.energies, parts.counts)
        energy = float(np.sqrt((residual**2).mean()))
    return rms * np.sqrt(unexplained_force_variance(predicted, labels)), energy, float(alpha[first])


def _warnings(factors: np.ndarray, force_rmse: np.ndarray, factor: float, at_edge: bool) -> list[str]:
    found = []
    if at_edge:
        found.append(
            f"the best λ lies at the edge of the range, {COARSE_FACTORS[0]:g} to {COARSE_FACTORS[-1]:g} times the "
            "first guess: the source describes these structures at no length."
        )
    lowest = force_rmse.min()
    sides = [np.interp(factor + side * _FLAT_WINDOW, factors, force_rmse) for side in (-1, 1)]
    if min(sides) < (1 + _FLAT_RISE) * lowest:
        found.append(
            f"the minimum is flat: {_FLAT_WINDOW:.0%} in λ changes the force RMSE by less than {_FLAT_RISE:.0%}, so "
            "these structures hardly determine λ."
        )
    return found
