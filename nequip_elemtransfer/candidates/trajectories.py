"""Structures from short molecular dynamics of a model that nobody has trained on them, as long as it holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from ase import Atoms
from ase.calculators.calculator import Calculator

from nequip_elemtransfer.materials.dynamics import CHECK_EVERY, NPT, NVT, Criteria, Protocol, simulate
from nequip_elemtransfer.output.progress import progress_bar


@dataclass(frozen=True)
class Dynamics:
    """What is run.

    Args:
        model: a source, transferred without any fit, or a model of just the target's types; file or id
        temperatures: K
        pressures: GPa; none for constant volume
        time: ps of each simulation
        timestep: fs
        snapshots: of each simulation, at equal times
        beginnings: structures that each temperature and pressure begins with
        energy_scale: α of a transferred source: its temperatures are those of the target only with it
    """

    model: str
    temperatures: tuple[float, ...]
    pressures: tuple[float, ...] = ()
    time: float = 1.0
    timestep: float = 2.0
    snapshots: int = 5
    beginnings: int = 2
    energy_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("time", "timestep", "snapshots", "beginnings"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} of the simulations must be positive, found {getattr(self, name):g}.")
        if not self.temperatures or not all(0 < t < 1e5 for t in self.temperatures):
            raise ValueError(f"temperatures of the simulations are in K, above zero, found {list(self.temperatures)}.")
        if not self.energy_scale > 0:
            raise ValueError(f"--energy-scale must be positive, found {self.energy_scale:g}.")


@dataclass(frozen=True)
class ShortSimulation:
    """One simulation.

    Args:
        snapshots: from before any failure; ``info`` has ``temperature`` (K), ``time`` (ps), ``pressure`` (GPa)
        beginning: index of the structure that it began with
        ended: the failure in words; empty if there was none
    """

    snapshots: list[Atoms]
    beginning: int
    ended: str


def trajectories(
    structures: Sequence[Atoms],
    calculator: Calculator,
    dynamics: Dynamics,
    nearest_neighbor: float,
    criteria: Criteria,
    seed: int,
    progress: bool = False,
) -> list[ShortSimulation]:
    """Simulations from some of the structures, evenly spaced, each until it ends or fails a criterion.

    Args:
        structures: periodic in three directions
        nearest_neighbor: Å, that the criteria are multiples of
        seed: of the velocities, counted on from one simulation to the next
    """
    step = max(1, len(structures) // dynamics.beginnings)
    chosen = range(0, len(structures), step)[: dynamics.beginnings]

    def simulation(seed: int, place: int, temperature: float, pressure: float | None) -> ShortSimulation:
        ensemble = NVT if pressure is None else NPT
        protocol = Protocol(temperature, dynamics.time, dynamics.timestep, ensemble, seed)
        between = max(1, protocol.steps // dynamics.snapshots)
        wanted = {max(CHECK_EVERY, n * between // CHECK_EVERY * CHECK_EVERY) for n in range(1, dynamics.snapshots)}
        wanted.add(protocol.steps)
        found: list[Atoms] = []

        def keep(steps: int, now: Atoms) -> None:
            if steps in wanted:
                now.info |= {"temperature": float(temperature), "time": steps * dynamics.timestep / 1000}
                now.info |= {} if pressure is None else {"pressure": float(pressure)}
                found.append(now)

        atoms = structures[place]
        result = simulate(atoms, calculator, protocol, nearest_neighbor, criteria, keep, pressure or 0.0)
        at = f"{temperature:g} K" + ("" if pressure is None else f" and {pressure:g} GPa")
        ended = f"at {at} it ended after {result.survived:.3g} ps: {result.reason}" if result.failure else ""
        return ShortSimulation(found, place, ended)

    cases = list(product(chosen, dynamics.temperatures, dynamics.pressures or (None,)))
    bar = progress_bar(cases, desc="dynamics", unit="run", disable=not progress, leave=False)
    return [simulation(seed + n, *case) for n, case in enumerate(bar)]
