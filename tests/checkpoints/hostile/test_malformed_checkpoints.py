"""Checkpoints that harm nobody and are not right: one sentence each, from every command."""

import math
import re

import entry_points
import pytest
import torch
from hostile_checkpoints import INFO, MODEL, put

MISSING = object()
EMBEDDING = ("state_dict", "model.sole_model.model.func.type_embed.embed_module.weight")
SELF = "the file itself"

PROVENANCE = {
    "source": "si.ckpt",
    "sha256": "0" * 64,
    "elements": {"Si": "Si"},
    "length_scale": {"setting": "none", "per_type": {"Si": 1.0}, "r_max": {"source": 4.0, "target": 4.0}},
    "energy_scale": {"setting": "none", "per_type": {"Si": 1.0}, "common_to": []},
    "energy_shifts": {
        "setting": "source",
        "per_type": {"Si": -4.0},
        "rank": 0,
        "fitted_types": [],
        "undetermined_types": [],
    },
    "n_frames": 4,
    "tensors": [{"name": "x", "shape": [1], "action": "copied"}],
    "zero_shot": [
        {"step": "map", "force_mae": None, "force_rmse": None, "energy_mae": 0.1, "energy_mae_refitted": None}
    ],
    "weights": "0" * 64,
}


def transferred(place, value):
    """A ``model:`` section of a transfer, one field of its record changed."""

    def section(model):
        return {
            "_target_": "nequip_elemtransfer.model.TransferredModel",
            "architecture": model,
            "provenance": put(PROVENANCE, place, value),
        }

    return section


def modified(modifiers):
    return lambda model: {"_target_": "nequip.model.modify", "model": model, "modifiers": modifiers}


def loaded_from(path):
    return {"_target_": "nequip.model.ModelFromCheckpoint", "checkpoint_path": path}


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value, value]
    return value


# place, what stands there, what is said
STRUCTURE = [
    (("state_dict",), MISSING, "not a checkpoint of NequIP"),
    (("state_dict",), None, "not a checkpoint of NequIP"),
    (("state_dict",), [1, 2], "not a checkpoint of NequIP"),
    (("state_dict",), {}, "several models or none"),
    (EMBEDDING, [1.0, 2.0], "something other than a tensor"),
    (EMBEDDING, torch.zeros(2, 2).to_sparse(), "something other than a tensor"),
    (("state_dict", 3), torch.zeros(1), "something other than a tensor"),
    (("state_dict", "model.other.weight"), torch.zeros(1), "several models or none"),
    (("hyper_parameters",), MISSING, "not a checkpoint of NequIP"),
    (("hyper_parameters",), [], "not a checkpoint of NequIP"),
    (("callbacks",), [1], "as its `callbacks`"),
    (("global_step",), "many", "as its `global_step`"),
    (("something",), nested(40), "nested without end"),
    (INFO, MISSING, "None is not part of NequIP"),
    (INFO, [1], "as its `hyper_parameters.info_dict`"),
    ((*INFO, "data"), "here", "as its `hyper_parameters.info_dict.data`"),
    ((*INFO, "training_module"), MISSING, "None is not part of NequIP"),
    ((*INFO, "training_module"), "here", "as its `hyper_parameters.info_dict.training_module`"),
    ((*INFO, "training_module", "_target_"), "nequip.train.Lightning", "does not exist in the installed version"),
    ((*INFO, "training_module", "_target_"), "nequip.data.from_ase", "is not a training module"),
    ((*INFO, "training_module", "_target_"), "nequip.train.MetricsManager", "is not a training module"),
    (MODEL, MISSING, "does not say how its model was built"),
    (MODEL, "a model", "does not say how its model was built"),
    ((*MODEL, "_target_"), MISSING, "does not say how its model was built"),
    ((*MODEL, "_target_"), "nequip.model.NequIP", "does not exist in the installed version"),
    ((*MODEL, "_target_"), "mylab.Model", "is not part of NequIP"),
    ((*MODEL, "type_names"), [], "a list of names is needed"),
    ((*MODEL, "type_names"), "Si", "a list of names is needed"),
    ((*MODEL, "type_names"), [14], "holds only letters and digits"),
    ((*MODEL, "type_names"), ["S i"], "holds only letters and digits"),
    ((*MODEL, "type_names"), ["Si", "Si"], "each type has one name"),
    *(((*MODEL, "r_max"), v, "`r_max` is .*; a length") for v in (0, -4.0, math.nan, math.inf, 1e9, "4", None, True)),
    *(((*MODEL, "num_layers"), v, "`num_layers` is") for v in (1e6, 10**6, 10**30, 0, -1, "two", True, [1])),
    ((*MODEL, "l_max"), 1000, "`l_max` is 1000"),
    ((*MODEL, "num_features"), 10**9, "`num_features` is 1000000000, but the weights"),
    ((*MODEL, "num_features"), [4, 10**9], "`num_features` is 1000000000, but the weights"),
    ((*MODEL, "radial_mlp_depth"), 10**6, "`radial_mlp_depth` is 1000000, but the weights"),
    ((*MODEL, "radial_mlp_width"), 10**9, "`radial_mlp_width` is 1000000000, but the weights"),
    ((*MODEL, "irreps_edge_sh"), "1x0e+1x99o", "larger than any model"),
    ((*MODEL, "feature_irreps_hidden"), ["999999x0e"], "is 999999, but the weights"),
    ((*MODEL, "model_dtype"), "float16", "float32 or float64 is needed"),
    ((*MODEL, "seed"), "one", "a whole number is needed"),
    ((*MODEL, "compile_mode"), "fast", "eager or compile is needed"),
    ((*MODEL, "avg_num_neighbors"), 0, "a number above 0"),
    ((*MODEL, "avg_num_neighbors"), {"Ge": 12.0}, "a number above 0"),
    ((*MODEL, "per_type_energy_scales"), math.nan, "a number, or one for each type"),
    ((*MODEL, "per_type_energy_shifts"), [1.0, 2.0], "a number, or one for each type"),
    ((*MODEL, "per_edge_type_cutoff"), {"Si": -1.0}, "a length in Å"),
    ((*MODEL, "per_edge_type_cutoff"), {"Ge": 3.0}, "a length in Å"),
    ((*MODEL, "pair_potential"), "ZBL", "a mapping is needed"),
    ((*MODEL, "pair_potential"), {"_target_": "nequip.data.from_ase"}, "not a part of a model"),
    (MODEL, modified(None), "holds modifiers that `nequip.model.modify` does not take, None"),
    (MODEL, modified([{"modifier": 3}]), "holds modifiers that"),
    (MODEL, {"_target_": "nequip.model.modify", "modifiers": []}, "does not say how its model was built"),
    (MODEL, loaded_from(3), "which is not there"),
    (MODEL, loaded_from("/nowhere/si.ckpt"), "which is not there"),
    (MODEL, loaded_from(SELF), "leads back to itself"),
    (MODEL, transferred((), {}), "the record of its transfer has no `source`"),
    (MODEL, transferred((), None), "the record of its transfer is None"),
    (MODEL, transferred((), [1]), "the record of its transfer is"),
    (MODEL, transferred(("elements",), {"Si": 3}), "`elements` of the record of its transfer is"),
    (MODEL, transferred(("elements",), {"Si": {}}), "`elements` of the record of its transfer is"),
    (MODEL, transferred(("energy_scale", "per_type"), {}), "`energy_scale.per_type` of the record"),
    (MODEL, transferred(("energy_shifts", "per_type"), {"Si": "low"}), "`energy_shifts.per_type` of the record"),
    (MODEL, transferred(("length_scale", "r_max"), 4.0), "`length_scale.r_max` of the record"),
    (MODEL, transferred(("tensors",), [{}]), "no `tensors.0.name`"),
    (MODEL, transferred(("zero_shot", 0, "force_mae"), "small"), "`zero_shot.0.force_mae` of the record"),
    (MODEL, transferred(("n_frames",), -1), "`n_frames` of the record"),
    (MODEL, lambda model: {"_target_": "nequip_elemtransfer.model.TransferredModel"}, "the record of its transfer is"),
    (MODEL, lambda model: transferred(("n_frames",), 1)(3), "has 3 in place of a model's architecture"),
]
# what only shows when the model is built; on a restart NequIP builds it itself
WHEN_BUILT = [
    (EMBEDDING, MISSING, "do not fit the model"),
    (EMBEDDING, torch.zeros(3, 4), "do not fit the model"),
    (EMBEDDING, torch.zeros(1).expand(10**9, 10**9), "do not fit the model"),
    (EMBEDDING, torch.full((1, 4), math.nan), "weights that are not finite: 1 tensors.* 'model.func.type_embed"),
    (EMBEDDING, torch.full((1, 4), -math.inf), "weights that are not finite"),
    (("state_dict", "ema._extra_state"), [], "its EMA has the state"),
    (("state_dict", "ema._extra_state"), {"decay": "slow"}, "its EMA has the state"),
    (("state_dict", "ema._extra_state"), {"decay": 7.0, "is_holding_ema_weights": True}, "cannot be built"),
    ((*MODEL, "type_names"), MISSING, "cannot be built from its configuration"),
    ((*MODEL, "r_max"), MISSING, "cannot be built from its configuration"),
    ((*MODEL, "seed"), MISSING, "cannot be built from its configuration"),
    ((*MODEL, "colour"), "red", "cannot be built from its configuration"),
    ((*MODEL, "polynomial_cutoff_p"), -1, "cannot be built from its configuration"),
    ((*MODEL, "categorical_graph_field_embed"), 3, "cannot be built from its configuration"),
    ((*MODEL, "convnet_nonlinearity_type"), "none", "cannot be built from its configuration"),
    (MODEL, modified([{"modifier": "modify_Everything"}]), "is not a registered model modifier"),
    (MODEL, modified([{"modifier": "modify_PerTypeScaleShift", "shifts": {"Ge": 1.0}}]), "cannot be built"),
]
COMMANDS = [entry_points.inspect, entry_points.key, entry_points.build_torchscript]
BUILDERS = [entry_points.inspect, entry_points.build_torchscript]  # the key reads its source as `inspect` does


def write(file, contents, place, value):
    if callable(value):
        value = value(contents["hyper_parameters"]["model"])
    if isinstance(value, dict) and SELF in value.values():
        value = {name: str(file) if inner == SELF else inner for name, inner in value.items()}
    if value is MISSING:
        *way, last = place
        section = contents
        for name in way:
            section = section[name]
        changed = put(contents, way, {name: inner for name, inner in section.items() if name != last})
    else:
        changed = put(contents, place, value)
    torch.save(changed, file)


def check(commands, file, folder, data, message):
    for enter in commands:
        code, said = enter(file, folder, data)
        where = f"{enter.__name__}: {code} {said}"
        assert code != 0 and said.count("\n") == 1, where
        assert re.search(message, said), where
        assert len(said) < 1200, where
        assert sorted(folder.iterdir()) == [file], where


@pytest.mark.parametrize(("place", "value", "message"), STRUCTURE)
def test_malformed_contents(contents, silicon, tmp_path, in_this_process, place, value, message):
    write(tmp_path / "bad.ckpt", contents, place, value)
    check([*COMMANDS, entry_points.restart], tmp_path / "bad.ckpt", tmp_path, silicon, message)


@pytest.mark.parametrize(("place", "value", "message"), WHEN_BUILT)
def test_models_that_cannot_be_built(contents, silicon, tmp_path, in_this_process, place, value, message):
    write(tmp_path / "bad.ckpt", contents, place, value)
    check(BUILDERS, tmp_path / "bad.ckpt", tmp_path, silicon, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a checkpoint", "not a checkpoint"),
        (b"PK\x03\x04 not a zip", "not a checkpoint"),
        (lambda whole: whole[: len(whole) // 2], "truncated"),
        (lambda whole: whole[:-1], "truncated"),
        (lambda whole: whole[100:], "truncated"),
        (lambda whole: b"\x80\x02}." + whole, "not a checkpoint"),
    ],
)
def test_files_that_are_not_whole(checkpoint, silicon, tmp_path, in_this_process, content, message):
    (tmp_path / "bad.ckpt").write_bytes(content if isinstance(content, bytes) else content(checkpoint.read_bytes()))
    commands = [*COMMANDS, entry_points.plan, entry_points.restart]
    check(commands, tmp_path / "bad.ckpt", tmp_path, silicon, message)


@pytest.mark.parametrize("contained", [torch.zeros(3), [1, 2], {"state_dict": {}}, "text"])
def test_pytorch_files_of_something_else(silicon, tmp_path, in_this_process, contained):
    torch.save(contained, tmp_path / "bad.ckpt")
    check([*COMMANDS, entry_points.restart], tmp_path / "bad.ckpt", tmp_path, silicon, "not a checkpoint of NequIP")


def test_data_that_refer_to_themselves(contents, silicon, tmp_path, in_this_process):
    loop = {}
    loop["again"] = [loop]
    torch.save(contents | {"loops": loop}, tmp_path / "bad.ckpt")
    check([*COMMANDS, entry_points.restart], tmp_path / "bad.ckpt", tmp_path, silicon, "nested without end")


def test_a_whole_record_is_accepted(contents, silicon, tmp_path):
    """What the table above spoils."""
    write(tmp_path / "good.ckpt", contents, MODEL, transferred(("n_frames",), 4))
    code, said = entry_points.inspect(tmp_path / "good.ckpt", tmp_path, silicon)
    assert code == 0, said
