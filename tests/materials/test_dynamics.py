"""Simulations against closed forms: conserved energy, equipartition, and each way to fail."""

import ase.units
import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from nequip_elemtransfer.data.stillinger_weber import lattice_constant, stillinger_weber_calculator
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import NPT, Criteria, Protocol, simulate

SILICON = Crystal("diamond", "Si", lattice_constant("Si"))


class Springs(Calculator):
    """Atoms bound to where they began, by one constant (eV/Å²) or (n, 3); a drive adds to the forces."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, origin, constant=2.0, drive=None):
        super().__init__()
        self.origin, self.constant, self.drive, self.calls = origin.copy(), constant, drive, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        moved = atoms.positions - self.origin
        energy = 0.5 * (self.constant * moved**2).sum()
        self.calls += 1
        forces = -self.constant * moved
        if self.drive is not None:
            forces = forces + self.drive(self.calls, moved)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def run(drive, criteria=None):
    atoms = SILICON.supercell(1)
    calculator = Springs(atoms.positions, 2.0, drive)
    return simulate(atoms, calculator, Protocol(300.0, 0.2), SILICON.nearest_neighbor, criteria or Criteria())


def test_silicon_survives():
    """In the potential's own crystal: energy conserved, and g(r) and temperature sampled after equilibration."""
    atoms = SILICON.supercell(1)
    before = atoms.positions.copy()
    protocol = Protocol(300.0, 0.4, timestep=2.0, seed=3)
    seen = []
    result = simulate(
        atoms,
        stillinger_weber_calculator("Si"),
        protocol,
        SILICON.nearest_neighbor,
        on_step=lambda n, _: seen.append(n),
    )
    assert (result.failure, result.reason) == (None, "")
    assert result.survived == pytest.approx(0.4) and seen[-1] == protocol.steps == 200
    assert abs(result.drift) < 2e-3
    assert len(result.frames) == len(protocol.sampled) == 75 and protocol.sample_interval == pytest.approx(0.004)
    assert min(protocol.sampled) > 50  # a quarter for equilibration
    assert (atoms.positions == before).all() and atoms.calc is None
    again = simulate(SILICON.supercell(1), stillinger_weber_calculator("Si"), protocol, SILICON.nearest_neighbor)
    assert (again.frames[-1].positions == result.frames[-1].positions).all()


def test_equipartition():
    """Oscillators of many frequencies: each coordinate has a mean energy of k_B T."""
    atoms = SILICON.supercell(1)
    constants = np.random.default_rng(0).uniform(1.0, 6.0, (len(atoms), 3))
    never = Criteria(hottest=1e9, shortest_bond=1e-9)
    result = simulate(atoms, Springs(atoms.positions, constants), Protocol(200.0, 40.0, 4.0), 2.35, never)
    assert result.temperature == pytest.approx(200.0, rel=0.1)
    energies = [(constants * (frame.positions - atoms.positions) ** 2).mean() for frame in result.frames]
    assert np.mean(energies) == pytest.approx(ase.units.kB * 200.0, rel=0.2)


def test_constant_pressure():
    """A compressed crystal expands under no pressure; a cell at constant volume cannot."""
    small = SILICON.with_a(0.97 * SILICON.a).supercell(1)
    protocol = Protocol(100.0, 1.2, ensemble=NPT)
    result = simulate(small, stillinger_weber_calculator("Si"), protocol, SILICON.nearest_neighbor)
    assert result.failure is None
    assert max(frame.get_volume() for frame in result.frames) > 1.05 * small.get_volume()
    fixed = simulate(small, stillinger_weber_calculator("Si"), Protocol(100.0, 0.1), SILICON.nearest_neighbor)
    assert fixed.frames[-1].get_volume() == small.get_volume()


def test_forces_that_are_not_finite():
    def explode(calls, moved):
        return np.full_like(moved, np.nan if calls > 10 else 0.0)

    result = run(explode)
    assert result.failure == "forces" and result.reason == "forces are not finite" and result.frames == ()
    assert 0.0 < result.survived <= 0.02


def test_a_model_that_breaks():
    def breaks(calls, moved):
        raise RuntimeError("no such\nregion")

    result = run(breaks)
    assert (result.failure, result.reason, result.survived) == ("error", "RuntimeError: no such region", 0.0)


def test_drift():
    """Forces that no energy explains do work."""
    result = run(lambda calls, moved: -2 * 2.0 * moved, criteria=Criteria(drift=0.01, hottest=1e9))
    assert result.failure == "drift" and "drifted by" in result.reason


def test_heating():
    result = run(lambda calls, moved: 20.0 * moved, criteria=Criteria(drift=1e9, shortest_bond=1e-9, lost_atom=1e2))
    assert result.failure == "hottest" and result.reason.startswith("the temperature rose to")


def test_collision_and_lost_atom():
    """One atom is driven away, or into its neighbour, slowly enough to stay cold."""
    loose = {"drift": 1e9, "hottest": 1e9}
    away = SILICON.supercell(1).positions[1] - SILICON.supercell(1).positions[0]

    def push(calls, moved):
        force = np.zeros_like(moved)
        force[0] = 5 * away
        return force

    result = run(push, criteria=Criteria(**loose, shortest_bond=0.7))
    assert result.failure == "shortest_bond"
    assert result.reason == f"two atoms came as near as {float(result.reason.split()[-2]):.2f} Å"
    assert float(result.reason.split()[-2]) < 0.7 * SILICON.nearest_neighbor

    pair = SILICON.supercell(1)[:2]
    pair.set_cell(np.eye(3) * 40.0)
    spread = Springs(pair.positions, 0.0, lambda calls, moved: np.array([-away, away]))
    result = simulate(pair, spread, Protocol(10.0, 1.0), SILICON.nearest_neighbor, Criteria(**loose))
    assert result.failure == "lost_atom" and result.reason == "an atom has no other within 4.7 Å"
