"""Molecular dynamics with a verdict: how long a model survives, what ended it, and what it showed until then.

What its frames say of structure and motion are RDF, ADF and mean-square displacement.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from matscipy.neighbours import first_neighbours, neighbour_list, triplet_list

NVT, NPT = "nvt", "npt"
CHECK_EVERY = 5  # steps
SAMPLES = 100  # frames that structure is averaged over
EQUILIBRATION = 0.25  # of a run, not sampled


@dataclass(frozen=True)
class Criteria:
    """When a simulation counts as failed, besides forces that are not finite.

    Args:
        shortest_bond: two atoms closer than this, in nearest-neighbour distances of the crystal
        lost_atom: an atom without another one so near, in the same unit
        hottest: kinetic temperature above this multiple of the thermostat's
        drift: change of the conserved energy since the start, eV/atom
    """

    shortest_bond: float = 0.6
    lost_atom: float = 2.0
    hottest: float = 3.0
    drift: float = 0.05


@dataclass(frozen=True)
class Protocol:
    """What is run.

    Args:
        temperature: K
        time: ps
        timestep: fs
        ensemble: ``nvt`` (Nosé-Hoover chain) or ``npt`` (isotropic, of Martyna, Tobias and Klein)
        seed: of the initial velocities
    """

    temperature: float
    time: float
    timestep: float = 2.0
    ensemble: str = NVT
    seed: int = 0

    @property
    def steps(self) -> int:
        """Number of steps, at least one."""
        return max(1, round(1000 * self.time / self.timestep))

    @property
    def sampled(self) -> range:
        """Steps of which the structure is kept, the last first, none of the equilibration among them."""
        between = max(1, round((1 - EQUILIBRATION) * self.steps / SAMPLES))
        return range(self.steps, int(EQUILIBRATION * self.steps), -between)

    @property
    def sample_interval(self) -> float:
        """ps between them."""
        return -self.sampled.step * self.timestep / 1000


@dataclass(frozen=True)
class Simulation:
    """What came of a run.

    Args:
        survived: ps without a failure
        failure: the criterion that ended the run, a name in :class:`Criteria`, ``forces`` if they were not finite or
            ``error`` of the model; None if nothing did
        reason: the failure in words; empty if there is none
        temperature: mean kinetic temperature in K after equilibration; None if it did not get there
        drift: of the conserved energy from the first step to the last, eV/atom; None if it is not finite
        frames: at :attr:`Protocol.sampled`, in order; empty if the run failed
    """

    survived: float
    failure: str | None
    reason: str
    temperature: float | None
    drift: float | None
    frames: tuple[Atoms, ...]


def simulate(
    atoms: Atoms,
    calculator: Calculator,
    protocol: Protocol,
    nearest_neighbor: float,
    criteria: Criteria = Criteria(),
    on_step: Callable[[int, Atoms], Any] = lambda steps, atoms: None,
    pressure: float = 0.0,
) -> Simulation:
    """Run molecular dynamics until the end or the first failure.

    Args:
        atoms: start; left as it is
        calculator: of energy and forces, and of stress for NPT
        nearest_neighbor: distance in the crystal, Å, that the criteria are multiples of
        on_step: called with the number of steps done, and the atoms as they are then, where no criterion is failed
        pressure: of NPT, GPa
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(protocol.seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=protocol.temperature, rng=rng)
    Stationary(atoms)
    stops = sorted({*protocol.sampled, *range(CHECK_EVERY, protocol.steps, CHECK_EVERY)})
    frames: list[Atoms] = []
    temperatures: list[float] = []
    survived, drift, failure, reason = 0, None, None, ""
    with np.errstate(all="ignore"):  # what overflows fails a criterion
        try:
            for survived, drift in _run(atoms, protocol, criteria, nearest_neighbor, stops, pressure):  # noqa: B007
                if survived in protocol.sampled:
                    frames.append(_bare(atoms))
                    temperatures.append(atoms.get_temperature())
                on_step(survived, _bare(atoms))
        except _Failure as error:
            failure, reason = error.args
        except Exception as error:  # of the model, or of the neighbour list far from any crystal
            failure, reason = "error", f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Simulation(
        survived=survived * protocol.timestep / 1000,
        failure=failure,
        reason=reason,
        temperature=float(np.mean(temperatures)) if temperatures else None,
        drift=drift,
        frames=() if failure else tuple(frames),
    )


class _Failure(Exception):
    """A criterion that a simulation failed: its name, and what happened in words."""


def _run(
    atoms: Atoms,
    protocol: Protocol,
    criteria: Criteria,
    nearest_neighbor: float,
    stops: Sequence[int],
    pressure: float,
) -> Iterator[tuple[int, float]]:
    """Run to each of the stops in turn and check the criteria there; yields the steps done and the drift (eV/atom)."""
    dynamics = _dynamics(atoms, protocol, pressure)
    _check(atoms, protocol, criteria, nearest_neighbor)
    start = dynamics.get_conserved_energy()
    done = 0
    for stop in stops:
        dynamics.run(stop - done)
        done = stop
        _check(atoms, protocol, criteria, nearest_neighbor)
        drift = float(dynamics.get_conserved_energy() - start) / len(atoms)
        if not abs(drift) <= criteria.drift:
            raise _Failure("drift", f"the conserved energy drifted by {drift:.3g} eV/atom")
        yield done, drift


def _dynamics(atoms: Atoms, protocol: Protocol, pressure: float) -> MolecularDynamics:
    common = {"timestep": protocol.timestep * ase.units.fs, "temperature_K": protocol.temperature}
    damping = 100 * protocol.timestep * ase.units.fs
    if protocol.ensemble == NVT:
        return NoseHooverChainNVT(atoms, tdamp=damping, **common)
    return IsotropicMTKNPT(atoms, tdamp=damping, pdamp=10 * damping, pressure_au=pressure * ase.units.GPa, **common)


def _check(atoms: Atoms, protocol: Protocol, criteria: Criteria, nearest_neighbor: float) -> None:
    """Raise _Failure for the first criterion that is not met."""
    if not np.isfinite(atoms.get_forces()).all():
        raise _Failure("forces", "forces are not finite")
    temperature = atoms.get_temperature()
    if not temperature <= criteria.hottest * protocol.temperature:
        raise _Failure("hottest", f"the temperature rose to {temperature:.0f} K")
    i, d = neighbour_list("id", atoms, criteria.lost_atom * nearest_neighbor)
    if len(d) and d.min() < criteria.shortest_bond * nearest_neighbor:
        raise _Failure("shortest_bond", f"two atoms came as near as {d.min():.2f} Å")
    if len(np.unique(i)) < len(atoms):
        raise _Failure("lost_atom", f"an atom has no other within {criteria.lost_atom * nearest_neighbor:.1f} Å")


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def radial_distribution(frames: Sequence[Atoms], edges: np.ndarray) -> np.ndarray:
    """g(r), the density of atoms at a distance from an atom, over the mean density; averaged over frames.

    Args:
        frames: periodic in all directions
        edges: of the bins, (n_bins + 1,) in Å, increasing

    Returns:
        (n_bins,)
    """
    shells = 4 / 3 * np.pi * np.diff(edges**3)  # Å³
    found = []
    for atoms in frames:
        counts, _ = np.histogram(neighbour_list("d", atoms, edges[-1]), edges)
        found.append(counts / (len(atoms) * shells * len(atoms) / atoms.get_volume()))
    return np.mean(found, axis=0)


def angular_distribution(frames: Sequence[Atoms], cutoff: float, edges: np.ndarray) -> np.ndarray:
    """Density of angles between bonds of the same atom, per degree; its integral over all angles is 1.

    Args:
        frames: structures
        cutoff: length of the longest bond, Å
        edges: of the bins, (n_bins + 1,) in degrees

    Returns:
        (n_bins,); zero everywhere if no atom has two bonds
    """
    counts = np.zeros(len(edges) - 1)
    for atoms in frames:
        i_p, d_p, D_p = neighbour_list("idD", atoms, cutoff)
        ij_t, ik_t = triplet_list(first_neighbours(len(atoms), i_p), d_p, cutoff)
        cosines = np.einsum("tc,tc->t", D_p[ij_t], D_p[ik_t]) / (d_p[ij_t] * d_p[ik_t])
        counts += np.histogram(np.degrees(np.arccos(np.clip(cosines, -1, 1))), edges)[0]
    total = counts.sum()
    return counts / (total * np.diff(edges)) if total else counts


def mean_square_displacement(frames: Sequence[Atoms]) -> np.ndarray:
    """Mean over atoms of the squared displacement since the first frame, the common motion of all atoms taken out.

    Args:
        frames: of one run, positions not wrapped into the cell

    Returns:
        (n_frames,) in Å²
    """
    positions = np.array([atoms.positions for atoms in frames])  # (n_frames, n_atoms, 3)
    moved = positions - positions[0]
    moved -= moved.mean(axis=1, keepdims=True)
    return (moved**2).sum(axis=2).mean(axis=1)
