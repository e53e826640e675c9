"""Which runs are compared with each other, and over what spread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any, TypeVar

from nequip_elemtransfer.intervals import Replicate
from nequip_elemtransfer.output.page import Picture
from nequip_elemtransfer.study.config.study_file import DEFAULT
from nequip_elemtransfer.study.grid import REPLICATED, Grid, Run

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """Mean of a quantity over seeds, and sources where there are several.

    Args:
        mean, low, high: mean, smallest and largest value
        deviation: standard deviation of the sample; None with one value
        count: number of values
    """

    mean: float
    low: float
    high: float
    deviation: float | None
    count: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and spread of at least one value."""
    return Spread(mean(values), min(values), max(values), stdev(values) if len(values) > 1 else None, len(values))


def spread_if_any(values: Mapping[Replicate, float]) -> Spread | None:
    """Mean and spread over models; None without a value."""
    return spread(list(values.values())) if values else None


@dataclass(frozen=True)
class Peers:
    """Runs that differ only in start, seed and source.

    Args:
        cell: see :func:`cell_name`
        size: number of training structures; None if the configs bring their own
        starts: start -> runs, the baseline first
    """

    cell: str
    size: int | None
    starts: Mapping[str, Sequence[Run]]

    @property
    def title(self) -> str:
        """Cell and size."""
        return ", ".join(filter(None, [self.cell, "" if self.size is None else f"{self.size} structures"]))

    def models(self, load: Callable[[str], T | None]) -> dict[str, dict[Replicate, T]]:
        """Start -> model -> what is loaded by the name of its run, without what is not there."""
        return {
            start: {run.replicate: found for run in runs if (found := load(run.name)) is not None}
            for start, runs in self.starts.items()
        }


@dataclass(frozen=True)
class Section:
    """What is compared with each other, and its pictures.

    Args:
        title: of the cell, and the size where there are several sections of a cell
        models: what is known of each start
        pictures: name -> picture
    """

    title: str
    models: Sequence[Any]
    pictures: Mapping[str, Picture]


def peers(grid: Grid, sizes: Sequence[int | str] | None) -> list[Peers]:
    """The trainings of the target with one of the sizes, None for any, by what they are compared with."""
    found: dict[Any, dict[str, list[Run]]] = {}
    for run in grid.targets(sizes):
        found.setdefault(settings_without(run, "start"), {}).setdefault(run.settings["start"], []).append(run)
    groups = []
    for starts in found.values():
        settings = next(iter(starts.values()))[0].settings
        ordered = dict(sorted(starts.items(), key=lambda item: item[0] != grid.baseline))
        groups.append(Peers(cell_name(settings), settings["size"], ordered))
    return groups


def settings_without(run: Run, *axes: str) -> tuple[tuple[str, Any], ...]:
    """What a run shares with others: its settings without seed, source and some axes."""
    return tuple((axis, value) for axis, value in run.settings.items() if axis not in (*axes, *REPLICATED))


def cell_name(settings: Mapping[str, Any]) -> str:
    """The values of a cell, without those that every run shares by default."""
    own = (value for axis, value in settings.items() if axis not in ("start", "size", *REPLICATED))
    return ", ".join(str(value) for value in own if value != DEFAULT)


def picture_file(name: str, title: str) -> str:
    """Name of a picture's file, without spaces."""
    return "-".join([name, *title.replace(",", "").split()]) + ".png"
