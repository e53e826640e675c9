"""What a plan writes of files with other names: a train.yaml with which NequIP reads what the plan has read."""

import ase.io
import numpy as np
import pytest
import yaml
from damages import as_virials, beside, called, copied, set_label, times
from omegaconf import OmegaConf

from nequip_elemtransfer.cli import main
from nequip_elemtransfer.key.asked_labels import asked_labels
from nequip_elemtransfer.plan import making
from nequip_elemtransfer.structures.named_files import named_files
from nequip_elemtransfer.structures.training_data import training_frames

N = 6


@pytest.fixture
def planned(source, crystals, tmp_path, monkeypatch):
    """Runs `plan` on changed structures in a working folder, and gives its train.yaml."""
    monkeypatch.setattr(making, "load_source", lambda path: source)
    monkeypatch.setattr(making, "source_structures", lambda *args: ([], "there are none"))
    monkeypatch.chdir(tmp_path)
    good = crystals(source, "Ge", N, 5.7)

    def run(change, *options, spec="structures.xyz"):
        frames = [copied(atoms) for atoms in good]
        for one in change if isinstance(change, list) else [change]:
            one(frames)
        ase.io.write("structures.xyz", frames)
        assert main(["plan", "nequip.net:a/source:1", spec, "--out", "out", "--max-structures", "4", *options]) == 0
        return yaml.safe_load((tmp_path / "out" / "train.yaml").read_text())

    return run, good


def frames_of(config):
    """What NequIP trains on, by energy; the key's checks are made on the way."""
    data = config["data"]
    if data.get("val_file_path") == "${data.train_file_path}":
        data["val_file_path"] = data["train_file_path"]
    data["transforms"][0]["model_type_names"], data["transforms"][1]["r_max"] = ["Ge"], 4.0
    data = OmegaConf.to_container(OmegaConf.create({"data": data | {"seed": 0}}), resolve=True)["data"]
    asked = asked_labels({name: config["training_module"][name] for name in ("loss", "val_metrics")}, ["Ge"])
    return {round(float(frame["total_energy"]), 6): frame for frame in training_frames(data, ["Ge"], asked)}


def assert_trains_on(config, good):
    frames = frames_of(config)
    expected = {round(atoms.calc.results["energy"], 6): atoms for atoms in good}
    assert frames and {*frames} <= {*expected}
    for energy, frame in frames.items():
        np.testing.assert_allclose(frame["forces"], expected[energy].calc.results["forces"], atol=1e-6)
        np.testing.assert_allclose(frame["stress"][0], expected[energy].calc.results["stress"], atol=1e-8)


KEY = ("--key", "dft_energy=energy", "--key", "dft_forces=forces")


def test_the_key_mapping_is_carried_on(planned, capsys):
    run, good = planned
    config = run([called("energy", "dft_energy"), called("forces", "dft_forces")], *KEY)
    assert config["data"]["key_mapping"] == {"dft_energy": "total_energy", "dft_forces": "forces"}
    assert "Read dft_energy as energy and dft_forces as forces in 'structures.xyz'." in capsys.readouterr().out
    assert_trains_on(config, good)


def test_another_calculators_labels_are_left_out_of_the_training(planned, tmp_path):
    run, good = planned
    config = run(beside("forces", "REF_forces"), "--key", "REF_forces=")
    assert config["data"]["exclude_keys"] == ["REF_forces"]
    assert_trains_on(config, good)
    config = run(beside("forces", "REF_forces"), "--key", "REF_forces=forces", "--force")
    assert config["data"]["key_mapping"] == {"REF_forces": "forces"}
    assert config["data"]["exclude_keys"] == ["forces"]
    for energy, frame in frames_of(config).items():
        one = next(atoms for atoms in good if abs(atoms.calc.results["energy"] - energy) < 1e-5)
        np.testing.assert_allclose(frame["forces"], 1.2 * one.calc.results["forces"], atol=1e-6)


def test_virials_become_stresses_in_copies_with_absolute_paths(planned, tmp_path):
    run, good = planned
    config = run([as_virials, called("energy", "dft_energy")], "--key", "virial=virial", "--key", "dft_energy=energy")
    data = config["data"]
    assert data["train_file_path"] == str(tmp_path / "out" / "train.xyz")
    assert "key_mapping" not in data and "exclude_keys" not in data
    assert_trains_on(config, good)


def test_a_selection_of_ase(planned, tmp_path):
    run, good = planned
    config = run(lambda frames: None, spec="structures.xyz@1:5")
    assert [file.spec for file in named_files(config["data"])][0] == f"{tmp_path}/structures.xyz@1:5"
    assert_trains_on(config, good[1:5])


KCAL = [times(name, 1 / 0.04336410390059322) for name in ("energy", "forces", "stress")]


@pytest.mark.parametrize("named_in_file", [False, True])
def test_other_units_become_eV_in_copies(named_in_file, planned):
    run, good = planned

    def name_units(structures):
        for atoms in structures:
            atoms.info |= {"energy-unit": "kcal/mol", "forces-unit": "kcal/mol/Å", "stress-unit": "kcal/mol/Å^3"}

    options = [] if named_in_file else ["--energy-unit", "kcal/mol"]
    config = run([*KCAL, name_units] if named_in_file else KCAL, *options)
    assert "train.xyz" in config["data"]["train_file_path"]
    assert_trains_on(config, good)


def test_placeholders_are_missing_in_copies(planned):
    run, good = planned
    frames = frames_of(run(set_label("stress", 0.0, range(4))))
    expected = {round(atoms.calc.results["energy"], 6): i for i, atoms in enumerate(good)}
    for energy, frame in frames.items():
        assert bool(np.isnan(frame["stress"]).all()) == (expected[energy] < 4)
