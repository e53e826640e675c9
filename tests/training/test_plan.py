"""The command ``nequip-elemtransfer plan`` on a really trained source, and the training it writes."""

import json
import sys

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from commands import run
from nequip.model import ModelFromCheckpoint
from real_runs import structures

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.deploy.train_dir import best_checkpoint


@pytest.fixture(scope="module")
def planned(data, source, tmp_path_factory):
    """A folder with the files of a plan, and what the command printed."""
    folder = tmp_path_factory.mktemp("plan")
    options = ["--out", folder / "out", "--seed", "3", "--lattice-ratio", "1.041"]
    done = run("nequip-elemtransfer", "plan", source, data / "Ge_train.xyz", *options, cwd=folder)
    return folder / "out", done.stdout


def test_files_and_output(planned):
    out, printed = planned
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json", "train.yaml"]
    report = json.loads((out / "report.json").read_text())
    assert printed.startswith(f"Verdict: {report['verdict']['word']} (")
    assert report["elements"] == {"Ge": "Si"} and report["proposed"] == ["Ge"]
    for name in ("length_scale", "energy_scale"):
        value, error = report[name]["Ge"], report[f"{name}_errors"]["Ge"]
        assert 0 < error < 0.2 * value
        assert (
            f"{value:.4f} ± {error:.4f}" in printed
            and f"{value:.4f} ± {error:.4f}" in (out / "report.html").read_text()
        )
    assert [step["name"] for step in report["ladder"]][-1] == "+ energy shifts"
    assert set(report["scan"]["marks"]) == {"covalent radii", "lattice", "fit"}
    # the checkpoint names its training file, so both kinds of features are compared at each length
    assert {step["features"] for step in report["adversarial"]} == {"model", "ACSF"}
    assert {step["lengths"] for step in report["adversarial"]} == {"as they are", "λ", "equal volume"}


def test_report_needs_nothing_else(planned):
    html = (planned[0] / "report.html").read_text()
    assert html.count("<svg") >= 3 and "prefers-color-scheme: dark" in html
    for outside in ("src=", "<link", "@import", "url(http"):
        assert outside not in html


@pytest.fixture(scope="module")
def trained(planned, tmp_path_factory):
    """The plan's training of five steps, three of two epochs of six structures; none is held back."""
    folder = tmp_path_factory.mktemp("trained")
    options = ["max_steps=5", "data.train_dataloader.batch_size=2", f"hydra.run.dir={folder}/run"]
    run("nequip-train", "-cp", planned[0], "-cn", "train", *options, cwd=folder)
    return folder / "run"


def test_none_is_held_back_and_the_last_state_is_the_model(trained, planned, data, tmp_path):
    """All structures are trained on, the rate ends at zero, and every state of the end is in the file."""
    config = yaml.safe_load((planned[0] / "train.yaml").read_text())
    assert config["data"]["train_file_path"] == str(data / "Ge_train.xyz") and "split_dataset" not in config["data"]
    best, last = (torch.load(trained / name, weights_only=True) for name in ("best.ckpt", "last.ckpt"))
    for saved in (best, last):
        assert saved["global_step"] == 5 and saved["lr_schedulers"][0]["_last_lr"] == [0.0]
        assert saved["state_dict"].keys() == best["state_dict"].keys()
    assert "val0" not in (trained / "metrics" / "metrics.csv").read_text()
    # what NequIP loads are the averaged weights
    model = ModelFromCheckpoint(str(trained / "best.ckpt"))
    for i, weight in enumerate(model.parameters()):
        torch.testing.assert_close(weight.detach(), best["state_dict"][f"ema.ema_weight_{i}"], rtol=0, atol=0)
    assert best_checkpoint(trained).name == "best.ckpt"


def test_a_training_without_validation_goes_on_to_the_same_weights(trained, planned, tmp_path):
    """Stopped after an epoch and continued from its last state."""
    common = ["max_steps=5", "data.train_dataloader.batch_size=2"]
    order = "trainer.callbacks=[{_target_:nequip_elemtransfer.RestoreBatchOrder},${saved}]"
    saved = yaml.safe_load((planned[0] / "train.yaml").read_text())["trainer"]["callbacks"][0]
    text = "{" + ",".join(f"{k}:{v}".replace("${hydra:", "${hydra:") for k, v in saved.items()) + "}"
    order = order.replace("${saved}", text.replace("True", "true").replace("False", "false"))
    first = [f"hydra.run.dir={tmp_path}/first", "trainer.max_steps=3", order]
    run("nequip-train", "-cp", planned[0], "-cn", "train", *common, *first, cwd=tmp_path)
    rest = [f"hydra.run.dir={tmp_path}/rest", order, f"++ckpt_path={tmp_path}/first/last.ckpt"]
    run("nequip-train", "-cp", planned[0], "-cn", "train", *common, *rest, cwd=tmp_path)
    states = [
        torch.load(path, weights_only=True)["state_dict"]
        for path in (trained / "last.ckpt", tmp_path / "rest" / "last.ckpt")
    ]
    for name, value in states[0].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(states[1][name], value, rtol=0, atol=0, msg=name)


def test_config_trains_the_start_of_the_plan(planned, trained):
    """λ, α and μ reach the checkpoint to the digits written; energies before training are those of the plan."""
    out, _ = planned
    saved = torch.load(trained / "last.ckpt", weights_only=True)["hyper_parameters"]["model"]["provenance"]
    report = json.loads((out / "report.json").read_text())
    for name, key in (("length_scale", "length_scale"), ("energy_scale", "energy_scale"), ("energy_shifts",) * 2):
        assert saved[key]["per_type"]["Ge"] == pytest.approx(report[name]["Ge"], abs=1e-6)


def test_nothing_is_overwritten(planned, data, source, capsys):
    out, _ = planned
    before = (out / "train.yaml").read_bytes()
    assert main(["plan", str(source), str(data / "Ge_train.xyz"), "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err and (out / "train.yaml").read_bytes() == before


@pytest.fixture
def labelled(tmp_path):
    """Writes structures to a file and gives its path."""

    def write(frames):
        ase.io.write(tmp_path / "structures.xyz", frames)
        return str(tmp_path / "structures.xyz")

    return write


def plan_of(source, file, capsys, *options):
    assert main(["plan", str(source), file, *options]) == 0
    return capsys.readouterr().out


def test_energies_alone(source, labelled, capsys, tmp_path):
    frames = structures("Ge", 4)
    for atoms in frames:
        del atoms.calc.results["forces"]
    printed = plan_of(source, labelled(frames), capsys, "--out", str(tmp_path / "out"))
    assert "Verdict: not known before training: race" in printed and "No structure has forces" in printed
    run(
        "nequip-train",
        "-cp",
        tmp_path / "out",
        "-cn",
        "train",
        "max_steps=2",
        f"hydra.run.dir={tmp_path}/run",
        cwd=tmp_path,
    )
    assert (tmp_path / "run" / "best.ckpt").exists()


def test_missing_labels_train_from_copies(source, labelled, capsys, tmp_path):
    """A batch without stresses, and structures without an energy or forces, reach the end of a training."""
    frames = structures("Ge", 6)
    for atoms in frames:
        atoms.calc.results["stress"] = np.zeros(6)
    del frames[1].calc.results["energy"], frames[2].calc.results["forces"]
    for atoms in frames[2:]:
        del atoms.calc.results["stress"]
    plan_of(source, labelled(frames), capsys, "--out", str(tmp_path / "held"), "--hold-back", "1")
    assert sorted(path.name for path in (tmp_path / "held").iterdir())[2:] == ["train.xyz", "train.yaml", "val.xyz"]
    plan_of(source, labelled(frames), capsys, "--out", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[2:] == ["train.xyz", "train.yaml"]
    short = ["max_steps=6", f"hydra.run.dir={tmp_path}/run", "data.train_dataloader.batch_size=1"]
    run("nequip-train", "-cp", tmp_path / "out", "-cn", "train", *short, cwd=tmp_path)
    weights = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(w).all() for w in weights.values() if isinstance(w, torch.Tensor))


def test_more_of_the_same(source, labelled, capsys):
    """Silicon from silicon: nothing is fitted, and no classifier tells the two apart."""
    printed = plan_of(source, labelled(structures("Si", 8, seed=7)), capsys)
    assert next(line for line in printed.splitlines() if line.startswith("Si ")).split()[:4] == [
        "Si",
        "Si",
        "1.0000",
        "1.0000",
    ]
    aucs = [line for line in printed.splitlines() if line.startswith(("the model's", "ACSF"))]
    assert len(aucs) == 2 and all("as they are" in line for line in aucs)
    for line in aucs:
        low, high = line[line.index("[") + 1 : -1].split(",")
        assert float(low) < 0.5 < float(high)


def test_one_structure(source, labelled, capsys):
    printed = plan_of(source, labelled(structures("Ge", 1)), capsys)
    assert "Verdict: not known before training: race" in printed and "leaves nothing to hold out" in printed
    assert " ± ?" in printed


def test_molecules_among_crystals(source, labelled, capsys):
    frames = structures("Ge", 4)
    dimer = Atoms("Ge2", positions=[[0, 0, 0], [0, 0.1, 2.5]])
    dimer.calc = SinglePointCalculator(dimer, energy=-4.0, forces=[[0, 0, 0.3], [0, 0, -0.3]])
    printed = plan_of(source, labelled([*frames, dimer]), capsys)
    assert "4 periodic and 1 molecular structures are mixed" in " ".join(printed.split())
    assert printed.startswith("Verdict: ")


def test_features_that_cannot_be_read(source, labelled, capsys, monkeypatch):
    monkeypatch.setattr("nequip_elemtransfer.plan.likeness.source_structures.model_environments", lambda *args: None)
    printed = plan_of(source, labelled(structures("Ge", 4)), capsys)
    assert "only the descriptor was used" in printed and "the model's" not in printed and "ACSF" in printed


def test_package_has_no_source_structures(source_package, data, labelled, capsys):
    """The classifier is left out, unless the structures are given; the file is named in the config as it is."""
    file = labelled(structures("Ge", 4))
    printed = plan_of(source_package, file, capsys)
    assert (
        "ROC AUC" not in printed
        and "the source names no file of training structures; give --source-data FILE" in printed
    )
    assert "ROC AUC" in plan_of(source_package, file, capsys, "--source-data", str(data / "Si_train.xyz"))
    assert main(["plan", str(source_package), file, "--source-data", file]) == 2
    assert "hold Ge, which no type of the model covers (Si)" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["sklearn", "dscribe", "matplotlib", "jinja2"])
def test_missing_extra(source, data, capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["plan", str(source), str(data / "Ge_train.xyz")]) == 2
    error = capsys.readouterr().err
    assert repr(module) in error and "nequip-elemtransfer[plan]" in error and error.count("\n") == 1


def test_uncovered_element(source, labelled, capsys):
    frames = structures("Ge", 2)
    frames[1].symbols[0] = "C"
    assert main(["plan", str(source), labelled(frames), "--elements", "Ge=Si", "Ge=Sn"]) == 2
    assert capsys.readouterr().err == "nequip-elemtransfer: --elements names 'Ge' twice: give each type once.\n"
    # carbon is given a start as well
    assert "\nC " in plan_of(source, labelled(frames), capsys, "--elements", "Ge=Si")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["nowhere.ckpt", "DATA"], "nowhere.ckpt"),
        (["SOURCE", "nowhere.xyz"], "'nowhere.xyz' does not exist"),
        (["SOURCE", "DATA", "--elements", "Ge"], "pairs such as Ge=Si"),
        (["SOURCE", "DATA", "--elements", "Ge=Sn"], "'Sn', which is not a type of the source"),
        (["SOURCE", "DATA", "--elements", "Ge=Si:x"], "a blend is written as"),
        (["SOURCE", "DATA", "--source-data", "nowhere.xyz"], "'nowhere.xyz' does not exist"),
        (["SOURCE", "DATA", "--max-structures", "0"], "at least 1, found 0"),
        (["SOURCE", "DATA", "--lattice-ratio", "-1"], "must be positive, found -1.0"),
    ],
)
def test_bad_input_is_one_sentence(source, data, tmp_path, capsys, arguments, sentence):
    named = {"SOURCE": str(source), "DATA": str(data / "Ge_train.xyz")}
    out = tmp_path / "out"
    assert main(["plan", *(named.get(a, a) for a in arguments), "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("nequip-elemtransfer: ") and sentence in error and not out.exists()


def test_structures_are_fitted_from_their_own_labels_only(source, labelled, capsys):
    """A shift of all energies moves μ and nothing else."""
    frames = structures("Ge", 4)
    first = plan_of(source, labelled(frames), capsys).splitlines()
    for atoms in frames:
        atoms.calc.results["energy"] += 2.5 * len(atoms)
    moved = plan_of(source, labelled(frames), capsys).splitlines()
    start = [next(line for line in lines if line.startswith("Ge ")).split() for lines in (first, moved)]
    assert start[0][:-1] == start[1][:-1]
    np.testing.assert_allclose(float(start[1][-1]) - float(start[0][-1]), 2.5, atol=1e-3)
