"""Which source types each target type starts from, as a matrix of convex weights. Pure: no torch, no files."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import atomic_numbers

from nequip_elemtransfer.config import TypeStart, suggest

AUTO, RANDOM = "auto", "random"

_NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)


class NoNeighbours(ValueError):
    """``auto`` has no chemical elements to find neighbours among."""


@dataclass(frozen=True)
class ElementMap:
    """Target types as convex combinations of source types.

    Args:
        target_types: names of the target types, in the order of the target model
        source_types: names of the source types, in the order of the source model
        weights: convex weights m, rows sum to one, shape (n_target, n_source)
        random: target types whose learned tensors stay random, shape (n_target,); their weights, equal over all
            source types, serve only options such as energy scales
        target_species: chemical symbol of each target type
        source_species: chemical symbol of each source type
    """

    target_types: tuple[str, ...]
    source_types: tuple[str, ...]
    weights: np.ndarray
    random: np.ndarray
    target_species: tuple[str, ...]
    source_species: tuple[str, ...]

    @classmethod
    def from_elements(
        cls,
        elements: Mapping[str, TypeStart],
        source_types: Sequence[str],
        species: Callable[[Iterable[str]], list[str]] = list,
    ) -> "ElementMap":
        """Resolve the key's ``elements`` against the types a source has.

        Args:
            species: chemical symbols of types, their names by default

        Raises:
            ValueError: if a source type is unknown (the message lists what the source has)
            NoNeighbours: if ``auto`` finds none
        """
        index = {name: i for i, name in enumerate(source_types)}
        target_species, source_species = tuple(species(elements)), tuple(species(source_types))
        weights = np.zeros((len(elements), len(source_types)))  # (n_target, n_source)
        random = np.zeros(len(elements), dtype=bool)
        for row, (target, start) in enumerate(elements.items()):
            # a source may have types of these names
            if start == RANDOM and RANDOM not in index:
                random[row], weights[row] = True, 1 / len(source_types)
                continue
            if start == AUTO and AUTO not in index:
                start = _neighbours(target, target_species[row], dict(zip(source_types, source_species)))
            for name, weight in ({start: 1.0} if isinstance(start, str) else start).items():
                if name not in index:
                    words = [AUTO, RANDOM] if isinstance(start, str) else []  # which cannot be in a blend
                    raise ValueError(
                        f"`elements` starts {target!r} from {name!r}, which is not a type of the source"
                        f"{suggest(name, [*source_types, *words])}."
                    )
                weights[row, index[name]] = weight
        return cls(tuple(elements), tuple(source_types), weights, random, target_species, source_species)

    @classmethod
    def identity(cls, types: Sequence[str], species: Sequence[str] | None = None) -> "ElementMap":
        """Every type from itself."""
        types, n = tuple(types), len(types)
        symbols = types if species is None else tuple(species)
        return cls(types, types, np.eye(n), np.zeros(n, dtype=bool), symbols, symbols)

    def extended(self, name: str) -> "ElementMap":
        """The same map with one more target type ``name`` that starts as the first target type does."""
        return replace(
            self,
            target_types=(*self.target_types, name),
            weights=np.vstack([self.weights, self.weights[:1]]),
            random=np.append(self.random, self.random[:1]),
            target_species=(*self.target_species, self.target_species[0]),
        )

    @property
    def kept(self) -> np.ndarray:
        """True for the target types that start from the source type of the same name alone, shape (n_target,)."""
        same = np.array([[t == s for s in self.source_types] for t in self.target_types])
        return (same & (self.weights == 1.0)).any(axis=1) & ~self.random

    def per_type(self, values: np.ndarray) -> np.ndarray:
        """``v'[t] = Σ_s m[t,s] v[s]`` along the first axis: (n_source, ...) -> (n_target, ...)."""
        return np.tensordot(self.weights, values, axes=1)

    def per_pair(self, values: np.ndarray) -> np.ndarray:
        """``v'[t,u] = Σ_sv m[t,s] m[u,v] v[s,v]``: (n_source, n_source) -> (n_target, n_target)."""
        return self.weights @ values @ self.weights.T

    def describe(self) -> dict[str, TypeStart]:
        """The map as plain data: a name for a single start, else the weights above zero."""
        described: dict[str, TypeStart] = {}
        for target, row, is_random in zip(self.target_types, self.weights, self.random):
            if is_random:
                described[target] = RANDOM
                continue
            used = {self.source_types[i]: float(row[i]) for i in np.flatnonzero(row)}
            described[target] = next(iter(used)) if len(used) == 1 else used
        return described


def _neighbours(target: str, symbol: str, sources: Mapping[str, str]) -> dict[str, float]:
    """Weights over source types from the periodic table; types that are no elements do not count."""
    types = {element: name for name, element in sources.items() if element in atomic_numbers}
    if symbol not in atomic_numbers or not types:
        raise NoNeighbours(
            f"`elements: {{{target}: auto}}` needs chemical elements: the target is {symbol!r} and the source's types "
            f"are {', '.join(sources)}. Name a source type, or give `chemical_species`."
        )
    return {types[element]: weight for element, weight in interpolate(symbol, list(types)).items()}


def period_and_group(symbol: str) -> tuple[int, float]:
    """Row and column of an element; the f-block lies between groups 3 and 4.

    Raises:
        ValueError: if it is not an element
    """
    if symbol not in atomic_numbers or symbol == "X":
        raise ValueError(f"{symbol!r} is not a chemical element.")
    z = atomic_numbers[symbol]
    period = next(i for i, noble in enumerate(_NOBLE_GASES) if z <= noble)
    place, length = z - _NOBLE_GASES[period - 1], _NOBLE_GASES[period] - _NOBLE_GASES[period - 1]
    if place <= (2 if length > 2 else 1):
        return period, float(place)
    from_the_right = 18 - (length - place)
    if length == 32 and from_the_right < 4:
        return period, 3 + (place - 3) / 15
    return period, float(from_the_right)


def interpolate(target: str, candidates: Sequence[str]) -> dict[str, float]:
    """Convex weights over candidates that place the target between its neighbours in the periodic table.

    The element itself if it is there; else its neighbours above and below in its group, weighted by distance; else
    those left and right in its period; else the nearest candidates by rows plus columns, in equal parts.

    Args:
        target: chemical symbol
        candidates: chemical symbols

    Returns:
        candidate -> weight, weights above zero only
    """
    if target in candidates:
        return {target: 1.0}
    period, group = period_and_group(target)
    places = {name: period_and_group(name) for name in candidates}
    same_group = {name: float(p) for name, (p, g) in places.items() if g == group}
    if same_group:
        return _between(float(period), same_group)
    same_period = {name: g for name, (p, g) in places.items() if p == period}
    if same_period:
        return _between(group, same_period)
    distance = {name: abs(p - period) + abs(g - group) for name, (p, g) in places.items()}
    nearest = [name for name in candidates if distance[name] == min(distance.values())]
    return {name: 1 / len(nearest) for name in nearest}


def _between(at: float, places: dict[str, float]) -> dict[str, float]:
    below = max((name for name in places if places[name] < at), key=places.__getitem__, default=None)
    above = min((name for name in places if places[name] > at), key=places.__getitem__, default=None)
    if below is None or above is None:
        return {str(below or above): 1.0}
    weight = (at - places[below]) / (places[above] - places[below])
    return {below: 1 - weight, above: weight}
