"""A start is fitted on some structures and tried on others."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.testing import assert_allclose
from units import ENERGY, LENGTH, SHIFT

from nequip_elemtransfer.config import LABEL_KINDS, TransferConfig
from nequip_elemtransfer.plan.errors import label_error, mean_error, structure_of_label
from nequip_elemtransfer.plan.report.html import scan_figure
from nequip_elemtransfer.plan.start.cross_validation import CrossValidation
from nequip_elemtransfer.plan.start.length_scan import length_scan
from nequip_elemtransfer.plan.structures import ChosenStructures
from nequip_elemtransfer.structures.files import folds, to_frames
from nequip_elemtransfer.structures.frames import MAX_FRAMES, evenly_spaced
from nequip_elemtransfer.transfer.start import Start
from nequip_elemtransfer.transfer.transfer import Transfer


@pytest.fixture(scope="module")
def trial(source, crystals, trial_of):
    """Germanium that is silicon in other units."""
    made = trial_of(source, crystals(source, "Ge", 6, 5.7), {"Ge": "Si"})
    made.start.scan()
    return made


def test_scan_finds_the_length_scale(trial):
    assert trial.start.scales == pytest.approx([LENGTH], abs=0.002) and trial.start.lengths.decided_by == "labels"
    outside = np.array([trial.lengths_without(fold) for fold in trial.folds])
    assert outside == pytest.approx(np.full((3, 1), LENGTH), abs=0.002)
    assert {kind: scales[0] for kind, scales in trial.start.lengths.by_kind.items()} == pytest.approx(
        dict.fromkeys(LABEL_KINDS, LENGTH), abs=0.004
    )


def test_the_length_scale_is_the_one_of_the_key(trial, source):
    """The same structures, the same number: `length_scale: fit` and the plan."""
    transfer = Transfer(TransferConfig("random", {"Ge": "Si"}), source, lambda r_max: trial.frames)
    assert_allclose(transfer.start.lengths.scales, trial.start.lengths.scales, rtol=1e-12)
    assert transfer.start.lengths.decided_by == trial.start.lengths.decided_by


def test_fits_are_exact_at_the_true_length(trial):
    fitted = trial.energies(np.array([LENGTH]), np.array([0, 1]))
    assert fitted.scales == pytest.approx([ENERGY], rel=1e-7) and fitted.shifts == pytest.approx([SHIFT], rel=1e-7)
    assert fitted.resembles
    predicted = trial.held_out(np.array([LENGTH]))
    for kind in LABEL_KINDS:
        label = trial.labels.of(kind)
        assert_allclose(predicted.of(kind), label, atol=1e-6 * np.abs(label).max())
    assert max(trial.unexplained(np.array([LENGTH])).values()) < 1e-12 < trial.unexplained_map_alone()["forces"]


def test_what_is_kept_says_nothing_of_the_new_type(source, crystals, trial_of):
    """Silicon, which the model has exactly, beside germanium at a wrong length: the verdict is of germanium."""
    structures = crystals(source, "Si", 3, 5.4, 1.0, 1.0, 0.0) + crystals(source, "Ge", 3, 5.7)
    trial = trial_of(source, structures, {"Si": "Si", "Ge": "Si"})
    scales, ge = np.array([1.0, 1.0]), np.repeat([False, True], 3 * 8)
    error = trial.held_out(scales).forces - trial.labels.forces
    assert_allclose(error[~ge], 0, atol=1e-10)
    expected = np.sum(error[ge] ** 2) / np.sum(trial.labels.forces[ge] ** 2)
    assert trial.judged_types == ["Ge"]
    assert trial.unexplained(scales)["forces"] == pytest.approx(expected, rel=1e-12)
    all_atoms = np.sum(error**2) / np.sum(trial.labels.forces**2)
    assert trial.unexplained(scales, all_types=True)["forces"] == pytest.approx(all_atoms, rel=1e-12)
    assert expected > 1.2 * all_atoms


def test_held_out_uses_the_other_folds_only(trial):
    """Labels of a fold do not reach its own prediction."""
    scales, fold = np.array([1.0]), trial.folds[0]
    before = trial.held_out(scales)
    energies = trial.labels.energies.copy()
    energies[fold] += 100.0
    labels, trial.labels = trial.labels, replace(trial.labels, energies=energies)
    after = trial.held_out(scales)
    trial.labels = labels
    assert_allclose(after.energies[fold], before.energies[fold], rtol=0, atol=0)
    other = np.setdiff1d(np.arange(6), fold)
    assert (np.abs(after.energies[other] - before.energies[other]) > 1).all()


def test_ladder(trial):
    """The last step has no error where the length scale is right; the first is that of predicting nothing."""
    steps = {step.name: step for step in trial.ladder(np.array([LENGTH]))}
    assert list(steps) == [
        "no forces, mean energy", "element map", "+ length scale", "+ energy scale", "+ energy shifts"
    ]  # fmt: skip
    # F' = α F / λ and σ' = α σ / λ³: before the energy scale the error is the part (1 - 1/α) of the reference
    for name, label in (("force_mae", trial.labels.forces), ("stress_mae", trial.labels.stresses)):
        errors = [getattr(step, name).value for step in steps.values()]
        assert errors[0] == pytest.approx(np.abs(label).mean())
        assert errors[2] == pytest.approx((1 / ENERGY - 1) * errors[0], rel=1e-5)
        assert max(errors[3:]) < 1e-6 * errors[0]
    assert steps["+ energy scale"].energy_mae.value == pytest.approx(-SHIFT, rel=1e-6)
    assert steps["+ energy shifts"].energy_mae.value < 1e-7
    last = steps["+ energy shifts"]
    assert last.force_mae_per_type["Ge"].value == last.force_mae.value


def test_length_scan(trial):
    scan = length_scan(trial.start, lattice_ratio=1.05)
    assert scan.marks == pytest.approx({"covalent radii": 1.2 / 1.11, "lattice": 1.05, "fit": LENGTH}, abs=2e-3)
    assert scan.chosen == "fit" and scan.proposed == pytest.approx([LENGTH], abs=2e-3) and scan.warnings == []
    assert scan.asked == pytest.approx(dict.fromkeys(LABEL_KINDS, LENGTH), abs=4e-3)
    for kind in LABEL_KINDS:
        lowest = int(np.argmin(scan.rmse(kind)))
        assert scan.length_scales[lowest] == pytest.approx(LENGTH, abs=0.011)
        assert scan.energy_scale[lowest] == pytest.approx(ENERGY, rel=0.1)


def test_each_kind_is_lowest_in_the_figure_where_it_asks_for_lambda(source, crystals, trial_of):
    """Also where each would have an α of its own: the curves and what is asked are of the α of the forces."""
    structures = crystals(source, "Ge", 4, 5.6)
    for atoms in structures:
        labels = atoms.calc.results
        atoms.calc = SinglePointCalculator(
            atoms, energy=0.7 * labels["energy"], forces=labels["forces"], stress=1.4 * labels["stress"]
        )
    trial = trial_of(source, structures, {"Ge": "Si"})
    trial.start.scan()
    scan = length_scan(trial.start)
    assert set(scan.asked) == set(LABEL_KINDS)
    for kind, length in scan.asked.items():
        lowest = int(np.argmin(scan.rmse(kind)))
        below, above = scan.length_scales[lowest - 1], scan.length_scales[lowest + 1]
        assert below <= length <= above
    svg = scan_figure(scan)
    assert svg.startswith("<svg role='img' aria-label='Errors of each kind of label against the length scale of Ge'")
    assert "<title>Errors of each kind of label against the length scale of Ge</title>" in svg


@pytest.mark.parametrize("length, disagrees", [(1.07, False), (1.045, True)])
def test_radii_that_disagree_with_the_labels(source, crystals, trial_of, length, disagrees):
    """The radii say 1.081: 1 % and 3.5 % off."""
    trial = trial_of(source, crystals(source, "Ge", 3, 5.6, length=length), {"Ge": "Si"})
    trial.start.scan()
    sentence = length_scan(trial.start).disagreement
    assert bool(sentence) is disagrees
    if disagrees:
        assert "covalent radii give λ = 1.081 for Ge and the labels 1.04" in sentence


def test_length_beyond_the_range_is_no_minimum(source, crystals, trial_of):
    """λ = 1.36 lies outside: the covalent radii are proposed, and a warning says why."""
    trial = trial_of(source, crystals(source, "Ge", 3, 7.3, length=1.36), {"Ge": "Si"})
    trial.start.scan()
    scan = length_scan(trial.start)
    assert scan.chosen == "covalent radii" and scan.proposed == pytest.approx([1.2 / 1.11])
    assert any("edge of the range" in warning for warning in scan.warnings)


def test_kept_types_keep_everything(source, crystals, trial_of):
    trial = trial_of(source, crystals(source, "Si", 3, 5.4, length=1.0), {"Si": "Si"})
    trial.start.scan()
    assert not trial.start.searchable and trial.start.lengths.scales == pytest.approx([1.0])
    fitted = trial.energies(np.ones(1), np.arange(3))
    assert fitted.scales == [1.0] and fitted.shifts == [0.0]


def test_kept_types_are_fitted_where_the_key_says_so(source, crystals):
    """Silicon in other units, as by another reference method: the start and its folds find them."""
    frames = to_frames(crystals(source, "Si", 4, 5.4), ["Si"], ["Si"])
    start = Start.of(TransferConfig("random", {"Si": "Si"}, kept_types="fit"), source, lambda r_max: frames)
    trial = CrossValidation(start, folds(range(4), 2, 0))
    assert not start.frozen.any() and start.scales == pytest.approx([LENGTH], abs=0.002)
    fitted = trial.energies(np.array([LENGTH]), np.array([0, 1]))
    assert fitted.scales == pytest.approx([ENERGY], rel=1e-7) and fitted.shifts == pytest.approx([SHIFT], rel=1e-7)
    assert max(trial.unexplained(np.array([LENGTH])).values()) < 1e-12


def test_a_start_without_structures_fits_nothing(source):
    given = Start.of(TransferConfig("random", {"Ge": "Si"}, length_scale=1.05), source)
    assert given.scales == [1.05]
    with pytest.raises(ValueError, match="no labelled structures"):
        _ = Start.of(TransferConfig("random", {"Ge": "Si"}), source).scales


def test_another_map_of_the_same_structures(trial):
    """What is known of the source and the labels stays; λ is searched anew."""
    other = trial.start.remapped({"Ge": "random"})
    assert other.structures is trial.start.structures and other.config.elements == {"Ge": "random"}
    assert other.target.element_map.random.all() and not len(other.search.factors)


def test_chosen_structures_are_those_of_the_key():
    """Of more than 200, the same ones among which `length_scale: fit` searches; copies stay together."""
    structures = [bulk("Ge", "diamond", a=5.5 + 0.001 * (i // 2)) for i in range(300)]
    chosen = ChosenStructures.of(structures, 40, 4.0)
    seen = evenly_spaced(300, MAX_FRAMES)
    assert chosen.places == seen[evenly_spaced(len(seen), 40)].tolist() and len(chosen.picked) == 40
    few = ChosenStructures(structures, list(range(8)), [0, 0, 1, 1, 2, 2, 3, 3]).fewer(4)
    assert few.places == [0, 2, 5, 7] and few.families == [0, 1, 2, 3]
    parts = ChosenStructures(structures, list(range(8)), [0, 0, 1, 1, 2, 2, 3, 3]).folds(0)
    assert sorted(tuple(part // 2) for part in parts) == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_opposite_forces_resemble_nothing(source, crystals, trial_of):
    trial = trial_of(source, crystals(source, "Ge", 3, 5.7, energy=-1.0), {"Ge": "Si"})
    fitted = trial.energies(np.array([LENGTH]), np.arange(3))
    assert not fitted.resembles and fitted.scales == [1.0]
    # more than ln 1.2 where nothing is explained, or the search would settle here
    assert trial.start.search.objective(LENGTH / trial.start.search.guess[0]) == pytest.approx(np.log(2.0), rel=1e-14)


def test_missing_labels_count_one_by_one(trial):
    """An error is the mean over the labels there are, of each structure and component."""
    forces = trial.labels.forces.copy()
    forces[3, 1] = np.nan
    reference, moved = replace(trial.labels, forces=forces), replace(trial.labels, forces=trial.labels.forces + 0.3)
    assert label_error("forces", moved, reference, trial.counts).value == pytest.approx(0.3)
    assert label_error("forces", moved, reference.without_kinds("forces"), trial.counts) is None
    moved.forces[3, 1] += 1e6
    assert label_error("forces", moved, reference, trial.counts).high == pytest.approx(0.3)


def test_mean_error_and_its_interval():
    rng = np.random.default_rng(1)
    counts = np.full((40, 1), 10)
    structure = structure_of_label("forces", counts)
    size = rng.uniform(0.5, 1.5, 40)[structure][:, None] * np.ones(3)
    mae, rmse = mean_error(size, structure), mean_error(-size, structure, squared=True)
    assert mae.value == pytest.approx(size.mean()) and rmse.value == pytest.approx(np.sqrt((size**2).mean()))
    # over structures, of which there are 40, not over the 400 atoms
    expected = 1.96 * np.std(size[::10, 0]) / np.sqrt(40)
    assert (mae.high - mae.low) / 2 == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("n", [4, 10, 40])
def test_intervals_hold_the_mean_as_often_as_they_say(n):
    """Errors of structures whose distribution has a tail, as forces of liquids among crystals have; few and many."""
    rng = np.random.default_rng(0)
    samples = rng.lognormal(0, 0.5, size=(500, n))
    mean = np.exp(0.5**2 / 2)
    found = [mean_error(sample, np.arange(n)) for sample in samples]
    held = np.mean([estimate.low <= mean <= estimate.high for estimate in found])
    assert 0.87 < held < 0.98


def test_the_interval_of_an_error_does_not_reach_zero():
    """One large error among four: by differences its interval would reach below zero. Without errors it is zero."""
    for squared in (False, True):
        found = mean_error(np.array([0.01, 0.02, 0.02, 1.0]), np.arange(4), squared=squared)
        assert 0 < found.low < found.value < found.high
        nothing = mean_error(np.zeros(4), np.arange(4), squared=squared)
        assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 0.0)


def test_copies_say_nothing_new():
    """Each structure twice: the same interval, once the copies are told."""
    errors = np.random.default_rng(1).lognormal(0, 0.5, 8)
    once = mean_error(errors, np.arange(8))
    twice = mean_error(np.repeat(errors, 2), np.repeat(np.arange(8), 2))
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high), rel=1e-12)
    untold = mean_error(np.repeat(errors, 2), np.arange(16))
    assert untold.high - untold.low < 0.8 * (once.high - once.low)
