"""Trained models and their deployed files, made once by the real commands."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "training"))  # real_runs: real nequip-train on tiny data

from real_runs import LATTICE, MODEL, train, training_config, transfer_config, write_structures  # noqa: E402

from nequip_elemtransfer.deploy.write import Recipe, write_and_verify  # noqa: E402

ALLEGRO = {
    "_target_": "allegro.model.AllegroModel",
    "seed": 1,
    "model_dtype": "float32",
    "type_names": ["Si", "Ge"],
    "r_max": 4.4,
    "per_edge_type_cutoff": {"Si": {"Si": 4.0, "Ge": 4.2}, "Ge": {"Si": 4.2, "Ge": 4.4}},
    "l_max": 1,
    "num_layers": 1,
    "num_scalar_features": 4,
    "num_tensor_features": 2,
    "scalar_embed_mlp_hidden_layers_width": 8,
    "allegro_mlp_hidden_layers_width": 8,
    "readout_mlp_hidden_layers_width": 4,
    "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 4},
    "avg_num_neighbors": 16.0,
    "per_type_energy_shifts": {"Si": -4.3, "Ge": -3.8},
}


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with training structures of Si, of Ge, and of both."""
    return write_structures(tmp_path_factory.mktemp("data"), Si=["Si"], Ge=["Ge"], SiGe=list(LATTICE))


@pytest.fixture(scope="session")
def si_run(data, tmp_path_factory):
    """Output folder of a NequIP training, float64, two layers: it passes messages."""
    folder = tmp_path_factory.mktemp("si")
    train(folder, training_config(data, "Si", MODEL | {"model_dtype": "float64", "parity": False}))
    return folder / "out"


@pytest.fixture(scope="session")
def ge_run(data, si_run, tmp_path_factory):
    """Output folder of a training that started from the Si model."""
    folder = tmp_path_factory.mktemp("ge")
    config = transfer_config(data, si_run / "best.ckpt")
    config["trainer"]["callbacks"][0]["monitor"] = "val0_epoch/weighted_sum"
    train(folder, config)
    return folder / "out"


@pytest.fixture(scope="session")
def allegro_run(data, tmp_path_factory):
    """Output folder of an Allegro training of two types, float32, with cutoffs per pair of types."""
    pytest.importorskip("allegro")
    folder = tmp_path_factory.mktemp("allegro")
    train(folder, training_config(data, "SiGe", ALLEGRO, ALLEGRO["type_names"], ALLEGRO["r_max"]))
    return folder / "out"


@pytest.fixture(scope="session")
def deployed(request, tmp_path_factory):
    """Writes a file of a run's best checkpoint, once; gives its path."""
    folder = tmp_path_factory.mktemp("deployed")

    def make(run, ending):
        out = folder / f"{run}{ending}"
        if not out.exists():
            verdict = write_and_verify(Recipe(request.getfixturevalue(f"{run}_run") / "best.ckpt"), out)
            assert verdict.passed, verdict.report
        return out

    return make


@pytest.fixture(scope="session")
def real_lammps():
    """Runs an input in the LAMMPS of ``LAMMPS_COMMAND`` and gives what it prints; skips where that cannot be."""

    def run(style, script):
        command = shlex.split(os.environ.get("LAMMPS_COMMAND", ""))
        if not command:
            pytest.skip("LAMMPS_COMMAND does not name a LAMMPS")
        if style not in subprocess.run([*command, "-h"], capture_output=True, text=True).stdout.split():
            pytest.skip(f"{command[0]} has no pair_style {style}")
        done = subprocess.run([*command, "-in", script.name], cwd=script.parent, capture_output=True, text=True)
        output = done.stdout + done.stderr
        if "NEQUIP_AOT_COMPILE" in output:
            pytest.skip(f"{command[0]} was built without NEQUIP_AOT_COMPILE")
        assert done.returncode == 0, output
        return output

    return run
