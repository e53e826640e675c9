"""RDF, ADF and mean-square displacement against crystallography and closed forms."""

import numpy as np
import pytest
from ase import Atoms

from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import (
    angular_distribution,
    mean_square_displacement,
    radial_distribution,
)


@pytest.mark.parametrize(
    "structure, shells",
    [("diamond", [(3**0.5 / 4, 4), (0.5**0.5, 12)]), ("fcc", [(0.5**0.5, 12), (1.0, 6)])],
)
def test_coordination_numbers(structure, shells):
    """4 π ρ ∫ g r² dr over a peak is the number of atoms in that shell, whatever the cell."""
    crystal = Crystal(structure, "Cu", 4.0)
    edges = np.linspace(0, 5.0, 501)
    for atoms in (crystal.primitive_cell(), crystal.supercell(2)):
        g = radial_distribution([atoms, atoms], edges)
        density = len(atoms) / atoms.get_volume()
        atoms_in_bin = g * density * 4 / 3 * np.pi * np.diff(edges**3)
        for distance, count in shells:
            near = abs((edges[1:] + edges[:-1]) / 2 - 4.0 * distance) < 0.1
            assert atoms_in_bin[near].sum() == pytest.approx(count)
        assert atoms_in_bin[edges[1:] < 4.0 * shells[0][0] - 0.1].sum() == 0


def test_ideal_gas():
    rng = np.random.default_rng(0)
    frames = [Atoms("H400", rng.uniform(0, 20, (400, 3)), cell=np.eye(3) * 20, pbc=True) for _ in range(5)]
    g = radial_distribution(frames, np.linspace(0, 8, 9))
    np.testing.assert_allclose(g[2:], 1.0, atol=0.05)


@pytest.mark.parametrize("structure, angles", [("diamond", {109.47: 1.0}), ("fcc", {60: 4, 90: 2, 120: 4, 180: 1})])
def test_angles(structure, angles):
    crystal = Crystal(structure, "Cu", 4.0)
    edges = np.linspace(-0.5, 180.5, 182)
    p = angular_distribution([crystal.supercell(1)], 1.2 * crystal.nearest_neighbor, edges)
    assert (p * np.diff(edges)).sum() == pytest.approx(1.0)
    for angle, weight in angles.items():
        assert p[round(angle)] == pytest.approx(weight / sum(angles.values()))


def test_atoms_without_bonds_have_no_angles():
    far = Atoms("H2", [[0, 0, 0], [10, 0, 0]], cell=np.eye(3) * 40, pbc=True)
    assert not angular_distribution([far], 2.0, np.linspace(0, 180, 10)).any()


def test_mean_square_displacement():
    """Half the atoms move by v t, half by -v t, and all drift along, which does not count."""
    crystal = Crystal("fcc", "Cu", 4.0).supercell(1)
    frames = []
    for t in range(5):
        frame = crystal.copy()
        frame.positions[:2] += [0.3 * t, 0, 0]
        frame.positions[2:] -= [0.3 * t, 0, 0]
        frame.positions += [0, 0.7 * t, 0]
        frames.append(frame)
    np.testing.assert_allclose(mean_square_displacement(frames), [(0.3 * t) ** 2 for t in range(5)])
