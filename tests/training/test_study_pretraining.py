"""A start of a study with a pre-training of its own, as on a teacher's labels."""

import json

import ase.io
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from real_runs import structures
from studies import run_study


@pytest.fixture(scope="module")
def taught(study, data, labelled, tmp_path_factory):
    """The folder of a study with a pre-training on labels whose zero is 5 eV per atom above those of the study's."""
    folder = tmp_path_factory.mktemp("taught")
    frames = structures("Ge", 6, seed=2)
    for atoms in frames:
        results = {**atoms.calc.results, "energy": atoms.get_potential_energy() + 5.0 * len(atoms)}
        atoms.calc = SinglePointCalculator(atoms, **results)
    ase.io.write(folder / "teacher.xyz", frames)
    pretrain = {
        "config": "transfer",
        "overrides": ["trainer.max_epochs=3"],
        "structures": {"train": str(folder / "teacher.xyz")},
    }
    key = [
        "element_transfer.elements={Ge: Ge}",
        "element_transfer.length_scale=none",
        "+element_transfer.kept_types=fit",
    ]
    teacher = {"config": "transfer", "overrides": key, "pretrain": pretrain}
    file = study("teacher", starts={"teacher": teacher}, sizes=[3])
    out = folder / "out"
    code, printed = run_study(file, out)
    assert code == 0 and printed.startswith("2 tasks finished, 0 failed")
    return out


def test_a_teacher_start_begins_where_its_pretraining_ended(taught, source):
    pretrained = taught / "runs" / "pretrain-teacher" / "best.ckpt"
    saved = [
        torch.load(path, weights_only=True) for path in (pretrained, taught / "runs" / "teacher-n3-seed0" / "best.ckpt")
    ]
    first, second = (checkpoint["hyper_parameters"]["model"]["provenance"] for checkpoint in saved)
    assert (first["elements"], first["source"]) == ({"Ge": "Si"}, str(source))
    assert (second["elements"], second["source"]) == ({"Ge": "Ge"}, str(pretrained))
    assert saved[0]["global_step"] == 3 * 2  # three epochs of two batches


def test_a_teacher_start_has_the_energy_zero_of_its_own_labels(taught):
    """Before the first step: the teacher's zero lies 5 eV/atom higher, and nothing of it is left."""
    report = json.loads((taught / "report.json").read_text())
    pretraining, teacher = (run["validations"] for run in report["runs"])
    assert teacher[0]["steps"] == 0 and teacher[0]["energy_mae"] < 0.1
    # the pre-trained model itself: its validation set is the config's, with the other zero
    assert pretraining[-1]["energy_mae"] > 4.0
    # it is trained, not compared
    assert [curve["start"] for curve in report["curves"]] == ["teacher"]
