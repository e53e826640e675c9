import numpy as np
import pytest

from nequip_elemtransfer.energies.zero_shot import zero_shot
from nequip_elemtransfer.structures.labels import Labels

COUNTS = np.array([[2, 0], [1, 3], [0, 1]])
LABELS = Labels(np.array([-8.0, -19.0, -5.0]), np.zeros((7, 3)), np.zeros((3, 3, 3)))


def changed(energies=0.0, forces=0.0, stresses=0.0):
    return Labels(LABELS.energies + energies, LABELS.forces + forces, LABELS.stresses + stresses)


def test_errors_by_hand():
    forces, stresses = np.zeros((7, 3)), np.zeros((3, 3, 3))
    forces[2], stresses[1, 0, 0] = [0.3, -0.4, 0.0], -0.27
    errors = zero_shot("+ length scale", changed([0.2, -0.4, 0.0], forces, stresses), LABELS, COUNTS)
    assert errors.step == "+ length scale"
    assert errors.force_mae == pytest.approx(0.7 / 21, rel=1e-14)
    assert errors.force_rmse == pytest.approx(np.sqrt(0.25 / 21), rel=1e-14)
    assert errors.energy_mae == pytest.approx((0.1 + 0.1 + 0.0) / 3, rel=1e-12)
    assert errors.stress_mae == pytest.approx(0.01, rel=1e-12)


def test_wrong_shifts_count_in_the_energy_error_but_not_in_the_refitted_one():
    errors = zero_shot("element map", changed(COUNTS @ [0.5, -0.25]), LABELS, COUNTS)
    assert errors.energy_mae == pytest.approx((0.5 + 0.0625 + 0.25) / 3, rel=1e-12)
    assert errors.energy_mae_refitted == pytest.approx(0.0, abs=1e-14)


def test_errors_are_of_the_labels_there_are():
    """One energy, one atom's forces and one stress are missing; the rest is off by one."""
    energies, forces, stresses = (LABELS.energies.copy(), LABELS.forces.copy(), LABELS.stresses.copy())
    energies[1], forces[4], stresses[0] = np.nan, np.nan, np.nan
    predicted = changed(COUNTS.sum(axis=1), 1.0, 1.0)
    errors = zero_shot("a", predicted, Labels(energies, forces, stresses), COUNTS)
    assert (errors.force_mae, errors.force_rmse, errors.energy_mae, errors.stress_mae) == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "gone"),
    [
        ("energy", {"energy_mae", "energy_mae_refitted"}),
        ("forces", {"force_mae", "force_rmse"}),
        ("stress", {"stress_mae"}),
    ],
)
def test_errors_without_labels(kind, gone):
    found = vars(zero_shot("a", changed(1.0, 1.0, 1.0), LABELS.without_kinds(kind), COUNTS))
    assert {name for name, value in found.items() if value is None} == gone
