"""What a plan has NequIP train on, and the weights of its loss."""

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hydra.utils import instantiate
from nequip.data import AtomicDataDict, from_ase
from numpy.testing import assert_allclose

from nequip_elemtransfer.plan.training.loss import Loss, loss_of
from nequip_elemtransfer.plan.training.train_config import loss_sections
from nequip_elemtransfer.plan.training.training_files import completed, reading_of
from nequip_elemtransfer.structures.labels import Labels
from nequip_elemtransfer.structures.reading import ReadFile

ALL = ("energy", "forces", "stress")


def random_labels(n, atoms, energy=0.2, forces=0.5, stress=0.01):
    """Labels of structures of one type with given standard deviations."""
    rng = np.random.default_rng(0)
    counts = np.full((n, 1), atoms)
    energies = atoms * (-4 + energy * rng.normal(size=n))
    return Labels(energies, forces * rng.normal(size=(n * atoms, 3)), stress * rng.normal(size=(n, 3, 3))), counts


def test_weights_are_ratios_of_variances():
    """Energies by variance, stresses also by their number: 9 for 3 N components of forces."""
    loss = loss_of(*random_labels(4000, 4, stress=0.02), ALL)
    assert loss.coeffs["forces"] == 1.0
    assert loss.coeffs["energy"] == pytest.approx((0.5 / 0.2) ** 2, rel=0.05)
    assert loss.coeffs["stress"] == pytest.approx((0.5 / 0.02) ** 2 * 9 / 12, rel=0.05)
    assert loss.mae_coeffs()["energy"] == pytest.approx(2.5, rel=0.05)


def test_weights_do_not_depend_on_the_unit_of_energy_or_its_zero():
    labels, counts = random_labels(50, 8)
    other = Labels(3 * labels.energies + 8 * 7.0, 3 * labels.forces, 3 * labels.stresses)
    assert loss_of(other, counts, ALL).coeffs == pytest.approx(loss_of(labels, counts, ALL).coeffs, rel=1e-2)


def test_weights_count_the_labels_there_are():
    """Half of the stresses missing: the same spread, half the number."""
    labels, counts = random_labels(2000, 8)
    labels.stresses[::2] = np.nan
    assert loss_of(labels, counts, ALL).numbers == {"energy": 2000, "forces": 48000, "stress": 9000}


def test_equal_structures_do_not_outweigh_the_rest():
    labels, counts = random_labels(20, 8, energy=0.0, stress=0.0)
    assert loss_of(labels, counts, ALL).coeffs == {"energy": 100.0, "forces": 1.0, "stress": 1000.0}
    assert loss_of(labels, counts, ("energy",)).coeffs == {"energy": 1.0}


@pytest.fixture
def crystals():
    """Six structures with every label."""
    found = []
    for i in range(6):
        atoms = Atoms("Ge2", positions=[[0, 0, 0], [1.4, 1.4, 1.4 + 0.01 * i]], cell=[5, 5, 5], pbc=True)
        labels = {"energy": -8.0 - i, "forces": np.full((2, 3), 0.1 * i), "stress": 0.001 * np.arange(6.0) + i}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    return found


def test_a_file_is_read_as_it_is_if_all_structures_have_all_labels(crystals):
    assert reading_of(ReadFile("a.xyz", crystals), ALL, []).as_they_are
    crystals[2].calc.results["charges"] = np.zeros(2)
    assert (
        reading_of(ReadFile("a.xyz", crystals), ALL, []).unused == ["charges"]
        and reading_of(ReadFile("a.xyz", crystals), ALL, []).as_they_are
    )
    del crystals[3].calc.results["stress"]
    assert not reading_of(ReadFile("a.xyz", crystals), ALL, []).as_they_are


@pytest.mark.parametrize("kind", ["energy", "forces", "stress"])
@pytest.mark.parametrize("absent", [True, False], ids=["absent", "NaN"])
def test_copies_carry_every_label(crystals, kind, absent, tmp_path):
    """Through a file and NequIP's reading: what is missing is NaN, what is there is unchanged, in one batch."""
    for atoms in crystals[1:4]:
        if absent:
            del atoms.calc.results[kind]
        else:
            atoms.calc.results[kind] = np.nan * np.asarray(atoms.calc.results[kind])
    train, val = completed(crystals, ALL, [], 1)
    assert len(train) + len(val) == 6
    ase.io.write(tmp_path / "train.xyz", train)
    frames = [from_ase(atoms) for atoms in ase.io.read(tmp_path / "train.xyz", ":")]
    batch = AtomicDataDict.batched_from_list(frames)
    field = {"energy": "total_energy"}.get(kind, kind)
    assert int(torch.isnan(batch[field]).any(dim=-1).reshape(-1).sum()) == {"energy": 3, "forces": 6, "stress": 9}[kind]
    # the validation set has what some structures of the training set lack
    for atoms in val:
        assert np.isfinite(atoms.get_potential_energy()) and np.isfinite(atoms.get_forces()).all()
        assert np.isfinite(atoms.get_stress()).all()
    original = {atoms.positions[1, 2]: atoms for atoms in crystals}
    for atoms in [*train, *val]:
        for name, value in original[atoms.positions[1, 2]].calc.results.items():
            assert_allclose(atoms.calc.results[name], value)


def test_every_kind_is_validated_even_where_no_structure_has_all(crystals):
    for i, atoms in enumerate(crystals):
        del atoms.calc.results["energy" if i < 3 else "forces"], atoms.calc.results["stress"]
    _, val = completed(crystals, ("energy", "forces"), [], 1)
    assert any(np.isfinite(a.calc.results["energy"]) for a in val)
    assert any(np.isfinite(a.calc.results["forces"]).all() for a in val)


def test_a_virial_is_trained_on_as_a_stress(crystals):
    atoms = crystals[0]
    stress = atoms.get_stress(voigt=False)
    del atoms.calc.results["stress"]
    atoms.info["virial"] = -stress * atoms.get_volume()
    copies = [a for part in completed(crystals, ALL, [], 1) for a in part]
    first = next(a for a in copies if a.positions[1, 2] == atoms.positions[1, 2])
    assert_allclose(first.get_stress(voigt=False), stress, rtol=1e-12)


def batch_of(missing):
    """Predictions off by 1 eV/atom, 2 and 3 in each kind, and the labels, some kinds NaN."""
    fields = {"total_energy": (1, 1), "forces": (2, 3), "stress": (1, 3, 3)}
    labels = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in fields.items()}
    predicted = {n: torch.full_like(v, e, requires_grad=True) for (n, v), e in zip(labels.items(), (2.0, 2.0, 3.0))}
    labels |= {name: torch.full_like(labels[name], float("nan")) for name in missing}
    return [d | {"num_atoms": torch.tensor([2])} for d in (predicted, labels)]


@pytest.mark.parametrize("as_they_are", [True, False])
@pytest.mark.parametrize("kinds", [ALL, ("energy", "forces"), ("energy",), ("forces",), ("energy", "stress")])
def test_the_loss_is_the_weighted_mean_of_square_errors(kinds, as_they_are):
    coeffs = {"energy": 7.0, "forces": 1.0, "stress": 200.0}
    loss = Loss({k: coeffs[k] for k in kinds}, dict.fromkeys(kinds, 1.0), dict.fromkeys(kinds, 1))
    section, metrics = loss_sections(loss, as_they_are)
    squares = {"energy": 1.0, "forces": 4.0, "stress": 9.0}  # the energy is per atom
    expected = sum(coeffs[k] * squares[k] for k in kinds) / sum(coeffs[k] for k in kinds)
    assert instantiate(section)(*batch_of([]))["weighted_sum"].item() == pytest.approx(expected)
    weights, absolutes = loss.mae_coeffs(), {"energy": 1.0, "forces": 2.0, "stress": 3.0}
    expected = sum(weights[k] * absolutes[k] for k in kinds) / sum(weights.values())
    assert instantiate(metrics)(*batch_of([]))["weighted_sum"].item() == pytest.approx(expected)
    assert yaml.safe_load(yaml.safe_dump(section)) == section


def test_a_batch_without_a_kind_of_label_trains_on_the_others():
    """NequIP's own mean over nothing is NaN, and would end the training."""
    loss = Loss({"energy": 7.0, "forces": 1.0, "stress": 200.0}, dict.fromkeys(ALL, 1.0), dict.fromkeys(ALL, 1))
    predicted, labels = batch_of(["stress"])
    found = instantiate(loss_sections(loss, False)[0])(predicted, labels)
    assert found["weighted_sum"].item() == pytest.approx((7 * 1.0 + 4.0) / 208)
    found["weighted_sum"].backward()
    assert torch.isfinite(predicted["forces"].grad).all() and predicted["stress"].grad is None
