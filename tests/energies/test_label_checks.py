import numpy as np
import pytest

from nequip_elemtransfer.energies.units import WrongUnit, check_units
from nequip_elemtransfer.structures.labels import Labels

COUNTS = np.full((8, 1), 4)


@pytest.fixture
def pair():
    """A model's predictions, and labels that it explains for the greater part."""
    random = np.random.default_rng(0)
    model = Labels(4 * random.normal(size=8), random.normal(size=(32, 3)), random.normal(size=(8, 3, 3)))
    noise = Labels(4 * random.normal(size=8), random.normal(size=(32, 3)), random.normal(size=(8, 3, 3)))
    made = (0.9 * model.of(k) + 0.3 * noise.of(k) for k in ("energy", "forces", "stress"))
    energies, forces, stresses = made
    # zero of energy and pressure of the model do not count
    return Labels(energies - 4 * 3.9, forces, stresses + 2.0 * np.eye(3)), model


def test_labels_that_go_together_pass(pair):
    labels, model = pair
    check_units(labels, model, COUNTS)


@pytest.mark.parametrize(
    ("kind", "factor", "unit"),
    [
        ("energy", 23.0605, "the energies look like kcal/mol"),
        ("energy", 1 / 27.2114, "the energies look like Hartree"),
        ("energy", 100.0, "the energies look like kJ/mol"),
        ("forces", 1 / 51.4221, "the forces look like Hartree/Bohr"),
        ("stress", 1602.18, "the stresses look like kbar"),
        ("stress", 160.218, "the stresses look like GPa"),
        ("stress", 7.0, ""),
    ],
)
def test_one_kind_of_label_in_another_unit(pair, kind, factor, unit):
    labels, model = pair
    values = {k: labels.of(k) * (factor if k == kind else 1.0) for k in labels.kinds}
    wrong = Labels(values["energy"], values["forces"], values["stress"])
    with pytest.raises(WrongUnit, match=f"not in units that go together.*{unit}.*eV, eV/Å and eV/Å³"):
        check_units(wrong, model, COUNTS)


def test_stresses_of_the_other_sign(pair):
    labels, model = pair
    with pytest.raises(WrongUnit, match="opposite sign .*correlation -0.9.*StressSignFlipTransform"):
        check_units(Labels(labels.energies, labels.forces, -labels.stresses), model, COUNTS)


def test_a_sign_is_not_judged_by_a_model_that_resembles_no_label(pair):
    """A source that was hardly trained may have stresses of the other sign."""
    labels, model = pair
    random = np.random.default_rng(2)
    other = Labels(random.normal(size=8), random.normal(size=(32, 3)), -model.stresses)
    check_units(other, model, COUNTS)
    check_units(Labels(other.energies, -model.forces, model.stresses * 0), model, COUNTS)


def test_labels_that_the_model_does_not_resemble_are_not_judged(pair):
    labels, model = pair
    other = Labels(np.random.default_rng(1).normal(size=8) * 1000, labels.forces, labels.stresses)
    check_units(other, model, COUNTS)


def test_a_handful_of_structures_is_not_enough_to_judge(pair):
    labels, model = pair
    few, counts = np.arange(3), COUNTS[:3]
    wrong = Labels(23.0605 * labels.energies, labels.forces, labels.stresses)
    check_units(wrong.of_frames(few, COUNTS), model.of_frames(few, COUNTS), counts)
