"""Private names of other packages: all in one file, all there in the installed versions, none missed in silence."""

import ast
import re
import sys
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from nequip.model import FullNequIPGNNModel, modify
from nequip.train import EMALightningModule

import nequip_elemtransfer
from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture import nequip_names as names
from nequip_elemtransfer.architecture.builders import configured_parameters, set_energies, with_trained_options
from nequip_elemtransfer.lengths import scaling

PACKAGE = Path(nequip_elemtransfer.__file__).parent
THEIRS = ("nequip", "allegro", "lightning", "torch")
LENNARD_JONES = {"_target_": "nequip.nn.pair_potential.LennardJones", "lj_epsilon": 0.5, "lj_sigma": 2.0}


def trees():
    """Every file of the package but the one that may hold private names."""
    for path in PACKAGE.rglob("*.py"):
        if path.name != "nequip_names.py":
            yield path, ast.parse(path.read_text(encoding="utf-8"))


# ---- the installed versions have them


@pytest.mark.parametrize("path", names.IMPORTED)
def test_imported(path):
    assert names.imported(path) is resolve_name(path) or callable(names.imported(path))


def test_a_name_that_is_in_no_list_is_not_imported():
    with pytest.raises(LookupError, match="nequip.utils.file_utils.download_url belongs into the list"):
        names.imported("nequip.utils.file_utils.download_url")


def test_modules_of_nequip(nequip_architecture, build):
    model = build(nequip_architecture("Si", "C", num_layers=2, pair_potential=LENNARD_JONES))
    kinds = [names.ENERGIES, names.LENGTHS, names.FACTOR, names.DERIVATIVES, names.LENNARD_JONES]
    assert [len(names.modules(model, kind)) for kind in kinds] == [1] * len(kinds)
    assert names.modules(model, names.ALLEGRO) == []
    assert names.holder_of_pair_potential(model).pair_potential is names.the_module(model, names.LENNARD_JONES)
    assert names.first_radial_weights(model) == [
        f"model.func.layer{i}_convnet.conv.edge_mlp.mlp.0.weight" for i in range(2)
    ]


def test_modules_of_allegro(allegro_architecture, build):
    model = build(allegro_architecture("Si", "C"))
    kinds = [names.ENERGIES, names.LENGTHS, names.DERIVATIVES, names.ALLEGRO]
    assert [len(names.modules(model, kind)) for kind in kinds] == [1] * len(kinds)
    assert names.modules(model, names.FACTOR) == []


@pytest.mark.parametrize("learnable_shift", [False, True])
def test_self_connections(nequip_architecture, build, learnable_shift):
    model = build(nequip_architecture("Si", num_layers=2, learnable_shift=learnable_shift))
    first, second = names.modules(model, names.CONVOLUTION)
    assert first.is_first_layer and (first.sc is not None) == learnable_shift
    assert not second.is_first_layer and second.sc is not None


def test_all_kinds_are_tried():
    used = {names.ENERGIES, names.LENGTHS, names.FACTOR, names.DERIVATIVES, names.LENNARD_JONES, names.ALLEGRO}
    assert set(names.MODULE_KINDS) == used | {names.CONVOLUTION, names.NEIGHBOR_NORM, names.READOUT}


def test_a_function_is_a_model_builder_by_its_code():
    assert names.model_builder_code() is FullNequIPGNNModel.__code__
    assert names.model_builder_code() is not modify.__code__


def test_state_of_a_training_module(nequip_architecture):
    arch.initialize_nequip()
    datasets = {"train": 1, "val": 0, "test": 0}
    module = EMALightningModule(ema_decay=0.9, model=nequip_architecture("Si"), num_datasets=datasets)
    state = module.state_dict()
    sole = names.imported("nequip.train.lightning._SOLE_MODEL_KEY")
    assert f"model.{sole}.model.func.type_embed.embed_module.weight" in state
    assert all(name.startswith(names.STATE_PREFIXES) for name in state)
    assert all(any(name.startswith(prefix) for name in state) for prefix in names.STATE_PREFIXES)
    assert state[names.EMA_STATE][names.EMA_DECAY] == 0.9
    assert state[names.EMA_STATE][names.EMA_HOLDS_AVERAGES] is True


def test_state_of_lightning_s_model_checkpoint():
    state = ModelCheckpoint(monitor="loss").state_dict()
    assert {names.BEST_SCORE, *names.SAVED_PATHS, names.RANKED_PATHS} <= set(state)
    assert {name for name in state if "path" in name} == {*names.SAVED_PATHS, "dirpath"}  # no other file


def test_what_deploy_reads_of_a_compile_target():
    targets = names.imported("nequip.scripts._compile_utils.COMPILE_TARGET_DICT")
    assert {"pair_nequip", "ase"} <= set(targets)
    assert all({"input", "output", "batch_map_settings", "data_settings"} <= set(t) for t in targets.values())


def test_the_bounds_of_the_dependencies_are_the_known_versions():
    text = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert '"nequip>=0.19,<0.20"' in text and '"nequip-allegro>=0.8,<0.9"' in text
    assert "NequIP 0.19 with Allegro 0.8, Lightning 2.6" in names.KNOWN_VERSIONS


# ---- and there are no others


def test_no_private_name_is_imported_elsewhere():
    found = {
        f"{path.name}: {node.module}.{alias.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in THEIRS
        for alias in node.names
        if any(part.startswith("_") for part in f"{node.module}.{alias.name}".split("."))
    }
    assert found == set()


def test_no_private_attribute_is_used_that_is_not_ours_or_known():
    ours = {
        node.name if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else node.attr
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    }
    known = {part for path in names.IMPORTED for part in path.split(".")}
    known |= {attribute for kind in names.MODULE_KINDS for attribute in kind.attributes}
    used = {
        node.attr
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.match("_[a-z]", node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    }
    assert used - ours - known == set()


def test_every_dotted_name_in_a_string_exists():
    """Such as those of loaders, which are compared with what a checkpoint says."""
    pattern = re.compile(r"(nequip|allegro|lightning)(\.\w+)+")
    found = {
        node.value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and pattern.fullmatch(node.value)
    }
    assert {"nequip.model.modify", "nequip.model.ModelFromPackage"} <= found
    for name in found - {"nequip.extension"}:  # a group of entry points
        resolve_name(name)


# ---- a release without one ends in a sentence


def renamed(model, kind):
    """The model as a release would make it that calls a class of modules otherwise."""
    for module in names.modules(model, kind):
        module.__class__ = type("Renamed", (type(module),), {})
    return model


@pytest.fixture
def without(monkeypatch):
    """Makes an installation that lacks the class of a kind."""

    def remove(kind):
        module, _, name = kind.path.rpartition(".")
        names._at.cache_clear()
        monkeypatch.delattr(sys.modules[module], name)

    yield remove
    monkeypatch.undo()
    names._at.cache_clear()


VERSIONS = (
    f"nequip-elemtransfer knows {names.KNOWN_VERSIONS}, and installed are nequip {version('nequip')}, .*"
    f"torch {re.escape(torch.__version__.split('+')[0])}.*\\.$"
)


def test_lengths_that_cannot_be_set(nequip_architecture, build):
    architecture = nequip_architecture("Si")
    model = renamed(build(architecture), names.LENGTHS)
    with pytest.raises(names.UnknownName, match="^the model has no modules EdgeLengthNormalizer .*: " + VERSIONS):
        scaling.set_lengths(model, architecture, np.array([[1.05]]))


@pytest.mark.parametrize("use", ["set", "read", "name"])
def test_energies_that_cannot_be_found(nequip_architecture, build, use):
    architecture = nequip_architecture("Si")
    model = renamed(build(architecture), names.ENERGIES)
    uses = {
        "set": lambda: set_energies(model, np.ones(1), np.zeros(1)),
        "read": lambda: with_trained_options(architecture, model),
        "name": lambda: configured_parameters(model),
    }
    with pytest.raises(names.UnknownName, match="^the model has no modules PerTypeScaleShift .*: " + VERSIONS):
        uses[use]()


def test_energies_held_twice(nequip_architecture, build):
    """Which of the two is the model's?"""
    model = build(nequip_architecture("Si"))
    model.second = names.the_module(build(nequip_architecture("Si")), names.ENERGIES)
    with pytest.raises(names.UnknownName, match="the model has 2 modules PerTypeScaleShift where one is needed"):
        set_energies(model, np.ones(1), np.zeros(1))


def test_a_module_without_an_attribute(nequip_architecture, build):
    architecture = nequip_architecture("Si")
    model = build(architecture)
    del names.the_module(model, names.LENGTHS)._rmax_recip
    with pytest.raises(names.UnknownName, match="a module EdgeLengthNormalizer of the model has no _rmax_recip: "):
        scaling.set_lengths(model, architecture, np.array([[1.05]]))


def test_a_radial_network_of_another_make(nequip_architecture, build):
    before, after = (build(nequip_architecture("Si", r_max=r_max)) for r_max in (4.0, 5.0))
    convolution = next(m for m in after.modules() if hasattr(m, "edge_mlp"))
    convolution.edge_mlp = torch.nn.Linear(8, 8, bias=False)
    with pytest.raises(names.UnknownName, match=r"no parameter .*conv\.edge_mlp\.mlp\.0\.weight, which takes the rad"):
        scaling.radial_factors(before, after)
    convolution.radial_network = convolution.edge_mlp
    del convolution.edge_mlp
    with pytest.raises(names.UnknownName, match=r"no parameter edge_mlp\.mlp\.0\.weight, which takes the radial"):
        scaling.radial_factors(before, after)


def test_a_pair_potential_that_is_not_found(nequip_architecture, build):
    """Left in, it would make any length scale look wrong."""
    architecture = nequip_architecture("Si", pair_potential=LENNARD_JONES)
    model = build(architecture)
    holder = names.holder_of_pair_potential(model)
    holder.repulsion = holder.pair_potential
    del holder.pair_potential
    with pytest.raises(names.UnknownName, match="the model has no modules pair_potential where one is needed"):
        scaling.prove_similarity(model, model, architecture, architecture)


@pytest.mark.parametrize("kind", [names.LENNARD_JONES, names.DERIVATIVES, names.FACTOR])
def test_a_class_that_models_need_not_have_must_be_installed(nequip_architecture, build, without, kind):
    """Else none in the model could mean that it has another name now."""
    model = build(nequip_architecture("Si"))
    without(kind)
    with pytest.raises(names.UnknownName, match=f"^{kind.path} does not exist in what is installed .*: " + VERSIONS):
        names.modules(model, kind)


def test_a_model_of_an_extension_that_is_not_installed(nequip_architecture, build, monkeypatch):
    """A package holds its own code."""
    model = build(nequip_architecture("Si"))
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    names._at.cache_clear()
    assert names.modules(model, names.ALLEGRO) == []


def test_builders_that_share_no_code(monkeypatch):
    monkeypatch.setattr("nequip.model.model_builder", lambda function: function)
    names._at.cache_clear()
    try:
        with pytest.raises(names.UnknownName, match="do not share one code object: " + VERSIONS):
            arch.check({"_target_": "nequip.model.NequIPGNNModel"})
    finally:
        monkeypatch.undo()
        names._at.cache_clear()
