"""Errors by the names that NequIP logs them under, such as ``val0_epoch/forces_mae``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# what a metric is of, by the words its name holds; the first that fits
_KINDS = (
    ("per_atom_energy", "energy", "meV/atom"),
    ("energy", "total energy", "meV"),
    ("force", "forces", "meV/Å"),
    ("stress", "stress", "meV/Å³"),
)
_MEASURES = ("mae", "rmse")

# name -> value in NequIP's units, eV and Å
Errors = dict[str, float]
WEIGHTED_SUM = "weighted_sum"


@dataclass(frozen=True)
class Quantity:
    """What an error is of.

    Args:
        name: for a reader, ``forces MAE``
        unit: of a thousand times what NequIP logs, ``meV/Å``
    """

    name: str
    unit: str


def quantity(metric: str) -> Quantity | None:
    """What a metric is, by the name that NequIP's own metrics give it; None if that does not say.

    Errors by type, ``forces_mae_Ge``, keep the type's name.
    """
    found = re.fullmatch(rf"(.*?)_({'|'.join(_MEASURES)})(?:_(\w+))?", metric.lower())
    for word, name, unit in _KINDS if found else ():
        if found and word in found[1]:
            of_type = f" of {metric[found.start(3) :]}" if found[3] else ""
            return Quantity(f"{name} {found[2].upper()}{of_type}", unit)
    return None


def by_set(metrics: Mapping[str, float], stage: str) -> dict[int, Errors]:
    """Errors of each set of a stage: ``{"val0_epoch/forces_mae": 0.1}`` is ``{0: {"forces_mae": 0.1}}``.

    Args:
        stage: ``val`` or ``test``
    """
    found: dict[int, Errors] = {}
    for column, value in metrics.items():
        match = re.fullmatch(rf"{stage}(\d+)_epoch/(.+)", column)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value
    return dict(sorted(found.items()))


def known(metrics: Iterable[str]) -> dict[str, Quantity]:
    """Those whose unit is known, by their names, forces first and mean absolute errors before others."""
    found = {name: q for name in metrics if (q := quantity(name)) is not None}
    order = ["forces", "energy", "total energy", "stress"]

    def place(item: tuple[str, Quantity]) -> tuple[int, bool, str]:
        kind = next(i for i, word in enumerate(order) if item[1].name.startswith(word))
        return kind, "MAE" not in item[1].name, item[0]

    return dict(sorted(found.items(), key=place))


def means(metrics: Iterable[str]) -> dict[str, Quantity]:
    """Of the :func:`known` ones the mean absolute errors, energies per atom; all where there are none."""
    found = known(metrics)
    shown = {name: q for name, q in found.items() if q.name.endswith(" MAE") and not q.name.startswith("total")}
    return shown or found
