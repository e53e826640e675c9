"""Sources that are not plain checkpoints: packages, nequip.net, modified and reloaded models, ScheduleFree."""

import http.server
import json
import threading
import zipfile

import nequip
import numpy as np
import pytest
import torch
import yaml
from nequip.integrations.ase import NequIPCalculator
from nequip.utils.model_repository import NequIPNetAPIClient
from omegaconf import OmegaConf
from real_runs import MODEL, package, structures, train, training_config, transfer_config

from nequip_elemtransfer.checkpoints.gate import sha256_of
from nequip_elemtransfer.key.look_ups import look_up
from nequip_elemtransfer.source import load_source

SHIFT = -5.25  # eV
MODIFIERS = [{"modifier": "modify_PerTypeScaleShift", "shifts": {"Si": SHIFT}}]


def transferred(data, source, **key):
    return look_up("model", OmegaConf.create(transfer_config(data, source, **key)))


def assert_same_start(one, other):
    """Bitwise: the digest is over all tensors."""
    assert one["architecture"] == other["architecture"]
    assert one["provenance"]["weights"] == other["provenance"]["weights"]


def assert_predicts_as_nequip_does(path):
    """The source as it was taken apart and rebuilt, against NequIP's own loading of the file."""
    atoms = structures("Si", 1, seed=3)[0]
    atoms.calc = NequIPCalculator._from_saved_model(path, chemical_species_to_atom_type_map=True)
    source = load_source(str(path))
    transforms = atoms.calc.transforms
    rebuilt = atoms.copy()
    rebuilt.calc = NequIPCalculator(source.build().eval(), "cpu", transforms=transforms)
    assert rebuilt.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(rebuilt.get_forces(), atoms.get_forces(), atol=1e-6)
    return source


# ---- packages


def test_package_gives_the_same_start_as_its_checkpoint(data, source, source_package):
    assert_same_start(transferred(data, source_package), transferred(data, source))
    assert_predicts_as_nequip_does(source_package)


def test_package_may_be_pinned(data, source_package):
    digest = sha256_of(source_package)
    assert transferred(data, source_package, sha256=digest)["provenance"]["sha256"] == digest
    with pytest.raises(ValueError, match=f"si.nequip.zip' has the SHA-256 {digest}, .* says {'0' * 64}"):
        transferred(data, source_package, sha256="0" * 64)


def test_package_of_a_newer_nequip_is_refused(source_package, tmp_path):
    newer = rewritten(source_package, tmp_path / "new.nequip.zip", "package_metadata.txt", nequip_version("99.1.0"))
    with pytest.raises(ValueError, match=rf"packaged by NequIP 99\.1\.0, .*installed {nequip.__version__}: update"):
        load_source(str(newer))
    # a patch release of the installed one changes nothing in a package
    release = ".".join(nequip.__version__.split(".")[:2])
    patch = nequip_version(f"{release}.99")
    rewritten(source_package, tmp_path / "patch.nequip.zip", "package_metadata.txt", patch)
    assert load_source(str(tmp_path / "patch.nequip.zip")).type_names == ["Si"]


def rewritten(path, new_path, member, change):
    """A copy of a package with one of its text files changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new_path, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info, change(content) if info.filename.endswith(f"model/{member}") else content)
    return new_path


def nequip_version(version):
    def change(content):
        metadata = yaml.safe_load(content)
        metadata["versions"]["nequip"] = version
        return yaml.safe_dump(metadata)

    return change


# ---- nequip.net


class NequIPNet(http.server.ThreadingHTTPServer):
    """Answers NequIP's client as nequip.net does, and serves one package."""

    def __init__(self, model_id, path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.model_id, self.path, self.downloads = model_id, path, 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        place = self.path.lstrip("/")
        asked = f"api/models/download/{self.server.model_id.replace('/', '%2F').replace(':', '%3A')}"
        if place == "si.nequip.zip":
            self.server.downloads += 1
            self._answer(200, self.server.path.read_bytes())
        elif place == asked:
            artifact = {"downloadUrl": f"{self.server.url}/si.nequip.zip", "hostName": "here"}
            self._answer(200, json.dumps({"modelId": self.server.model_id, "artifact": artifact}).encode())
        else:
            self._answer(404, b"")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def nequip_net(source_package, tmp_path, monkeypatch):
    server = NequIPNet("group/silicon:0.1", source_package)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(NequIPNetAPIClient, "BASE_URL", server.url)
    monkeypatch.setenv("NEQUIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


def test_nequip_net_model_is_fetched_once(data, source, source_package, nequip_net):
    """NequIP's own client and cache; the server stands in for nequip.net."""
    name = f"nequip.net:{nequip_net.model_id}"
    start = transferred(data, name, sha256=sha256_of(source_package))
    assert_same_start(start, transferred(data, source))
    assert start["provenance"]["source"] == name
    assert load_source(name).sha256 == sha256_of(source_package)
    assert nequip_net.downloads == 1


@pytest.mark.parametrize("name", ["group/germanium:0.1", "silicon"])
def test_unknown_nequip_net_model(nequip_net, name):
    with pytest.raises(ValueError, match=f"source 'nequip.net:{name}' cannot be fetched: check the id, .*{name}"):
        load_source(f"nequip.net:{name}")


def test_nequip_net_out_of_reach(nequip_net):
    nequip_net.shutdown()
    nequip_net.server_close()
    with pytest.raises(ValueError, match="'nequip.net:group/silicon:0.1' cannot be fetched: .*the connection"):
        load_source("nequip.net:group/silicon:0.1")


# ---- models that were loaded and modified before they were trained

LOADERS = {
    "checkpoint": ("nequip.model.ModelFromCheckpoint", "checkpoint_path"),
    "package": ("nequip.model.ModelFromPackage", "package_path"),
}


@pytest.fixture(scope="module", params=["checkpoint", "package"])
def loader(request, source, source_package, tmp_path_factory):
    """A ``model:`` section that loads a copy of the source, and the copy's path."""
    original = source if request.param == "checkpoint" else source_package
    copy = tmp_path_factory.mktemp(request.param) / original.name
    copy.write_bytes(original.read_bytes())
    target, option = LOADERS[request.param]
    return {"_target_": target, option: str(copy)}, copy


@pytest.fixture(scope="module")
def reloaded(loader, data, tmp_path_factory):
    """Checkpoint of a training that began with a loaded model, and the file that its configuration names."""
    folder = tmp_path_factory.mktemp("reloaded")
    train(folder, training_config(data, "Si", loader[0]), "trainer.max_epochs=1")
    return folder / "out" / "best.ckpt", loader[1]


@pytest.fixture(scope="module")
def modified(loader, data, tmp_path_factory):
    """Likewise with the energy shift modified, as NequIP's guide to fine-tuning does."""
    model = {"_target_": "nequip.model.modify", "modifiers": MODIFIERS, "model": loader[0]}
    folder = tmp_path_factory.mktemp("modified")
    train(folder, training_config(data, "Si", model), "trainer.max_epochs=1")
    return folder / "out" / "best.ckpt"


def test_modified_model(modified, source):
    taken = assert_predicts_as_nequip_does(modified)
    assert taken.architecture["per_type_energy_shifts"] == {"Si": SHIFT}
    assert taken.architecture["per_type_energy_scales"] == {"Si": 1.5}
    assert taken.architecture["num_layers"] == MODEL["num_layers"]
    assert taken.sha256 != load_source(str(source)).sha256


def test_modifier_may_stand_under_the_models_name(modified, tmp_path):
    """``modify`` takes both forms where it is given a loaded model, and the shift is trained in both."""
    checkpoint = torch.load(modified, weights_only=True)
    checkpoint["hyper_parameters"]["model"]["modifiers"] = {"sole_model": MODIFIERS}
    torch.save(checkpoint, tmp_path / "si.ckpt")
    assert load_source(str(tmp_path / "si.ckpt")).architecture == load_source(str(modified)).architecture


@pytest.mark.parametrize(
    ("modifiers", "message"),
    [
        (None, "holds modifiers that `nequip.model.modify` does not take, None"),
        ([{"shifts": {"Si": 1.0}}], "does not take, .*a list of `{modifier: name, ...}` is needed"),
        ([{"modifier": "modify_All"}], r"cannot be built from its configuration.*\(`modify_All` is not a registered"),
        ([MODIFIERS[0] | {"shifts": {"Ge": 1.0}}], "cannot be built .*do not match the expected type names"),
        ([MODIFIERS[0] | {"shift": 1.0}], "cannot be built .*unexpected keyword argument 'shift'"),
    ],
)
def test_modifiers_that_cannot_be_applied(source, tmp_path, modifiers, message):
    checkpoint = torch.load(source, weights_only=True)
    hyper = checkpoint["hyper_parameters"]
    hyper["model"] = {"_target_": "nequip.model.modify", "modifiers": modifiers, "model": hyper["model"]}
    torch.save(checkpoint, tmp_path / "si.ckpt")
    with pytest.raises(ValueError, match=message):
        load_source(str(tmp_path / "si.ckpt"))


def test_reloaded_model_is_followed_while_its_file_exists(reloaded, data):
    checkpoint, inner = reloaded
    taken = assert_predicts_as_nequip_does(checkpoint)
    # trained on, so not the weights of the file it names
    assert not torch.equal(next(taken.build().parameters()), next(load_source(str(inner)).build().parameters()))
    provenance = transferred(data, checkpoint)["provenance"]
    assert provenance["sha256"] == sha256_of(checkpoint)
    assert_refused_while_away(inner, checkpoint)


@pytest.mark.parametrize("loader", ["package"], indirect=True)
def test_package_that_names_another_package(reloaded, data, tmp_path):
    """It holds the whole model, but of its architecture only the path of that other file."""
    checkpoint, inner = reloaded
    packaged = package(checkpoint, tmp_path / "si.nequip.zip")
    assert_same_start(transferred(data, packaged), transferred(data, checkpoint))
    assert_refused_while_away(inner, packaged)


def assert_refused_while_away(inner, source):
    away = inner.rename(inner.with_name("away"))
    try:
        message = f"{source.name}' names no architecture: its model was made by .* from '{inner}', which is not"
        with pytest.raises(ValueError, match=f"{message} there .*Put that file back at that path"):
            load_source(str(source))
    finally:
        away.rename(inner)


# ---- ScheduleFree

MUON = {"_target_": "nequip.model.MuonParamGroups", "muon": {"lr": 0.02}, "adam": {"lr": 0.01}}


@pytest.mark.parametrize("groups", [{}, {"param_groups": MUON}], ids=["one group", "two groups"])
def test_schedule_free_source(data, tmp_path, groups):
    """Its weights are what the optimizer makes of those in the file: NequIP's own loading knows, and so do we."""
    pytest.importorskip("schedulefree")
    config = training_config(data, "Si", MODEL | {"model_dtype": "float64"})
    config["training_module"]["_target_"] = "nequip.train.ScheduleFreeLightningModule"
    config["training_module"]["optimizer"] = {"_target_": "schedulefree.AdamWScheduleFree", "lr": 0.01, **groups}
    config["trainer"]["callbacks"][0]["every_n_train_steps"] = 3  # between two validations, which swap the weights
    train(tmp_path, config)
    checkpoint = tmp_path / "out" / "last.ckpt"
    source = assert_predicts_as_nequip_does(checkpoint)
    raw = torch.load(checkpoint, weights_only=True)["state_dict"]
    name = next(name for name, _ in source.build().named_parameters())
    assert not torch.equal(source.state[name], raw[f"model.sole_model.{name}"])
    assert transferred(data, checkpoint)["provenance"]["sha256"] == source.sha256
