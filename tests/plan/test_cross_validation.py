"""A start is fitted on some structures and tried on others."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from units import ENERGY, LENGTH, SHIFT

from nequip_elemtransfer.plan.errors import force_error, structure_of_atoms
from nequip_elemtransfer.plan.ladder import ladder
from nequip_elemtransfer.plan.length_scan import length_scan
from nequip_elemtransfer.plan.start import COARSE_FACTORS


@pytest.fixture(scope="module")
def start(source, crystals, start_of):
    """Germanium that is silicon in other units."""
    made = start_of(source, crystals(source, "Ge", 6, 5.7), {"Ge": "Si"})
    made.scan()
    return made


def test_scan_finds_the_length_scale(start):
    every = np.arange(6)
    assert start.scales(start.best_factor(every)) == pytest.approx([LENGTH], abs=0.006)
    assert start.scales(start.refined_factor(every)) == pytest.approx([LENGTH], abs=0.002)
    assert len(start.factors) == len(set(start.factors)) >= len(COARSE_FACTORS) + 6


def test_fits_are_exact_at_the_true_length(start):
    fitted = start.energies(np.array([LENGTH]), np.array([0, 1]))
    assert fitted.scales == pytest.approx([ENERGY], rel=1e-7) and fitted.shifts == pytest.approx([SHIFT], rel=1e-7)
    assert fitted.resembles
    predicted = start.held_out(np.array([LENGTH]))
    assert_allclose(predicted.energies, start.labels.energies, rtol=1e-7)
    assert_allclose(predicted.forces, start.labels.forces, atol=1e-7 * np.abs(start.labels.forces).max())
    assert start.unexplained(np.array([LENGTH])) < 1e-12 < start.unexplained_map_alone()


def test_held_out_uses_the_other_folds_only(start):
    """Labels of a fold do not reach its own prediction."""
    scales, fold = np.array([1.0]), start.folds[0]
    before = start.held_out(scales)
    energies = start.labels.energies.copy()
    energies[fold] += 100.0
    labels, start.labels = start.labels, type(start.labels)(energies, start.labels.forces)
    after = start.held_out(scales)
    start.labels = labels
    assert_allclose(after.energies[fold], before.energies[fold], rtol=0, atol=0)
    other = np.setdiff1d(np.arange(6), fold)
    assert (np.abs(after.energies[other] - before.energies[other]) > 1).all()


def test_ladder(start):
    """The last step has no error where the length scale is right; the first is that of predicting nothing."""
    steps = {step.name: step for step in ladder(start, np.array([LENGTH]))}
    assert list(steps) == [
        "no forces, mean energy", "element map", "+ length scale", "+ energy scale", "+ energy shifts"
    ]  # fmt: skip
    baseline = steps["no forces, mean energy"].force_mae.value
    assert baseline == pytest.approx(np.abs(start.labels.forces).mean())
    errors = [step.force_mae.value for step in steps.values()]
    # F' = α F / λ: before the energy scale the error is the part (1 - 1/α) of the reference
    assert errors[2] == pytest.approx((1 / ENERGY - 1) * baseline, rel=1e-6)
    assert errors[3] < 1e-7 and errors[4] < 1e-7
    assert steps["+ energy scale"].energy_mae.value == pytest.approx(-SHIFT, rel=1e-6)
    assert steps["+ energy shifts"].energy_mae.value < 1e-7
    assert steps["+ energy shifts"].force_mae_per_type["Ge"].value == errors[4]


def test_length_scan(start):
    scan = length_scan(start, lattice_ratio=1.05)
    assert scan.marks == pytest.approx({"covalent radii": 1.2 / 1.11, "lattice": 1.05, "fit": LENGTH}, abs=2e-3)
    assert scan.chosen == "fit" and scan.proposed == pytest.approx([LENGTH], abs=2e-3) and scan.warnings == []
    lowest = int(np.argmin(scan.force_rmse))
    assert scan.length_scales[lowest] == pytest.approx(LENGTH, abs=0.006)
    assert scan.energy_scale[lowest] == pytest.approx(ENERGY, rel=0.1)


def test_length_beyond_the_range_is_no_minimum(source, crystals, start_of):
    """λ = 1.36 lies outside: the covalent radii are proposed, and a warning says why."""
    start = start_of(source, crystals(source, "Ge", 3, 7.3, length=1.36), {"Ge": "Si"})
    start.scan()
    scan = length_scan(start)
    assert scan.chosen == "covalent radii" and scan.proposed == pytest.approx([1.2 / 1.11])
    assert any("edge of the range" in warning for warning in scan.warnings)


def test_kept_types_keep_everything(source, crystals, start_of):
    start = start_of(source, crystals(source, "Si", 3, 5.4, length=1.0), {"Si": "Si"})
    assert start.scales(1.2) == pytest.approx([1.0])
    fitted = start.energies(np.ones(1), np.arange(3))
    assert fitted.scales == [1.0] and fitted.shifts == [0.0]


def test_opposite_forces_resemble_nothing(source, crystals, start_of):
    start = start_of(source, crystals(source, "Ge", 3, 5.7, energy=-1.0), {"Ge": "Si"})
    fitted = start.energies(np.array([LENGTH]), np.arange(3))
    assert not fitted.resembles and fitted.scales == [1.0]
    assert start.objective(LENGTH / start.guess[0], np.arange(3)) == 2.0


def test_force_error_and_its_interval():
    rng = np.random.default_rng(1)
    reference, counts = rng.normal(size=(400, 3)), np.full((40, 1), 10)
    structure = structure_of_atoms(counts)
    size = rng.uniform(0.5, 1.5, 40)[structure][:, None]
    mae = force_error(reference + size, reference, structure)
    rmse = force_error(reference + size, reference, structure, squared=True)
    assert mae.value == pytest.approx(size.mean()) and rmse.value == pytest.approx(np.sqrt((size**2).mean()))
    # over structures, of which there are 40, not over the 400 atoms
    expected = 1.96 * np.std(size[::10]) / np.sqrt(40)
    assert (mae.high - mae.low) / 2 == pytest.approx(expected, rel=0.15)
