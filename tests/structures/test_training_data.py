"""The files of a NequIP ``data:`` section, at any place in it, meet the same checks before any transform or fit."""

import gzip
import io

import ase.io
import numpy as np
import pytest
import torch
from made_files import ATOMS, CELL, ENERGIES, as_text, crystals, forces, labelled, stress, virial, written
from nequip.data.dataset import ASEDataset

from nequip_elemtransfer.key.asked_labels import asked_labels
from nequip_elemtransfer.structures.named_files import named_files
from nequip_elemtransfer.structures.names import options_of
from nequip_elemtransfer.structures.training_data import CheckedDataset, training_frames

MAPPER = {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": ["Ge"]}
NEIGHBOURS = {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": 3.0}
TRANSFORMS = [MAPPER, NEIGHBOURS]
FORCES = {"total_energy": False, "forces": False}
ASKED = {"train": FORCES, "val": FORCES}


def ase_module(**entries):
    """A section of NequIP's ASEDataModule whose batches have several structures."""
    loaders = {f"{role}_dataloader": {"batch_size": 2} for role in ("train", "val", "test")}
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 0,
        "transforms": TRANSFORMS,
        **loaders,
        **entries,
    }


def dataset(path, **entries):
    return {"_target_": "nequip.data.dataset.ASEDataset", "file_path": str(path), "transforms": TRANSFORMS, **entries}


def nequip_module(**entries):
    return {"_target_": "nequip.data.datamodule.NequIPDataModule", "seed": 0, **entries}


# Where a config may name a file: from the file at fault and a good one to a section
PLACES = {
    "train_file_path": lambda bad, good: ase_module(train_file_path=bad, val_file_path=good),
    "one of several": lambda bad, good: ase_module(train_file_path=[good, bad], val_file_path=good),
    "val_file_path": lambda bad, good: ase_module(train_file_path=good, val_file_path=[good, bad]),
    "test_file_path": lambda bad, good: ase_module(train_file_path=good, val_file_path=good, test_file_path=bad),
    "split_dataset": lambda bad, good: ase_module(split_dataset={"file_path": bad, "train": 0.5, "val": 0.5}),
    "one of the splits": lambda bad, good: ase_module(
        split_dataset=[{"file_path": good, "train": 0.5, "val": 0.5}, {"file_path": bad, "val": 0.5, "test": 0.5}]
    ),
    "NequIPDataModule": lambda bad, good: nequip_module(train_dataset=[dataset(bad)], val_dataset=dataset(good)),
    "its split": lambda bad, good: nequip_module(split_dataset={"dataset": dataset(bad), "train": 0.5, "val": 0.5}),
    "its test set": lambda bad, good: nequip_module(
        train_dataset=dataset(good), val_dataset=dataset(good), test_dataset=[dataset(bad)]
    ),
    "a part of it": lambda bad, good: nequip_module(
        train_dataset={
            "_target_": "nequip.data.dataset.SubsetByRandomSlice", "dataset": dataset(bad), "start": 0, "length": 1,
            "seed": 0,
        },
        val_dataset=dataset(good),
    ),
}  # fmt: skip


def text(made):
    buffer = io.StringIO()
    ase.io.write(buffer, made, format="extxyz")
    return buffer.getvalue()


FAULTS = {
    "an empty line": (
        text(labelled(n=1)) + "\n" + text(labelled(n=1)),
        "text behind the empty line 5, where ASE stops",
    ),
    "an integer energy": (as_text((CELL + " energy=-4", ATOMS)) * 2, "structure 0 of .*energy '-4'.*decimal point"),
    "stars": (as_text((CELL + " energy=****", ATOMS)) * 2, r"structure 0 of .*energy '\*\*\*\*'"),
    "a NaN cell": (as_text((CELL.replace("0 2.8", "nan 2.8", 1), ATOMS)) * 2, "cell of structure 0 of .* finite"),
    "no atoms": ("0\n\n" * 2, "structure 0 of .* has no atoms"),
    "a flat cell": (as_text((CELL.replace("2.8 2.8 0", "2.8 2.8 5.6", 1), ATOMS)) * 2, "structure 0 of .* plane"),
    "a name of another": (text(labelled(forces_as="dft_forces")), "'dft_forces' .*key_mapping: {dft_forces: forces}"),
    "two answers": (
        text(labelled(REF_forces=lambda i, a: forces(i) + 0.3)),
        r"two answers.*`exclude_keys: \[REF_forces\]`",
    ),
    "prose": ("It was a dark and stormy night.\n", "cannot be read by ASE"),
}


@pytest.fixture
def good(tmp_path):
    return str(written(tmp_path, labelled(), "good.xyz"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", ["an empty line", "a name of another"])
def test_every_place_is_looked_at(place, fault, good, tmp_path):
    made, pattern = FAULTS[fault]
    data = PLACES[place](str(written(tmp_path, made, "bad.xyz")), good)
    with pytest.raises(ValueError, match=pattern):
        training_frames(data, ["Ge"], ASKED)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_seen(fault, good, tmp_path):
    made, pattern = FAULTS[fault]
    with pytest.raises(ValueError, match=pattern):
        training_frames(PLACES["split_dataset"](str(written(tmp_path, made, "bad.xyz")), good), ["Ge"], ASKED)


@pytest.mark.parametrize("place", PLACES)
def test_a_missing_file_is_named_with_its_place(place, good):
    with pytest.raises(FileNotFoundError, match=r"`data\.[\w.\[\]]*file_path` names 'gone.xyz', which is not a file"):
        training_frames(PLACES[place]("gone.xyz", good), ["Ge"])


@pytest.mark.parametrize("place", PLACES)
def test_an_element_that_the_model_lacks(place, good, tmp_path):
    made = labelled()
    for atoms in made:
        atoms.symbols[0] = "Sn"
    with pytest.raises(
        ValueError, match=r"(training|validation|test) structure \d holds Ge, Sn, .*add Sn to `elements`"
    ):
        training_frames(PLACES[place](str(written(tmp_path, made, "bad.xyz")), good), ["Ge"], ASKED)


@pytest.mark.parametrize("place", PLACES)
def test_good_files_give_the_frames_of_nequip(place, good):
    frames = training_frames(PLACES[place](good, good), ["Ge"], ASKED)
    energies = {float(frame["total_energy"]) for frame in frames}
    assert energies <= {*ENERGIES} and all("edge_index" in frame for frame in frames)


@pytest.mark.parametrize(("name", "args"), [("bad.xyz.gz", {}), ("bad", {"format": "extxyz"})])
def test_what_is_extended_xyz_under_another_name(name, args, good, tmp_path):
    made = FAULTS["an empty line"][0].encode()
    bad = written(tmp_path, gzip.compress(made) if name.endswith("gz") else made, name)
    with pytest.raises(ValueError, match="text behind the empty line 5"):
        training_frames(ase_module(train_file_path=str(bad), val_file_path=good, ase_args=args), ["Ge"])


def test_selections_and_other_formats(good, tmp_path):
    made = [atoms.copy() for atoms in labelled()]
    trajectory = written(tmp_path, made, "run.traj")
    frames = training_frames(ase_module(train_file_path=f"{good}@:2", val_file_path=f"{trajectory}@-1:"), ["Ge"])
    assert [float(frame["total_energy"]) for frame in frames] == ENERGIES[:2]


def test_a_checked_data_set_is_nequips(good, monkeypatch):
    """The same frames as NequIP's own, tensor for tensor, and each file is read once."""
    reads = []
    iread = ase.io.iread
    monkeypatch.setattr(ase.io, "iread", lambda *args, **kwargs: reads.append(args) or iread(*args, **kwargs))
    frames = training_frames(ase_module(split_dataset={"file_path": good, "train": 2, "val": 1}), ["Ge"])
    assert len(reads) == 1
    own = {float(frame["total_energy"]): frame for frame in ASEDataset(good).data_list}
    for frame in frames:
        for name, value in own[float(frame["total_energy"])].items():
            assert torch.equal(value, frame[name])
    assert issubclass(CheckedDataset, ASEDataset)


# What a config of one's own says of names, and what becomes of it
def with_names(path, good, **entries):
    return ase_module(train_file_path=str(path), val_file_path=good, **entries)


MAPPING = {"dft_energy": "total_energy", "dft_forces": "forces"}


@pytest.mark.parametrize(
    ("made", "entries", "pattern"),
    [
        (labelled("dft_energy", "dft_forces", None), {"key_mapping": MAPPING}, None),
        (
            labelled("dft_energy", "dft_forces", None),
            {},
            r"key_mapping: {dft_energy: total_energy, dft_forces: forces}",
        ),
        (labelled(dft_forces=lambda i, a: forces(i) + 0.3), {"exclude_keys": ["dft_forces"]}, None),
        (
            labelled(dft_forces=lambda i, a: forces(i) + 0.3),
            {"key_mapping": {"dft_forces": "forces"}, "exclude_keys": ["forces"]},
            None,
        ),
        (
            labelled(dft_forces=lambda i, a: forces(i) + 0.3),
            {"key_mapping": {"dft_forces": "forces"}},
            r"has forces beside dft_forces, with other values, .* add `exclude_keys: \[forces\]`",
        ),
        (labelled(stress_as=None, virial=virial), {}, None),  # the loss asks for no stress
        (
            as_text((CELL + " dft_energy=-4 dft_forces=0", ATOMS)) * 2,
            {"key_mapping": MAPPING},
            "structure 0 of .* energy '-4': .* decimal point",
        ),
    ],
)
def test_names_in_a_config(made, entries, pattern, good, tmp_path):
    entries |= {} if pattern else {"val_file_path": str(tmp_path / "a.xyz")}
    data = with_names(written(tmp_path, made, "a.xyz"), good) | entries
    if pattern is not None:
        with pytest.raises(ValueError, match=pattern):
            training_frames(data, ["Ge"], ASKED)
        return
    frames = training_frames(data, ["Ge"], ASKED)
    assert [float(frame["total_energy"]) for frame in frames] == ENERGIES
    expected = 0.3 if "forces" in entries.get("exclude_keys", ()) else 0.0
    np.testing.assert_allclose(frames[0]["forces"], forces(0) + expected, atol=1e-7)


ALL = {"total_energy": False, "forces": False, "stress": False}
ADD_NAN = {"_target_": "nequip.data.transforms.AddNaNStressTransform"}
TO_STRESS = {"_target_": "nequip.data.transforms.VirialToStressTransform"}


def test_a_loss_asks_for_what_no_structure_has(good, tmp_path):
    bad = written(tmp_path, labelled(forces_as=None, stress_as=None), "a.xyz")
    with pytest.raises(
        ValueError, match=r"`training_module.loss` asks for forces, which no structure of the training set"
    ):
        training_frames(with_names(bad, good), ["Ge"], ASKED)
    data = ase_module(train_file_path=good, val_file_path=str(bad))
    with pytest.raises(
        ValueError, match=r"`training_module.val_metrics` asks for forces, which no .* the validation set"
    ):
        training_frames(data, ["Ge"], ASKED)
    assert training_frames(with_names(bad, good), ["Ge"], {"train": {"total_energy": False}})


def test_a_virial_that_the_config_turns_into_a_stress(good, tmp_path):
    bad = written(tmp_path, labelled(stress_as=None, virial=virial), "a.xyz")
    asked = {"train": ALL}
    with pytest.raises(ValueError, match=r"no stresses where NequIP looks, and 'virial' .*VirialToStressTransform"):
        training_frames(with_names(bad, good), ["Ge"], asked)
    data = with_names(bad, good) | {"include_keys": ["virial"], "transforms": [*TRANSFORMS, TO_STRESS],
                                    "val_file_path": str(bad)}  # fmt: skip
    frames = training_frames(data, ["Ge"], asked)
    np.testing.assert_allclose(frames[1]["stress"][0], stress(1), atol=1e-7)


def test_uneven_labels(good, tmp_path):
    uneven = written(tmp_path, labelled(n=2) + labelled(stress_as=None, n=2), "a.xyz")
    asked = {"train": ALL}
    data = with_names(uneven, good)
    with pytest.raises(
        ValueError, match="structure 0 .* has stress and structure 2 has none, .*AddNaNStressTransform.*ignore_nan"
    ):
        training_frames(data, ["Ge"], asked)
    data["transforms"] = [*TRANSFORMS, ADD_NAN]
    with pytest.raises(
        ValueError, match="structure 2 of the training set .* lacks stresses .NaN., .* `ignore_nan: true`"
    ):
        training_frames(data, ["Ge"], asked)
    assert training_frames(data, ["Ge"], {"train": ALL | {"stress": True}})
    one = data | {"transforms": TRANSFORMS, "train_dataloader": {"batch_size": 1}}
    assert training_frames(one, ["Ge"], {"train": {"total_energy": False}})


def test_uneven_forces_and_other_fields(good, tmp_path):
    uneven = written(tmp_path, labelled(n=2) + labelled(forces_as=None, n=2), "a.xyz")
    with pytest.raises(ValueError, match="has forces and structure 2 has none.*write nan where a label is missing"):
        training_frames(with_names(uneven, good), ["Ge"], ASKED)
    others = labelled()
    others[1].info["free_energy"] = -9.0
    with pytest.raises(ValueError, match=r"structure 1 .* has free_energy .*`exclude_keys: \[free_energy\]`"):
        training_frames(with_names(written(tmp_path, others, "b.xyz"), good), ["Ge"], ASKED)


def test_data_sets_that_ase_does_not_read(tmp_path):
    """Their frames are checked raw, before the neighbour list that a broken cell would keep busy."""
    numpy_file = tmp_path / "a.npz"
    positions = np.array([atoms.positions for atoms in crystals()])
    positions[1, 0, 0] = np.nan
    np.savez(numpy_file, z=np.array([32, 32]), R=positions, E=np.array(ENERGIES), F=np.zeros_like(positions))
    section = {
        "_target_": "nequip.data.dataset.NPZDataset", "file_path": str(numpy_file), "transforms": TRANSFORMS,
        "key_mapping": {"R": "pos", "z": "atomic_numbers", "E": "total_energy", "F": "forces"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="position of atom 0 of structure 1 of the training set"):
        training_frames(nequip_module(train_dataset=section, val_dataset=section), ["Ge"])


def test_which_labels_a_loss_asks_for():
    module = {
        "loss": {"_target_": "nequip.train.EnergyForceStressLoss", "ignore_nan": {"stress": True}},
        "val_metrics": {
            "_target_": "nequip.train.MetricsManager",
            "metrics": [
                {"field": {"_target_": "nequip.data.PerAtomModifier", "field": "total_energy"}, "coeff": 1.0, "metric":
                 {"_target_": "nequip.train.MeanAbsoluteError"}},
                {"field": "forces", "metric": {"_target_": "nequip.train.MeanAbsoluteError"}},
            ],
        },
        "test_metrics": {"_target_": "no.such.Metrics"},
        "optimizer": {"_target_": "torch.optim.Adam"},
    }  # fmt: skip
    assert asked_labels(module, ["Ge"]) == {
        "train": {"total_energy": False, "forces": False, "stress": True},
        "val": {"total_energy": False, "forces": True},
    }


def test_files_named_in_a_section():
    data = ase_module(
        train_file_path=["a.xyz", "b.xyz@:5"],
        split_dataset=[{"file_path": "c.xyz", "train": 0.9, "val": 0.1}],
        key_mapping={"dft_forces": "forces", "q": "charges"},
        exclude_keys=["energy"],
        train_dataloader={"replay": dataset("d.xyz")},
    )
    found = {file.spec: file for file in named_files(data)}
    assert {spec: file.where for spec, file in found.items()} == {
        "a.xyz": "data.train_file_path",
        "b.xyz@:5": "data.train_file_path",
        "c.xyz": "data.split_dataset[0].file_path",
        "d.xyz": "data.train_dataloader.replay.file_path",
    }
    assert found["a.xyz"].roles == {"train"} and found["c.xyz"].roles == {"train", "val"}
    assert options_of(found["c.xyz"].section).key_mapping == {"dft_forces": "forces", "energy": ""}
    assert options_of(found["d.xyz"].section).key_mapping == {}
