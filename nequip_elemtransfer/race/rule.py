r"""When a start has lost: what the errors so far say of those at the end of the schedule.

A start from random weights is far behind at first and catches up, so a ratio of validation errors :math:`r` in the
course of a schedule is not that at its end. Over trainings that were run to their end, the logarithm of the final ratio
lies on a line of that so far,

.. math::

    \ln r_\mathrm{end} = a + b \ln r \pm s ,

with :math:`s` the spread of the trainings about it (``evidence/race.md``). A start is stopped where 0 lies outside the
interval of :math:`\ln r_\mathrm{end}`, to which the folds' own uncertainty of :math:`\ln r` is added in quadrature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt

from scipy.stats import norm

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.intervals import Ratio

# of the budget, where starts that cannot win are stopped
FRACTION = 1 / 3
# of decisions to stop that are to be right
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Line:
    """From the log ratio of errors of a transfer and from scratch at :data:`FRACTION` of the budget to that at its end.

    Args:
        intercept: zero between starts of one kind, neither of which has to catch up
        slope: of the final log ratio over that so far
        spread: standard deviation of the final log ratio about the line
    """

    intercept: float
    slope: float
    spread: float


# fitted to all transfers of `evidence/benchmarks/race_rule.py`, which prints them
LINES: Mapping[LabelKind, Line] = {
    "forces": Line(0.15, 0.84, 0.16),
    "energy": Line(-0.18, 0.51, 0.42),
    "stress": Line(-0.08, 0.71, 0.25),
}


def outlook(so_far: Ratio, kind: LabelKind, *, catching_up: bool, line: Line | None = None) -> Ratio | None:
    """The ratio of errors to be expected at the end of the budget.

    Args:
        so_far: of held-out errors at :data:`FRACTION` of the budget; of a transfer to those from scratch, or of two
            starts of one kind
        kind: of the errors
        catching_up: whether the second start begins with random weights, and the first does not
        line: None for that of the kind in :data:`LINES`

    Returns:
        with the interval in which it lies with 90 %; None where the folds give no interval
    """
    if so_far.low is None or so_far.high is None:
        return None
    line = LINES[kind] if line is None else line
    half = line.slope * (log(so_far.high) - log(so_far.low)) / 2
    middle = (line.intercept if catching_up else 0.0) + line.slope * log(so_far.ratio)
    wide = sqrt(half**2 + (float(norm.ppf(_CONFIDENCE)) * line.spread) ** 2)
    return Ratio(exp(middle), exp(middle - wide), exp(middle + wide), so_far.count, so_far.paired)
