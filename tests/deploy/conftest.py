"""Trained models and their deployed files, made once by the real commands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "training"))  # real_runs: real nequip-train on tiny data

from real_runs import LATTICE, MODEL, train, training_config, transfer_config, write_structures  # noqa: E402

from nequip_elemtransfer.deploy import build  # noqa: E402
from nequip_elemtransfer.deploy.write import Recipe, write_and_verify  # noqa: E402

ALLEGRO = {
    "_target_": "allegro.model.AllegroModel",
    "seed": 1,
    "model_dtype": "float32",
    "type_names": ["Si"],
    "r_max": 4.0,
    "l_max": 1,
    "num_layers": 1,
    "num_scalar_features": 4,
    "num_tensor_features": 2,
    "scalar_embed_mlp_hidden_layers_width": 8,
    "allegro_mlp_hidden_layers_width": 8,
    "readout_mlp_hidden_layers_width": 4,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 4},
    "avg_num_neighbors": 16.0,
    "per_type_energy_shifts": -4.3,
}


@pytest.fixture(scope="session")
def data(made_once):
    """A folder with training structures of Si, of Ge, and of both."""
    elements = {"Si": ["Si"], "Ge": ["Ge"], "SiGe": list(LATTICE)}
    return made_once("deploy_data", lambda folder: write_structures(folder, **elements))


@pytest.fixture(scope="session")
def si_run(data, made_once):
    """Output folder of a NequIP training, float64, two layers: it passes messages."""
    config = training_config(data, "Si", MODEL | {"model_dtype": "float64", "parity": False})
    return made_once("deploy_si", lambda folder: train(folder, config)) / "out"


@pytest.fixture(scope="session")
def ge_run(data, si_run, made_once):
    """Output folder of a training that started from the Si model."""
    config = transfer_config(data, si_run / "best.ckpt")
    config["trainer"]["callbacks"][0]["monitor"] = "val0_epoch/weighted_sum"
    return made_once("deploy_ge", lambda folder: train(folder, config)) / "out"


@pytest.fixture(scope="session")
def ge_one_layer_run(data, made_once):
    """The same with one layer, which AOTInductor compiles sooner."""
    one_layer = MODEL | {"model_dtype": "float64", "parity": False, "num_layers": 1}
    source = made_once("deploy_si_one_layer", lambda folder: train(folder, training_config(data, "Si", one_layer)))
    config = transfer_config(data, source / "out" / "best.ckpt")
    return made_once("deploy_ge_one_layer", lambda folder: train(folder, config)) / "out"


@pytest.fixture(scope="session")
def allegro_run(data, made_once):
    """Output folder of an Allegro model of Si that Ge has joined, float32, with cutoffs per pair of types."""
    pytest.importorskip("allegro")
    source = made_once("deploy_allegro_si", lambda folder: train(folder, training_config(data, "Si", ALLEGRO)))
    key = {"elements": {"Si": "Si", "Ge": "Si"}, "length_scale": {"Si": 1.0, "Ge": 1.1}}
    config = transfer_config(data, source / "out" / "best.ckpt", system="SiGe", **key)
    return made_once("deploy_allegro", lambda folder: train(folder, config)) / "out"


@pytest.fixture(scope="session")
def deployed(request, made_once):
    """Writes a file of a run's best checkpoint, once; gives its path."""

    def make(run, ending, common_cutoff=False, uncertainty=False):
        checkpoint = request.getfixturevalue(f"{run}_run") / "best.ckpt"
        options = {"common_cutoff": common_cutoff, "uncertainty": uncertainty}
        name = "_".join([run, *(option for option, chosen in options.items() if chosen)]) + ending

        def write(folder):
            verdict = write_and_verify(Recipe(checkpoint, **options), folder / name)
            assert verdict.passed, verdict.report

        return made_once(f"deployed_{name}", write) / name

    return make


@pytest.fixture(scope="session")
def real_lammps():
    """Runs an input in the LAMMPS of ``LAMMPS_COMMAND`` and gives what it prints; skips where that cannot be.

    Several ranks are started by ``MPIRUN_COMMAND``, ``mpirun`` if it names none.
    """

    def run(style, script, ranks=1):
        command = shlex.split(os.environ.get("LAMMPS_COMMAND", ""))
        if not command:
            pytest.skip("LAMMPS_COMMAND does not name a LAMMPS")
        if style not in subprocess.run([*command, "-h"], capture_output=True, text=True).stdout.split():
            pytest.skip(f"{command[0]} has no pair_style {style}")
        if style == "mliap":
            command += kokkos_options(command, ranks)
        if ranks > 1:
            start = shlex.split(os.environ.get("MPIRUN_COMMAND", "mpirun"))
            if shutil.which(start[0]) is None:
                pytest.skip(f"there is no {start[0]} here, which starts several ranks")
            command = [*start, "-np", str(ranks), *command]
        done = subprocess.run([*command, "-in", script.name], cwd=script.parent, capture_output=True, text=True)
        output = done.stdout + done.stderr
        if "NEQUIP_AOT_COMPILE" in output:
            pytest.skip(f"{command[0]} was built without NEQUIP_AOT_COMPILE")
        assert done.returncode == 0, output
        return output

    return run


def kokkos_options(command, ranks):
    """How ``pair_style mliap`` runs a model of NequIP; skips where it cannot."""
    script = "region box block 0 1 0 1 0 1\ncreate_box 1 box\npair_style mliap unified none 0\n"
    output = subprocess.run([*command, "-log", "none"], input=script, capture_output=True, text=True).stdout
    if found := re.search("requires ML-IAP with python support", output):
        pytest.skip(f"pair_style mliap of {command[0]} {found[0]}")
    if not torch.cuda.is_available():
        pytest.skip("NequIP's ML-IAP models run on CUDA GPUs alone")
    gpus = min(ranks, torch.cuda.device_count())
    return ["-k", "on", "g", str(gpus), "-sf", "kk", "-pk", "kokkos", "newton", "on", "neigh", "half"]


@pytest.fixture
def in_process(monkeypatch):
    """Spares the start of a process for each file."""
    monkeypatch.setattr(build, "_in_own_process", lambda recipe, staged, verbose: write_and_verify(recipe, staged))
