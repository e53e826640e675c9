"""The contract with LAMMPS: files driven as its pair styles drive them, and by a real LAMMPS where there is one."""

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.stress import voigt_6_to_full_3x3_stress
from lammps_pair_style import PairStyle, stack_flags
from nequip.integrations.ase import NequIPCalculator
from nequip.model.inference_models.torchscript import save_torchscript_model

from nequip_elemtransfer.deploy.cli import main
from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.deploy.lammps_input import usage, write_data
from nequip_elemtransfer.deploy.trained import load_trained

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


@pytest.fixture
def two_silicons(crystal):
    """A crystal whose silicon atoms are in turn of LAMMPS's types 1 and 3; germanium is 2."""
    atoms = crystal(["Si", "Ge"])
    types = np.where(atoms.symbols == "Ge", 2, 1)
    types[np.flatnonzero(types == 1)[::2]] = 3
    atoms.set_array("type", types)
    return atoms


def test_types_of_one_name_with_cutoffs_per_pair(deployed, reference, two_silicons, capsys):
    """The pair style leaves a row of cutoffs unfilled and computes all the same, so nobody is told to do that."""
    file, names = deployed("allegro", ".nequip.pth"), ["Si", "Ge", "Si"]
    energy, *_ = PairStyle("allegro", file, names).compute(two_silicons)
    assert abs(energy - reference("allegro", two_silicons)[0]) > 0.1
    for more in ([], ["--lammps-input", str(file.parent / "in")]):
        assert main(["info", str(file), "--lammps-types", *names, *more]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and "names 'Si' twice" in printed.err and "--common-cutoff" in printed.err
    assert "Name each type once" in usage(read_info(file))


def test_types_of_one_name_with_a_common_cutoff(deployed, reference, two_silicons, capsys):
    """The model itself makes zero of pairs beyond their own cutoffs."""
    file, names = deployed("allegro", ".nequip.pth", common_cutoff=True), ["Si", "Ge", "Si"]
    found = PairStyle("allegro", file, names).compute(two_silicons)
    for got, expected in zip(found, reference("allegro", two_silicons)):
        np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE["allegro"] * 10)
    assert main(["info", str(file), "--lammps-types", *names]) == 0
    text = capsys.readouterr().out
    assert f"pair_coeff    * * {file} Si Ge Si" in text and "mass          3 28.0850    # Si" in text
    assert "Name each type once" not in text


@pytest.mark.parametrize("names", [["Si", "C"], ["NULL", "Ge"]])
@pytest.mark.parametrize("common_cutoff", [False, True])
def test_names_that_the_model_lacks(deployed, capsys, names, common_cutoff):
    """They crash the pair style, or stop it."""
    file = deployed("allegro", ".nequip.pth", common_cutoff=common_cutoff)
    with pytest.raises(ValueError if common_cutoff else MemoryError):
        PairStyle("allegro", file, names)
    assert main(["info", str(file), "--lammps-types", *names]) == 2
    assert "is no type of the model" in capsys.readouterr().err


def test_message_passing_without_a_cell(deployed, si_run, reference, crystal, tmp_path):
    """Under the wrong pair style a stock file computes something else, and ours refuses."""
    atoms, trained = crystal(["Si"]), load_trained(si_run / "best.ckpt")
    metadata = trained.model.metadata | {"allow_tf32": "0"}
    save_torchscript_model(trained.model, metadata, str(tmp_path / "stock.nequip.pth"), "cpu")
    energy, *_ = PairStyle("allegro", tmp_path / "stock.nequip.pth", ["Si"]).compute(atoms)
    assert abs(energy - reference("si", atoms)[0]) > 1e-3  # where the right one agrees to 1e-9
    with pytest.raises(Exception, match="got no cell: use pair_style nequip"):
        PairStyle("allegro", deployed("si", ".nequip.pth"), ["Si"]).compute(atoms)


@pytest.mark.parametrize("run, style, names", [("ge", "nequip", ["Ge"]), ("allegro", "allegro", ["Si", "Ge"])])
def test_gaps_in_atom_ids(deployed, reference, crystal, tmp_path, run, style, names):
    """As after atoms were taken out: the lines close them for the style that crashes, and our data files have none."""
    atoms, pair_style = crystal(names), PairStyle(style, deployed(run, ".nequip.pth"), names)
    atoms.set_array("id", np.arange(1, len(atoms) + 1) * 2)
    if style == "nequip":
        with pytest.raises(MemoryError):
            pair_style.compute(atoms)
    assert ("reset_atoms   id" in usage(read_info(deployed(run, ".nequip.pth")))) == (style == "nequip")
    write_data(tmp_path / "data", atoms, names)
    read = ase.io.read(tmp_path / "data", format="lammps-data", atom_style="atomic")
    assert sorted(read.arrays["id"]) == list(range(1, len(atoms) + 1))
    energy, *_ = pair_style.compute(read)
    assert energy == pytest.approx(reference(run, crystal(names))[0], abs=TOLERANCE[style] * 10)


def test_executable_stack(deployed, capsys):
    """What newer glibc refuses is said, with what helps; by the file's own flags."""
    file, setting = deployed("ge_one_layer", ".nequip.pt2"), "GLIBC_TUNABLES=glibc.rtld.execstack=2"
    asks = 7 in stack_flags(file)
    if asks:
        with pytest.raises(OSError, match="executable stack"):
            PairStyle("nequip", file, ["Ge"], glibc=(2, 41))
    else:
        PairStyle("nequip", file, ["Ge"], glibc=(2, 41))
    PairStyle("nequip", file, ["Ge"], glibc=(2, 41), tunables=setting.partition("=")[2])
    assert main(["info", str(file)]) == 0
    assert (setting in capsys.readouterr().out) == asks == read_info(file)["executable_stack"]


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
