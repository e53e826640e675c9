"""The contract with LAMMPS: files driven as its pair styles drive them, and by a real LAMMPS where there is one."""

import numpy as np
import pytest
from ase.build import bulk
from ase.stress import voigt_6_to_full_3x3_stress
from lammps_pair_style import PairStyle
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.deploy.lammps_input import write_data

CASES = [
    pytest.param("ge", ".nequip.pth", "nequip", ["Ge"], id="NequIP TorchScript"),
    pytest.param("ge_one_layer", ".nequip.pt2", "nequip", ["Ge"], id="NequIP AOTInductor"),
    pytest.param("allegro", ".nequip.pth", "allegro", ["Si", "Ge"], id="Allegro TorchScript"),
    pytest.param("allegro", ".nequip.pt2", "allegro", ["Si", "Ge"], id="Allegro AOTInductor"),
]
# of forces in eV/Å: of the models' precision, float64 and float32
TOLERANCE = {"nequip": 1e-10, "allegro": 1e-5}


@pytest.fixture(scope="module")
def crystal():
    """A rattled, sheared cell shorter than the cutoff: an atom sees images of itself."""

    def make(elements):
        atoms = bulk("Ge", "diamond", a=5.6, cubic=True)
        atoms.symbols = [elements[i % len(elements)] for i in range(len(atoms))]
        atoms.set_cell([[5.6, 0, 0], [0.4, 5.5, 0], [-0.3, 0.5, 5.7]], scale_atoms=True)
        atoms.rattle(0.1, seed=3)
        return atoms

    return make


@pytest.fixture(scope="module")
def reference(deployed):
    """ASE's energy, forces and virial of a run's model, from its TorchScript file."""

    def calculate(run, atoms):
        atoms = atoms.copy()
        atoms.calc = NequIPCalculator.from_compiled_model(
            deployed(run, ".nequip.pth"), chemical_species_to_atom_type_map=True
        )
        virial = -voigt_6_to_full_3x3_stress(atoms.get_stress()) * atoms.get_volume()
        return atoms.get_potential_energy(), atoms.get_forces(), virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]

    return calculate


@pytest.mark.parametrize("run, ending, style, names", CASES)
def test_pair_style_equals_ase(deployed, reference, crystal, run, ending, style, names):
    atoms = crystal(names)
    found = PairStyle(style, deployed(run, ending), names).compute(atoms)
    for got, expected in zip(found, reference(run, atoms)):
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[style] * 10)


def test_order_of_lammps_types_is_free(deployed, reference, crystal):
    atoms = crystal(["Si", "Ge"])
    found = PairStyle("allegro", deployed("allegro", ".nequip.pth"), ["Ge", "Si"]).compute(atoms)
    np.testing.assert_allclose(found[1], reference("allegro", atoms)[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("run, ending, style, names", CASES)
def test_virial_is_the_strain_derivative(deployed, crystal, run, ending, style, names):
    """virial = −dE/dε, by central differences; the steps keep the box lower triangular."""
    pair_style, atoms = PairStyle(style, deployed(run, ending), names), crystal(names)
    step, tolerance = {"nequip": (1e-4, 1e-5), "allegro": (2e-3, 2e-2)}[style]
    virial = pair_style.compute(atoms)[2]
    for component, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]):
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[j, i] += sign * step  # row vectors: shears the later axis along the earlier
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            energies.append(pair_style.compute(strained)[0])
        derivative = (energies[0] - energies[1]) / (2 * step)
        assert virial[component] == pytest.approx(-derivative, abs=tolerance)


@pytest.mark.lammps
@pytest.mark.parametrize("run, ending, style, names", CASES)
def test_real_lammps(deployed, reference, crystal, real_lammps, tmp_path, run, ending, style, names):
    """Energy, forces and pressure of ``LAMMPS_COMMAND``."""
    atoms = crystal(names)
    write_data(tmp_path / "data", atoms, names)
    (tmp_path / "in").write_text(
        f"units metal\nnewton {'off' if style == 'nequip' else 'on'}\nread_data data\npair_style {style}\n"
        f"pair_coeff * * {deployed(run, ending)} {' '.join(names)}\nthermo_style custom pe pxx pyy pzz pxy pxz pyz\n"
        "thermo_modify format float %.10g\ndump d all custom 1 forces fx fy fz\n"
        "dump_modify d sort id format float %.12g\nrun 0\n"
    )
    lines = real_lammps(style, tmp_path / "in").splitlines()
    row = next(lines[i + 1] for i, line in enumerate(lines) if line.split()[:1] == ["PotEng"])
    energy, *pressure = (float(value) for value in row.split())
    forces = np.loadtxt(tmp_path / "forces", skiprows=9)
    expected = reference(run, atoms)
    bar = 1.602176634e6 / atoms.get_volume()  # eV to bar
    assert energy == pytest.approx(expected[0], abs=1e-5)
    np.testing.assert_allclose(forces, expected[1], rtol=0, atol=max(1e-8, TOLERANCE[style]))
    np.testing.assert_allclose(np.array(pressure) / bar, expected[2], rtol=0, atol=1e-4)
