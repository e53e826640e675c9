"""Tiny models and structures that the unit tests share, and processes of their own."""

import copy
import fcntl
import json
import os
import shutil
from pathlib import Path

import activation_moments  # noqa: F401  its import is what counts
import numpy as np
import pytest
from hypothesis import settings
from nequip.data import from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform

from nequip_elemtransfer.architecture import builders as arch

# the machine may be busy with something else
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
# `make mutants` runs each test hundreds of times
settings.register_profile("mutants", deadline=None, max_examples=15, derandomize=True)


def pytest_collection_modifyitems(items):
    """What trains comes first, so that no process is left alone with it at the end.

    Before all, one file alone deploys what others of its folder use: two at once would wait for the same compilation.
    """
    items.sort(key=lambda item: item.path.parent.name not in ("training", "train", "made_before"))
    items.sort(key=lambda item: item.path.stem != "test_deploy_info")


_COMMON = {
    "seed": 1,
    "model_dtype": "float64",
    "r_max": 4.0,
    "l_max": 1,
    "parity": False,
    "num_layers": 1,
    "avg_num_neighbors": 12.0,
    "per_type_energy_scales": 1.3,
    "per_type_energy_shifts": -4.0,
}
_NEQUIP = _COMMON | {
    "_target_": "nequip.model.NequIPGNNModel",
    "num_features": 4,
    "radial_mlp_depth": 1,
    "radial_mlp_width": 8,
}
_ALLEGRO = _COMMON | {
    "_target_": "allegro.model.AllegroModel",
    "num_scalar_features": 4,
    "num_tensor_features": 2,
    "scalar_embed_mlp_hidden_layers_width": 8,
    "allegro_mlp_hidden_layers_width": 8,
    "readout_mlp_hidden_layers_width": 4,
}
_ALLEGRO_EMBEDDINGS = {
    "bessel": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 4},
    "spline": {"_target_": "allegro.nn.TwoBodySplineScalarEmbed", "num_splines": 4, "spline_span": 2},
}


@pytest.fixture
def random():
    """Numbers that are the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def nequip_architecture():
    """Makes the configuration of a float64 NequIP model of one layer; keyword arguments add to it or replace."""

    def make(*types, **options):
        return _NEQUIP | {"type_names": list(types)} | options

    return make


@pytest.fixture(scope="session")
def allegro_architecture():
    """Makes the configuration of a float64 Allegro model with a ``bessel`` or ``spline`` embedding."""
    pytest.importorskip("allegro")

    def make(*types, embedding="bessel", **options):
        return _ALLEGRO | {"type_names": list(types), "radial_chemical_embed": _ALLEGRO_EMBEDDINGS[embedding]} | options

    return make


@pytest.fixture(scope="session")
def build():
    """Builds a model of its own in evaluation mode; e3nn's part of the work is done once for each architecture."""
    built = {}

    def make(architecture):
        key = json.dumps(architecture, sort_keys=True)
        if key not in built:
            built[key] = arch.build(architecture).eval()
        return copy.deepcopy(built[key])

    return make


@pytest.fixture(scope="session")
def graph():
    """Makes NequIP data of an ASE structure: types by symbol, neighbour list of cutoff ``r_max`` in Å."""
    arch.initialize_nequip()  # float64 positions

    def make(atoms, types, r_max):
        data = ChemicalSpeciesToAtomTypeMapper(list(types))(from_ase(atoms))
        return NeighborListTransform(r_max)(data)

    return make


@pytest.fixture(scope="session")
def local_copy():
    """Finds the folder of a published data set that holds ``file``, or skips the test."""

    def find(name, file):
        default = Path(__file__).parents[1] / ".." / "shared" / "data" / name
        folder = Path(os.environ.get(name.upper(), default))
        if not any((folder / f"{file}{end}").exists() for end in ("", ".gz")):
            pytest.skip(f"no {name} data in {folder}; set {name.upper()} to a folder with {file}")
        return folder

    return find


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Gives a folder that is filled once in a test run: the first of its processes to ask for it does, others wait."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each of its processes a folder in that of the run
    base = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made_once"
    base.mkdir(exist_ok=True)

    def make(name, fill):
        folder, filled = base / name, base / f"{name}.filled"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return make


@pytest.fixture
def in_child():
    """Starts ``work()`` in a process of its own and gives a function that waits for its exit status or signal."""
    started = []

    def start(work):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        started.append(pid)

        def wait():
            started.remove(pid)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        return wait

    yield start
    for pid in started:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
