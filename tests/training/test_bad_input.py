"""Every mistake a user can make meets one clear sentence before training starts."""

import ase.io
import numpy as np
import pytest
import torch
from commands import run
from omegaconf import OmegaConf
from real_runs import MODEL, structures, train, training_config, transfer_config

from nequip_elemtransfer.key.look_ups import look_up


def resolve(config, name="model"):
    return look_up(name, OmegaConf.create(config))


def labelled_loss(*fields):
    """A loss that leaves missing labels out."""
    metric = {"_target_": "nequip.train.MeanSquaredError"}
    metrics = [{"name": f, "field": f, "coeff": 1.0, "ignore_nan": True, "metric": metric} for f in fields]
    return {"_target_": "nequip.train.MetricsManager", "metrics": metrics}


def with_frames(data, tmp_path, frames):
    """A data folder whose Ge training set is ``frames``."""
    folder = tmp_path / "data"
    folder.mkdir()
    ase.io.write(folder / "Ge_train.xyz", frames)
    (folder / "Ge_val.xyz").write_bytes((data / "Ge_val.xyz").read_bytes())
    return folder


def test_missing_source(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.ckpt.*does not exist.*nequip-train"):
        resolve(transfer_config(data, tmp_path / "none.ckpt"))


def test_source_that_is_a_folder(data, source):
    with pytest.raises(FileNotFoundError, match="source .* is a folder: give the path of a .ckpt file"):
        resolve(transfer_config(data, source.parent))


def test_missing_checkpoint_to_continue_from(data, source, tmp_path):
    """It is not the source that is missing."""
    config = transfer_config(data, source) | {"ckpt_path": str(tmp_path / "last.ckpt")}
    for name in ("type_names", "r_max", "model"):
        with pytest.raises(FileNotFoundError, match="`ckpt_path` is '.*last.ckpt', which is not a file: give"):
            resolve(config, name)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Ge": {"Si": 0.5, "Sn": 0.5}}, "starts 'Ge' from 'Sn', which is not a type of the source.*Choices: Si.$"),
        ({"Ge": {"Si": 0.7, "C": 0.2}}, r"blend for 'Ge' .* sum to 0.9: weights must sum to 1, as in {Si: 0.5"),
        ({"Ge": {"Si": 1.5, "C": -0.5}}, "blend for 'Ge' .* gives 'Si' the weight 1.5: weights are numbers from 0"),
        ({"bulk": "auto"}, "`elements: {bulk: auto}` needs chemical elements: the target is 'bulk' and .*types are Si"),
    ],
)
def test_maps_that_cannot_be(data, source, elements, message):
    with pytest.raises(ValueError, match=message):
        resolve(transfer_config(data, source, elements=elements))


def test_auto_with_no_element_in_the_source(data, source, tmp_path):
    checkpoint = torch.load(source, weights_only=True)
    checkpoint["hyper_parameters"]["model"]["type_names"] = ["bulk"]
    torch.save(checkpoint, tmp_path / "bulk.ckpt")
    with pytest.raises(ValueError, match="the target is 'Ge' and the source's types are bulk. Name a source type, or"):
        resolve(transfer_config(data, tmp_path / "bulk.ckpt", elements={"Ge": "auto"}))


def test_type_named_twice_in_the_config(data, source, tmp_path):
    """OmegaConf's own sentence, with the line; nothing of ours has run by then."""
    config = tmp_path / "twice.yaml"
    config.write_text(f"element_transfer:\n  source: {source}\n  elements: {{Ge: Si, Ge: Sn}}\n")
    done = run("nequip-train", "-cp", tmp_path, "-cn", "twice", cwd=tmp_path, check=False)
    assert done.returncode != 0
    assert "found duplicate key Ge" in done.stderr and "twice.yaml" in done.stderr and "line 3" in done.stderr


def test_type_named_twice_on_the_command_line(data, source, tmp_path):
    """Hydra would keep the last."""
    override = "element_transfer.elements={Ge:Sn,Ge:Si}"
    done = train(tmp_path, transfer_config(data, source), override, check=False)
    assert done.returncode != 0
    assert f"the override '{override}' names a type twice (found duplicate key Ge): keep one." in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a checkpoint at all", "cannot be read|not a checkpoint"),
    ],
)
def test_unreadable_source(data, tmp_path, content, message):
    (tmp_path / "si.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        resolve(transfer_config(data, tmp_path / "si.ckpt"))


def test_truncated_source(data, source, tmp_path):
    (tmp_path / "si.ckpt").write_bytes(source.read_bytes()[:20000])
    with pytest.raises(ValueError, match="truncated or not a checkpoint"):
        resolve(transfer_config(data, tmp_path / "si.ckpt"))


def test_foreign_source(data, tmp_path):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "si.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of NequIP"):
        resolve(transfer_config(data, tmp_path / "si.ckpt"))


def test_sha256_mismatch_names_both(data, source):
    with pytest.raises(ValueError, match=f"(?s)has the SHA-256 [0-9a-f]{{64}}.*says {'0' * 64}"):
        resolve(transfer_config(data, source, sha256="0" * 64))


def test_unknown_source_type_lists_what_there_is(data, source):
    config = transfer_config(data, source)
    config["element_transfer"]["elements"] = {"Ge": "si"}
    with pytest.raises(ValueError, match="'si'.*not a type of the source; did you mean 'Si'.*Choices: Si"):
        resolve(config)


def test_target_that_is_no_element_has_no_covalent_radius(data, source):
    config = transfer_config(data, source)
    config["element_transfer"]["elements"] = {"GeBulk": "Si"}
    with pytest.raises(ValueError, match="'GeBulk' is not a chemical element.*number, `fit` or `none`"):
        resolve(config, "r_max")


def test_data_with_another_element(data, source, tmp_path):
    frames = structures("Ge", 2)
    frames[1].symbols[0] = "Si"
    with pytest.raises(ValueError, match="structure 1 holds Si, .*`elements` \\(Ge\\)"):
        resolve(transfer_config(with_frames(data, tmp_path, frames), source))


def test_short_neighbour_lists(data, source):
    config = transfer_config(data, source)
    config["data"]["transforms"][1]["r_max"] = 4.0
    with pytest.raises(ValueError, match=r"data.transforms\[1\].r_max` is 4.0, .* r_max = 4.32432 Å.*transfer:r_max"):
        resolve(config)


@pytest.mark.parametrize(
    ("missing", "setting"), [(["forces", "stress"], "energy_scale"), (["energy"], "energy_shifts")]
)
def test_fit_without_labels(data, source, tmp_path, missing, setting):
    """Two energies, less one shift, say nothing of a scale."""
    frames = structures("Ge", 2)
    for atoms in frames:
        for label in missing:
            del atoms.calc.results[label]
    config = transfer_config(with_frames(data, tmp_path, frames), source)
    config["training_module"]["loss"] = labelled_loss(*({"total_energy", "forces"} - {*missing, "total_" + missing[0]}))
    with pytest.raises(ValueError, match=f"`element_transfer.{setting}: fit` needs"):
        resolve(config)


def test_a_loss_that_asks_for_what_no_structure_has(data, source, tmp_path):
    """NequIP would meet it after the fits, as a bare KeyError."""
    frames = structures("Ge", 2)
    for atoms in frames:
        del atoms.calc.results["forces"]
    with pytest.raises(ValueError, match="`training_module.loss` asks for forces, which no structure of the training"):
        resolve(transfer_config(with_frames(data, tmp_path, frames), source))


def test_labels_that_are_not_finite(data, source, tmp_path):
    """NaN is a missing label; infinity is none."""
    frames = structures("Ge", 2)
    frames[1].calc.results["forces"][3, 1] = np.nan
    folder = with_frames(data, tmp_path, frames)
    with pytest.raises(ValueError, match="structure 1 of the training set .* lacks forces .NaN., .*`ignore_nan: true`"):
        resolve(transfer_config(folder, source))
    config = transfer_config(folder, source)
    config["training_module"]["loss"] = labelled_loss("total_energy", "forces")
    provenance = resolve(config)["provenance"]
    assert provenance["missing_labels"] == {"energy": 0, "forces": 1, "stress": 0}
    frames[1].calc.results["forces"][3, 1] = np.inf
    ase.io.write(folder / "Ge_train.xyz", frames)
    with pytest.raises(ValueError, match="structure 1 of .* has an infinite forces label of atom 3"):
        resolve(transfer_config(folder, source) | {"again": True})


def test_unknown_builder(data, source, tmp_path):
    checkpoint = torch.load(source, weights_only=True)
    checkpoint["hyper_parameters"]["model"]["_target_"] = "nequip.data.from_ase"
    torch.save(checkpoint, tmp_path / "si.ckpt")
    with pytest.raises(ValueError, match="'nequip.data.from_ase' is not a NequIP model builder"):
        resolve(transfer_config(data, tmp_path / "si.ckpt"))


def test_source_that_names_a_lost_file(data, source, tmp_path):
    checkpoint = torch.load(source, weights_only=True)
    lost = {"_target_": "nequip.model.ModelFromPackage", "package_path": str(tmp_path / "gone.nequip.zip")}
    checkpoint["hyper_parameters"]["model"] = lost
    torch.save(checkpoint, tmp_path / "si.ckpt")
    with pytest.raises(ValueError, match="ModelFromPackage from '.*gone.nequip.zip'.*Put that file back"):
        resolve(transfer_config(data, tmp_path / "si.ckpt"))


def test_key_that_is_no_mapping(data, source):
    with pytest.raises(ValueError, match="must be a mapping .* found 'Ge'"):
        resolve(transfer_config(data, source) | {"element_transfer": "Ge"})


def test_source_that_does_not_resemble_the_target(data, source, tmp_path):
    frames = structures("Ge", 3)
    for atoms in frames:
        atoms.calc.results = {label: -value for label, value in atoms.calc.results.items()}
    # the tiny source is hardly trained: give it forces of the right sign first
    config = transfer_config(with_frames(data, tmp_path, frames), source)
    provenance = resolve(transfer_config(data, source))["provenance"]
    assert provenance["energy_scale"]["per_type"]["Ge"] > 0
    with pytest.raises(ValueError, match="found α = -.*another source type"):
        resolve(config)


def test_type_that_the_data_take_for_an_element(data, source):
    config = transfer_config(data, source, elements={"GeBulk": "Si"}, length_scale="none")
    with pytest.raises(ValueError, match=r"transforms\[0\]` takes the type 'GeBulk' for a chemical symbol, which"):
        resolve(config)


@pytest.mark.parametrize("section", [None, "Ge.xyz", ["Ge.xyz"]])
def test_data_that_are_no_section(data, source, section):
    with pytest.raises(ValueError, match="whose `data` is no section with a datamodule, but "):
        resolve(transfer_config(data, source) | {"data": section})


def test_unknown_look_up(data, source):
    with pytest.raises(ValueError, match="rmax.*did you mean 'r_max'"):
        resolve(transfer_config(data, source), "rmax")


def test_nequip_train_stops_before_training_and_writes_no_checkpoint(data, source, tmp_path):
    done = train(tmp_path, transfer_config(data, source, length_scale="covalent"), check=False)
    assert done.returncode != 0
    assert "`element_transfer.length_scale` is 'covalent'; did you mean 'covalent_radii'?" in done.stderr
    assert not list(tmp_path.rglob("*.ckpt"))
    assert "TRAIN RUN START" not in done.stdout


def test_energy_only_source(data, tmp_path):
    """A source without forces starts an energy-only target; without energies its scales cannot be fitted."""
    model = MODEL | {"do_derivatives": False}
    config = training_config(data, "Si", model)
    config["training_module"]["loss"] = {"_target_": "nequip.train.EnergyOnlyLoss"}
    config["training_module"]["val_metrics"] = {"_target_": "nequip.train.EnergyOnlyMetrics"}
    train(tmp_path, config)
    checkpoint = tmp_path / "out" / "best.ckpt"
    with pytest.raises(ValueError, match="`element_transfer.energy_scale: fit` needs forces, energies or stresses"):
        resolve(transfer_config(data, checkpoint, fit_weights={"energy": 0}))
    provenance = resolve(transfer_config(data, checkpoint, energy_scale="none"))["provenance"]
    assert [row["force_mae"] for row in provenance["zero_shot"]] == [None] * 4
    assert provenance["zero_shot"][-1]["energy_mae"] < provenance["zero_shot"][0]["energy_mae"]
