"""Which elements lie next to one another, for ``elements: {Ge: auto}``. Pure."""

from collections.abc import Sequence

from ase.data import atomic_numbers

_NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)


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
