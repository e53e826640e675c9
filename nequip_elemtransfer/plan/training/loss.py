r"""What a training on labelled structures should minimise.

NequIP's loss is the weighted mean of the mean square errors of energies per atom, forces and stresses,

.. math::

    L = \frac{\sum_k c_k \langle (x - x_\mathrm{ref})^2 \rangle_k}{\sum_k c_k} ,

so only the ratios of the weights :math:`c_k` matter. Here each kind counts in units of the variance :math:`v_k` of its
labels, energies less what composition explains:

.. math::

    c_F = 1, \qquad c_E = \frac{v_F}{v_E}, \qquad c_S = \frac{v_F}{v_S} \, \frac{n_S}{n_F} ,

where :math:`n` are numbers of labelled components. Stresses count by their number because there are nine for a whole
structure and three for each atom: as one kind against another they would weigh thousands of times the forces, and
forces would pay. For published DFT silicon this gives 9 / 1 / 110, for Stillinger-Weber silicon 15 / 1 / 410, near to
the weights found good by hand, 20 / 1 / 100 and 20 / 1 / 300."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.energies.fit import composition_residual
from nequip_elemtransfer.structures.labels import Labels

# Structures that are all alike have hardly any variance, which would let one kind of label outweigh the rest. In units
# of eV, Å relative to the forces.
_LARGEST: dict[LabelKind, float] = {"energy": 100.0, "forces": 1.0, "stress": 1000.0}

# What the others are relative to: the first of these that there is.
_REFERENCES: tuple[LabelKind, ...] = ("forces", "energy", "stress")

# r.m.s. below which labels are rounding, in eV, eV/Å, eV/Å³
_AT_REST = 1e-6


@dataclass(frozen=True)
class Loss:
    """Weights of the kinds of labels there are.

    Args:
        coeffs: weight of the mean square error of each kind, of energies per atom; one for the first of forces,
            energies and stresses that there is
        rms: root mean square of the labels of each kind, in eV/atom beyond composition, eV/Å and eV/Å³
        numbers: labelled components of each kind
    """

    coeffs: dict[LabelKind, float]
    rms: dict[LabelKind, float]
    numbers: dict[LabelKind, int]

    def mae_coeffs(self) -> dict[LabelKind, float]:
        """Weights for mean absolute errors: ``c x²`` is the square of ``√c |x|``."""
        return {kind: rounded(np.sqrt(coeff)) for kind, coeff in self.coeffs.items()}


def loss_of(labels: Labels, counts: np.ndarray, kinds: Sequence[LabelKind]) -> Loss:
    """Weights from the variances of labels.

    Args:
        labels: of the structures, NaN where missing
        counts: atoms of each type in each structure, shape (n_frames, n_types)
        kinds: that are trained on
    """
    values = {kind: _values(kind, labels, counts) for kind in LABEL_KINDS if kind in kinds}
    rms = {kind: float(np.sqrt(np.mean(v**2))) for kind, v in values.items()}
    numbers = {kind: len(v) for kind, v in values.items()}
    reference = next((kind for kind in _REFERENCES if kind in values), _REFERENCES[0])
    coeffs = {kind: _coefficient(kind, reference, rms, numbers, counts) for kind in values}
    return Loss(coeffs, rms, numbers)


def rounded(value: float) -> float:
    """To two significant digits."""
    return float(f"{value:.1e}")


def _values(kind: LabelKind, labels: Labels, counts: np.ndarray) -> np.ndarray:
    values = composition_residual(labels.energies, counts) if kind == "energy" else labels.of(kind)
    return values[np.isfinite(values)]


def _coefficient(
    kind: LabelKind,
    reference: LabelKind,
    rms: dict[LabelKind, float],
    numbers: dict[LabelKind, int],
    counts: np.ndarray,
) -> float:
    if kind == reference:
        return 1.0
    scale, own = max(rms[reference], _AT_REST), max(rms[kind], _AT_REST)
    n_forces = numbers.get("forces", 3 * int(counts.sum()))
    share = numbers["stress"] / n_forces if kind == "stress" else 1.0
    return rounded(min(share * (scale / own) ** 2, _LARGEST[kind]))
