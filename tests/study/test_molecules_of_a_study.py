"""Properties of molecules in a study: which are taken, what is calculated, and how far they are from the reference."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from nequip_elemtransfer.study.config.evaluation_settings import EvaluationSettings, MoleculeFile
from nequip_elemtransfer.study.grid import Grid, Run
from nequip_elemtransfer.study.measure.evaluation import evaluation_tasks
from nequip_elemtransfer.study.measure.measurements import molecular_properties, molecules_in
from nequip_elemtransfer.study.report.page import write_report
from nequip_elemtransfer.study.report.property_errors import properties

STARTS, SEEDS = ("scratch", "corresponding_states"), (0, 1)
NAMES = ("bond_lengths", "bond_angles", "wavenumbers", "torsions")


@pytest.fixture
def minima(tmp_path):
    """Peroxide, which has a bond to turn about, and water, and one without oxygen."""
    frames = [molecule(name) for name in ("H2O2", "H2O", "H2")]
    for atoms, group in zip(frames, ("chain", "alkyl", "alkyl")):
        atoms.info = {"group": group, "molecule": atoms.get_chemical_formula()}
    ase.io.write(tmp_path / "O_minima.xyz", frames)
    return str(tmp_path / "O_minima.xyz")


def test_which_molecules(minima):
    formulas = [a.get_chemical_formula() for a in molecules_in(MoleculeFile(minima, "O"))]
    assert formulas == ["H2O2", "H2O"]
    (chosen,) = molecules_in(MoleculeFile(minima, "O", {"group": "alkyl"}))
    assert chosen.get_chemical_formula() == "H2O"
    with pytest.raises(ValueError, match="holds no structure with Ge"):
        molecules_in(MoleculeFile(minima, "Ge"))
    with pytest.raises(ValueError, match="holds no structure with O and with {'group': 'ring'}"):
        molecules_in(MoleculeFile(minima, "O", {"group": "ring"}))


def test_what_is_calculated(minima):
    """Bonds, angles and vibrations at the calculator's minimum, torsions at the geometry that was given."""
    peroxide, water = molecules_in(MoleculeFile(minima, "O"))
    found = molecular_properties([peroxide, water], "O", EMT())
    assert found["values"] == found["failed"] == {}
    assert [[len(numbers) for numbers in found[name]] for name in NAMES] == [[3, 2], [2, 1], [6, 3], [12, 0]]
    relaxed = water.copy()
    relaxed.set_distance(0, 1, found["bond_lengths"][1][0], fix=0)
    relaxed.set_distance(0, 2, found["bond_lengths"][1][1], fix=0)
    relaxed.set_angle(1, 0, 2, found["bond_angles"][1][0])
    relaxed.calc = EMT()
    assert np.abs(relaxed.get_forces()).max() < 0.02  # eV/Å: the numbers are those of its minimum
    assert sum(found["torsions"][0]) == pytest.approx(0.0, abs=1e-9)


def test_a_model_that_fails(minima):
    class Broken(EMT):
        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            if len(atoms) == 4:
                self.results["forces"] = np.full((4, 3), np.nan)

    found = molecular_properties(molecules_in(MoleculeFile(minima, "O")), "O", Broken())
    assert found["failed"]["bond_lengths"].startswith("H2O2: Unconverged: the calculator gave a force")
    assert [found[name][0] is None for name in NAMES] == [True, True, True, False]  # energies are there
    assert all(found[name][1] is not None for name in NAMES)


def study(minima, **evaluations):
    runs = [
        Run(
            f"{start}-n10-seed{seed}",
            {"start": start, "model": "default", "train_on": "default", "size": 10, "seed": seed},
            "c.yaml",
            (),
            transfers=start != "scratch",
        )
        for start in STARTS
        for seed in SEEDS
    ]
    entries = {
        "molecules": {"file": minima, "element": "O"},
        "reference": {"calculator": {"_target_": "ase.calculators.emt.EMT"}},
        "properties": {"sizes": [10]},
    }
    return Grid(tuple(runs), evaluations=entries | evaluations)


def test_tasks(minima, tmp_path):
    tasks = evaluation_tasks(study(minima), tmp_path)
    assert [task.name for task in tasks][:2] == ["properties of reference", "properties of scratch-n10-seed0"]
    other = evaluation_tasks(study(minima, molecules={"file": minima, "element": "H"}), tmp_path)
    assert tasks[1].settings != other[1].settings  # evaluated again where other molecules are asked for
    EvaluationSettings.from_mapping(study(minima).evaluations).check_files()
    gone = {"molecules": {"file": "nowhere.xyz", "element": "O"}}
    with pytest.raises(FileNotFoundError, match="`molecules.file` names 'nowhere.xyz', which does not exist"):
        EvaluationSettings.from_mapping(gone).check_files()


def test_deviations_from_the_reference(minima, tmp_path):
    grid = study(minima)
    grid.write(tmp_path)

    def put(model, **content):
        folder = tmp_path / "evaluations" / "properties" / model
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"settings": {}, "values": {}, "failed": {}} | content))

    reference = {
        "bond_lengths": [[1.0, 1.4, 1.0], [0.96, 0.96]],
        "bond_angles": [[100.0, 100.0], [104.0]],
        "wavenumbers": [[100.0, 500.0, 1000.0], [2000.0]],
        "torsions": [[0.1, -0.1], []],
    }
    put("reference", **reference)
    for seed in SEEDS:
        put(
            f"scratch-n10-seed{seed}",
            bond_lengths=[[1.1, 1.3, 1.0], [0.96, 0.96]],
            bond_angles=[[110.0, 100.0], [109.0]],
            wavenumbers=[[300.0, 550.0, 900.0], [2000.0]],
            torsions=[[0.13, -0.13], []],
        )
        put(
            f"corresponding_states-n10-seed{seed}",
            bond_lengths=[None, [0.97, 0.98]],
            bond_angles=[None, [104.0]],
            wavenumbers=[None, [2100.0]],
            torsions=[[0.1, -0.1], []],
        )
    scratch, transfer = properties(grid, tmp_path)
    means = {name: quantity.values.mean for name, quantity in scratch.quantities.items()}
    # over five bonds, three angles, three vibrations above 200 cm⁻¹, and in meV
    assert means == pytest.approx({"bond_lengths": 0.04, "bond_angles": 5.0, "wavenumbers": 20 / 3, "torsions": 30.0})
    means = {name: quantity.values.mean for name, quantity in transfer.quantities.items()}
    assert means == pytest.approx({"bond_lengths": 0.015, "bond_angles": 0.0, "wavenumbers": 5.0, "torsions": 0.0})
    assert transfer.quantities["torsions"].difference.mean == pytest.approx(-30.0)
    write_report(tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert "bond lengths, mean deviation (Å)" in html and "harmonic wavenumbers, mean deviation (%)" in html
