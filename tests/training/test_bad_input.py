"""Every mistake a user can make meets one clear sentence before training starts."""

import ase.io
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from real_runs import MODEL, structures, train, training_config, transfer_config

from nequip_elemtransfer.resolvers import look_up


def resolve(config, name="model"):
    return look_up(name, OmegaConf.create(config))


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
    with pytest.raises(ValueError, match=r"r_max = 4.324 Å needs.*element_transfer:r_max"):
        resolve(config)


@pytest.mark.parametrize(("missing", "setting"), [("forces", "energy_scale"), ("energy", "energy_shifts")])
def test_fit_without_labels(data, source, tmp_path, missing, setting):
    frames = structures("Ge", 2)
    for atoms in frames:
        del atoms.calc.results[missing]
    with pytest.raises(ValueError, match=f"`element_transfer.{setting}: fit` needs"):
        resolve(transfer_config(with_frames(data, tmp_path, frames), source))


def test_labels_that_are_not_finite(data, source, tmp_path):
    frames = structures("Ge", 2)
    frames[1].calc.results["forces"][3, 1] = np.nan
    with pytest.raises(ValueError, match="structure 1 has labels in 'forces' that are not finite"):
        resolve(transfer_config(with_frames(data, tmp_path, frames), source))


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
        atoms.calc.results["forces"] *= -1
    # the tiny source is hardly trained: give it forces of the right sign first
    config = transfer_config(with_frames(data, tmp_path, frames), source)
    provenance = resolve(transfer_config(data, source))["provenance"]
    assert provenance["energy_scale"]["per_type"]["Ge"] > 0
    with pytest.raises(ValueError, match="found α = -.*another source type"):
        resolve(config)


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
    """A source without forces starts an energy-only target; its scales cannot be fitted."""
    model = MODEL | {"do_derivatives": False}
    config = training_config(data, "Si", model)
    config["training_module"]["loss"] = {"_target_": "nequip.train.EnergyOnlyLoss"}
    config["training_module"]["val_metrics"] = {"_target_": "nequip.train.EnergyOnlyMetrics"}
    train(tmp_path, config)
    checkpoint = tmp_path / "out" / "best.ckpt"
    with pytest.raises(ValueError, match="`element_transfer.energy_scale: fit` needs forces"):
        resolve(transfer_config(data, checkpoint))
    provenance = resolve(transfer_config(data, checkpoint, energy_scale="none"))["provenance"]
    assert [row["force_mae"] for row in provenance["zero_shot"]] == [None] * 4
    assert provenance["zero_shot"][-1]["energy_mae"] < provenance["zero_shot"][0]["energy_mae"]
