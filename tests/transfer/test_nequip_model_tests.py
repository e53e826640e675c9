"""NequIP's own tests of models, on transferred ones: symmetry, locality, gradients, batches, compiled training."""

from functools import cache
from importlib.util import find_spec

import pytest
from ase.build import molecule
from nequip.data import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.utils.test import set_irreps_debug
from nequip.utils.unittests.conftest import *  # noqa: F403  the fixtures these tests ask for
from nequip.utils.unittests.model_tests import BaseEnergyModelTests

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.model import TransferredModel, hand_over
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.transfer.transfer import Transfer

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

    @pytest.fixture(scope="class")
    def fake_model_training_session(self):
        """Of NequIP's tests of compiled files in ASE."""
        pytest.skip("tests/deploy compiles a transferred NequIP and a transferred Allegro model, and tries them in ASE")


class TestTransferredNequIP(TransferredModelTests):
    family = "NequIP"

    @pytest.fixture
    def strict_locality(self):
        return False


@pytest.mark.skipif(find_spec("allegro") is None, reason="needs nequip-allegro")
class TestTransferredAllegro(TransferredModelTests):
    family = "Allegro"

    @pytest.fixture
    def strict_locality(self):
        return True
