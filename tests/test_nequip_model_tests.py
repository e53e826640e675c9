"""NequIP's own tests of models, on transferred ones: symmetry, locality, gradients, batches, compiled files in ASE."""

import os
import subprocess
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nequip.utils.unittests
import pytest
import torch
from ase.build import molecule
from nequip.data import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.utils.test import set_irreps_debug
from nequip.utils.unittests.conftest import *  # noqa: F403  the fixtures these tests ask for
from nequip.utils.unittests.model_tests import BaseEnergyModelTests
from omegaconf import OmegaConf, open_dict

from nequip_elemtransfer import architecture as arch
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.model import TransferredModel, hand_over
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.transfer import Transfer

set_irreps_debug(False)  # that import switched it on, for every test of this process

TYPES = ["H", "C", "O"]  # of the structures in NequIP's tests

# Sources with random weights of one and of several types. The second has a cutoff for each pair, before and after.
SOURCES = {
    "single-type": {"type_names": ["Si"]},
    "multi-type": {"type_names": ["Si", "Ge"], "per_edge_type_cutoff": {"Si": 3.6, "Ge": {"Si": 3.8, "Ge": 4.0}}},
}
KEYS = {
    "single-type": {"elements": dict.fromkeys(TYPES, "Si"), "length_scale": 1.1},
    "multi-type": {
        "elements": {"H": "Ge", "C": {"Si": 0.25, "Ge": 0.75}, "O": "Si"},
        "length_scale": {"H": 0.95, "C": 1.1, "O": 1.05},
    },
}
ENERGIES = {"energy_scale": 0.8, "energy_shifts": {"H": -1.0, "C": 0.25, "O": 2.0}}

NEQUIP = {
    "_target_": "nequip.model.NequIPGNNModel",
    "seed": 1,
    "r_max": 4.0,
    "l_max": 1,
    "num_layers": 2,
    "num_features": 8,
    "radial_mlp_depth": 1,
    "radial_mlp_width": 8,
    "avg_num_neighbors": 12.0,
    "per_type_energy_scales": 1.3,
    "per_type_energy_shifts": -4.0,
}
ALLEGRO = {
    "_target_": "allegro.model.AllegroModel",
    "seed": 1,
    "r_max": 4.0,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 4},
    "l_max": 1,
    "num_layers": 2,
    "num_scalar_features": 8,
    "num_tensor_features": 4,
    "avg_num_neighbors": 12.0,
    "per_type_energy_scales": 1.3,
    "per_type_energy_shifts": -4.0,
}


def source_of(family, kind, model_dtype):
    architecture = {"NequIP": NEQUIP, "Allegro": ALLEGRO}[family] | SOURCES[kind] | {"model_dtype": model_dtype}
    state = {name: tensor.detach().clone() for name, tensor in arch.build(architecture).state_dict().items()}
    return SourceModel("random weights", "0" * 64, architecture, state)


@cache
def start(family, kind, model_dtype):
    """A transfer from a source in this process, handed over to the builder."""

    def frames(r_max):
        data = ChemicalSpeciesToAtomTypeMapper(TYPES)(from_ase(molecule("CH3CHO")))
        return [NeighborListTransform(r_max)(data)]

    key = TransferConfig(source="random weights", **KEYS[kind], **ENERGIES)
    result = Transfer(key, source_of(family, kind, model_dtype), frames).run()
    hand_over(result.provenance["weights"], result.state)
    return result


class TransferredModelTests(BaseEnergyModelTests):
    """NequIP's tests know a model by its configuration; here that of the target, and which transfer it came from."""

    family: str
    compiled: str | None  # the precision in which the compiled file is made, which takes long; None if it is not

    @pytest.fixture(scope="class", params=list(SOURCES))
    @classmethod
    def config(cls, request, default_dtype):
        architecture = dict(start(cls.family, request.param, "float64").architecture)
        del architecture["model_dtype"]
        return architecture | {"transfer": (cls.family, request.param)}

    @staticmethod
    def make_model(model_config, device):
        result = start(*model_config["transfer"], model_config["model_dtype"])
        mode = {"compile_mode": model_config.get("compile_mode", "eager")}
        return TransferredModel(result.architecture | mode, result.provenance).to(device)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def irreps_debug(cls):
        """NequIP runs its tests with e3nn checking every shape."""
        set_irreps_debug(True)
        yield
        set_irreps_debug(False)

    # ---- ASE integration: a real nequip-train with the key, in place of a plain model

    @pytest.fixture(scope="class", params=["minimal_toy_emt.yaml"])
    @classmethod
    def conffile(cls, request):
        return request.param

    @pytest.fixture(scope="class", params=["fresh"])
    @classmethod
    def model_source(cls, request):
        return request.param

    def model_parameter_updates(self, model_config):
        return {}

    @pytest.fixture(scope="class")
    @classmethod
    def train_fn(cls, tmp_path_factory):
        def session(conffile, model_dtype, extra_train_from_save, model_config):
            family, kind = model_config["transfer"]
            if (kind, model_dtype) != ("single-type", cls.compiled):
                pytest.skip("compiled once, Allegro in float64; tests/deploy compiles a transferred NequIP model")
            folder = tmp_path_factory.mktemp(family)
            save_checkpoint(source_of(family, kind, model_dtype), folder / "si.ckpt")
            config = transfer_config(conffile, folder)
            OmegaConf.save(config, folder / "conf.yaml")
            # the commands lie beside the Python that runs the tests, whether or not its environment is activated
            path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
            env = os.environ | {"TEST_VAL_TWO": "2", "OMP_NUM_THREADS": "1", "PATH": path}
            done = subprocess.run(["nequip-train", "-cn", "conf"], cwd=folder, env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            yield config, str(folder), env

        return session


def save_checkpoint(source, path):
    """As ``nequip-train`` writes it."""
    state = {f"model.sole_model.{name}": tensor for name, tensor in source.state.items()}
    info = {"training_module": {"_target_": "nequip.train.NequIPLightningModule"}}
    hyper_parameters = {"model": source.architecture, "optimizer": {}, "info_dict": info}
    state["run_stage"] = torch.zeros(1, dtype=torch.long)
    torch.save({"state_dict": state, "hyper_parameters": hyper_parameters}, path)


def transfer_config(conffile, folder):
    """NequIP's training config of that name, as a transfer and with less data."""
    config = OmegaConf.load(Path(nequip.utils.unittests.__file__).parent / conffile)
    with open_dict(config):
        key = {"elements": {"Cu": "Si"}, "length_scale": 1.1, "energy_scale": 0.8}
        config.element_transfer = key | {"source": str(folder / "si.ckpt")}
        config.model_type_names = "${element_transfer:type_names}"
        config.cutoff_radius = "${element_transfer:r_max}"
        config.training_module.model = "${element_transfer:model}"
        config.hydra = {"run": {"dir": str(folder)}}
    config.data.split_dataset.update({"train": 4, "val": 2, "test": 2})
    config.data.split_dataset.dataset.update({"num_frames": 8, "supercell": [2, 2, 2]})
    config.data.val_dataloader.batch_size = 1
    config.trainer.max_epochs = 2
    return config


class TestTransferredNequIP(TransferredModelTests):
    family, compiled = "NequIP", None

    @pytest.fixture
    def strict_locality(self):
        return False


@pytest.mark.skipif(find_spec("allegro") is None, reason="needs nequip-allegro")
class TestTransferredAllegro(TransferredModelTests):
    family, compiled = "Allegro", "float64"

    @pytest.fixture
    def strict_locality(self):
        return True
