"""The search for the length scale λ: a target at many lengths, and the length at which it explains the labels best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.energies.least_unexplained import (
    Term,
    jackknife_error,
    no_resemblance,
    nothing_explained,
    objective,
)
from nequip_elemtransfer.output.progress import progress_bar
from nequip_elemtransfer.structures.labels import LabelKind, Labels

# λ is searched as a factor on the first guess of each type: coarsely over the range, then finely about the best.
COARSE_FACTORS = np.round(np.arange(0.8, 1.2401, 0.04), 4)
_FINE_STEP = 0.01
_FINE_STEPS = 3
# then the steps beside the best are halved this often: stresses of structures near equilibrium make minima that are
# narrower than a step
_HALVINGS = 3
# how far beyond the coarse range the fine one may reach
FINE_REACH = _FINE_STEP * _FINE_STEPS

# The first guess stays where the labels hardly prefer another λ: the objective gains less than this there.
_NO_PREFERENCE = 0.02

# An edge of the range is preferred to a minimum inside it only if the objective is lower there by this (two fifths less
# is left unexplained): far from the right length a source can be made small, and then explains more than it should.
_EDGE_ADVANTAGE = 0.5


@dataclass(frozen=True)
class BestLength:
    """Where a search ended.

    Args:
        factor: on the first guess of each type that is not frozen
        error: standard error of the factor, infinite where the structures do not tell, zero where it is the first guess
        decided: False where the labels prefer no λ inside the range to the first guess, which then stays
        at_edge: whether the best λ lies at the edge of the range: the source describes the structures at no length
        factors_by_kind: the factor at which each kind of label alone is explained best, at the α of the forces; kinds
            that ask for none inside the range are left out
    """

    factor: float
    error: float
    decided: bool
    at_edge: bool
    factors_by_kind: dict[LabelKind, float]


class LengthSearch:
    """A start at many λ, each computed once.

    Args:
        parts_at: predictions on the frames at λ of each target type
        labels: of the frames
        guess: first guess of λ of each target type, one where a type is frozen, shape (n_types,)
        frozen: types whose lengths and energies stay as they are in the source, shape (n_types,)
        weights: of the kinds of labels, for the objective of :mod:`.fit`
    """

    def __init__(
        self,
        parts_at: Callable[[np.ndarray], NetworkParts],
        labels: Labels,
        guess: np.ndarray,
        frozen: np.ndarray,
        weights: Mapping[LabelKind, float],
    ) -> None:
        self.labels, self.guess, self.frozen, self.weights = labels, guess, frozen, weights
        self.factors = np.array([])  # evaluated, ascending
        self._parts_at = parts_at
        self._parts: dict[tuple[float, ...], NetworkParts] = {}
        self._objectives: dict[tuple, float] = {}

    def scales(self, factor: float) -> np.ndarray:
        """λ of each target type at a factor on the first guess, shape (n_types,); frozen types stay at one."""
        return np.where(self.frozen, 1.0, factor * self.guess)

    def parts(self, scales: np.ndarray) -> NetworkParts:
        """Predictions at λ of each target type."""
        key = tuple(np.round(scales, 6).tolist())
        if key not in self._parts:
            self._parts[key] = self._parts_at(np.array(key))
        return self._parts[key]

    def scan(self, coarse: np.ndarray = COARSE_FACTORS, task: str = "") -> None:
        """Evaluate the start over the range of λ, finely about each minimum of it, and more so beside the lowest.

        Minima are narrow where lengths are nearly right, and may lie higher than an edge on the coarse factors.
        """
        self._evaluate(coarse, task)
        values = self._values(None, None)
        places = [self._vertex(values, place) for place in {*_minima(values).tolist(), _best(values)}]
        fine = np.add.outer(places, _FINE_STEP * np.arange(-_FINE_STEPS, _FINE_STEPS + 1))
        self._evaluate(np.unique(np.round(fine, 6)), f"{task}, fine" if task else "")
        for _ in range(_HALVINGS):
            place = _best(self._values(None, None))
            beside = self.factors[max(place - 1, 0) : place + 2]
            self._evaluate((beside[1:] + beside[:-1]) / 2, f"{task}, finest" if task else "")

    def objective(
        self, factor: float, frames: np.ndarray | None = None, kinds: Sequence[LabelKind] | None = None
    ) -> float:
        """What the search minimises, of :mod:`.fit`: the mean logarithm of what is left unexplained.

        Args:
            frames: indices of those that count; all by default
            kinds: of labels that count, at the α that forces ask for; all there are by default
        """
        chosen = None if frames is None else tuple(frames.tolist())
        key = (round(factor, 6), chosen, None if kinds is None else tuple(kinds))
        if key not in self._objectives:
            self._objectives[key] = self._objective(factor, frames, kinds)
        return self._objectives[key]

    def _objective(self, factor: float, frames: np.ndarray | None, kinds: Sequence[LabelKind] | None) -> float:
        terms = self._terms(factor, frames)
        counted = {kind: term for kind, term in terms.items() if kinds is None or kind in kinds}
        # one kind is judged at the α of the forces: at its own it could be made small instead of right
        fitted: dict[LabelKind, Term] = (
            {"forces": terms["forces"]} if kinds is not None and "forces" in terms else terms
        )
        try:
            alpha = fit.fit_energy_scales(fitted, self.weights, self.frozen).scales
        except fit.NoResemblance:
            return no_resemblance(counted, self.weights, self.frozen) if counted else 0.0
        return objective(counted, self.weights, alpha) if counted else 0.0

    def _terms(self, factor: float, frames: np.ndarray | None) -> dict[LabelKind, Term]:
        """What is to be explained at a factor."""
        parts, labels = self.parts(self.scales(factor)), self.labels
        if frames is not None:
            parts, labels = parts.of_frames(frames), labels.of_frames(frames, parts.counts)
        return {kind: term for kind, term in parts.terms(labels).items() if self.weights[kind] > 0}

    def best_factor(self, frames: np.ndarray | None = None) -> float:
        """The factor of the lowest minimum, between the factors evaluated by the parabola through three of them.

        Args:
            frames: indices of those that count; all by default
        """
        values = self._values(frames, None)
        return self._vertex(values, _best(values))

    def least(self, frames: np.ndarray | None = None) -> float:
        """The objective at the evaluated factor that is nearest to :meth:`best_factor`.

        Args:
            frames: indices of those that count; all by default
        """
        values = self._values(frames, None)
        return float(values[_best(values)])

    def best(self, frames: np.ndarray | None = None) -> BestLength:
        """The λ that the labels ask for, if they ask for one.

        Args:
            frames: indices of those that count; all by default
        """
        factor = self.best_factor(frames)
        at_edge = not COARSE_FACTORS[0] < factor < COARSE_FACTORS[-1]
        kinds = [kind for kind in self.labels.kinds if self.weights[kind] > 0]
        alone = {kind: self._minimum_near(factor, frames, kind) for kind in kinds}
        asked = {kind: factor for kind, factor in alone.items() if factor is not None}
        decided = self._decided(factor, frames)
        error = self._error(frames) if decided else 0.0
        return BestLength(factor if decided else 1.0, error, decided, at_edge, asked)

    def factor(self, frames: np.ndarray | None = None) -> float:
        """The factor of :meth:`best` alone."""
        factor = self.best_factor(frames)
        return factor if self._decided(factor, frames) else 1.0

    def _decided(self, factor: float, frames: np.ndarray | None) -> bool:
        """Whether the labels prefer a factor to the first guess."""
        if not COARSE_FACTORS[0] < factor < COARSE_FACTORS[-1]:
            return False
        values = self._values(frames, None)
        place = _best(values)
        terms = self._terms(self.factors[place], frames)
        if not terms:
            return False
        without = min(self.objective(1.0, frames), nothing_explained(terms, self.weights))
        return bool(without - values[place] > _NO_PREFERENCE)

    def _error(self, frames: np.ndarray | None) -> float:
        """Standard error of :meth:`best_factor`, from the factors found without each structure."""
        rows: list[dict[int, float]] = []  # of each factor: structure -> the objective without it
        for factor in self.factors:
            try:
                rows.append(fit.fit_energy_scales(self._terms(factor, frames), self.weights, self.frozen).left_out)
            except fit.NoResemblance:
                rows.append({})
        values = self._values(frames, None)
        structures = sorted(set().union(*rows))
        left_out = np.array([[row.get(g, value) for row, value in zip(rows, values)] for g in structures])
        if np.isnan(left_out).any():
            return float("inf")
        return float(jackknife_error(np.array([self._vertex(without, _best(without)) for without in left_out])))

    def _minimum_near(self, best: float, frames: np.ndarray | None, kind: LabelKind) -> float | None:
        """The minimum of one kind of label nearest to a factor; far from it a label may be explained by being small."""
        values = self._values(frames, [kind])
        minima = _minima(values)
        if not len(minima):
            return None
        return self._vertex(values, int(minima[np.argmin(np.abs(self.factors[minima] - best))]))

    def _values(self, frames: np.ndarray | None, kinds: Sequence[LabelKind] | None) -> np.ndarray:
        """The objective at the factors evaluated."""
        return np.array([self.objective(factor, frames, kinds) for factor in self.factors])

    def _vertex(self, values: np.ndarray, place: int) -> float:
        """The factor at a place, improved by the parabola through it and its neighbours."""
        if place in (0, len(values) - 1):
            return float(self.factors[place])
        x, y = self.factors[place - 1 : place + 2], values[place - 1 : place + 2]
        a, b, _ = np.polyfit(x - x[1], y, 2)
        return float(x[1] + np.clip(-b / (2 * a), x[0] - x[1], x[2] - x[1])) if a > 0 else float(x[1])

    def _evaluate(self, factors: np.ndarray, task: str) -> None:
        for factor in progress_bar(factors, desc=task, unit="λ", disable=not task, leave=False):
            self.parts(self.scales(factor))
        self.factors = np.unique(np.round([*self.factors, *factors], 6))


def _minima(values: np.ndarray) -> np.ndarray:
    """Places of the values that are lower than both their neighbours."""
    return 1 + np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] < values[2:]))


def _best(values: np.ndarray) -> int:
    """Place of the lowest minimum, or of an edge where that is lower by far or there is no minimum."""
    lowest, minima = int(np.argmin(values)), _minima(values)
    if not len(minima):
        return lowest
    inside = int(minima[np.argmin(values[minima])])
    return lowest if values[lowest] < values[inside] - _EDGE_ADVANTAGE else inside
