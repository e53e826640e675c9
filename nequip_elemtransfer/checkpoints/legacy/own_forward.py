"""A converted model compared with what the deployed file of the old one says itself.

Its TorchScript runs in a process of its own that can open no files (see :mod:`.worker`). It is given numbers, and of
its answer numbers are read.
"""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.builders import Architecture
from nequip_elemtransfer.architecture.probe import probe_cluster
from nequip_elemtransfer.checkpoints.legacy.reading import read_old_model
from nequip_elemtransfer.output.table import printable

_SECONDS = 600
# largest difference in units of one plus the largest value; float32 rounds to about 1e-6
_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
_COMPARED = {"energies": ("eV", AtomicDataDict.PER_ATOM_ENERGY_KEY), "forces": ("eV/Å", AtomicDataDict.FORCE_KEY)}


class NotRun(Exception):
    """Why an old model says nothing here."""


def compare_with_own_forward(path: str | Path, architecture: Architecture, model: GraphModel) -> str:
    """Compare a converted model with the old one itself, on dimers of the types and tetrahedra of each.

    Args:
        path: of the old model
        architecture: of the converted one
        model: the converted one, in evaluation mode

    Returns:
        what was found, or why the old one did not run

    Raises:
        ValueError: if the two differ by more than rounding
    """
    probe = probe_cluster(architecture)
    try:
        old = _own_forward(Path(path), probe)
    except NotRun as reason:
        return f"not compared with the old model itself: {reason}"
    new = model(probe.copy())
    found = []
    for quantity, (unit, key) in _COMPARED.items():
        expected = new[key].detach().double().numpy()
        difference = np.abs(old[key].reshape(expected.shape) - expected).max()
        if not difference <= _TOLERANCE[architecture["model_dtype"]] * (1 + np.abs(expected).max()):
            raise ValueError(
                f"source {str(path)!r} was not understood: on a small structure its own {quantity} differ from those "
                f"of the converted model by {difference:.1e} {unit}. Please report it with the file."
            )
        found.append(f"{quantity} of up to {np.abs(expected).max():.1g} {unit} to {difference:.0e}")
    return f"agrees with the old file's own forward on a small structure: {', '.join(found)}"


def _own_forward(path: Path, probe: AtomicDataDict.Type) -> dict[str, np.ndarray]:
    """Energies of atoms (eV) and forces (eV/Å) that a deployed file says of a structure."""
    if path.is_dir():
        raise NotRun("a training folder needs the old code; a deployed file (`nequip-deploy build`) runs without")
    answer = _answer({"model": np.frombuffer(path.read_bytes(), dtype=np.uint8)} | _inputs(path, probe))
    if "problem" in answer:
        raise NotRun(f"it does not run with PyTorch {torch.__version__} ({printable(answer['problem'])[:200]})")
    sizes = {AtomicDataDict.PER_ATOM_ENERGY_KEY: 1, AtomicDataDict.FORCE_KEY: 3}
    n_atoms = len(probe[AtomicDataDict.POSITIONS_KEY])
    for key, size in sizes.items():
        if key not in answer or answer[key].size != n_atoms * size:
            raise NotRun(f"it has no output {key!r} of {size} for each atom")
    return answer


def _inputs(path: Path, probe: AtomicDataDict.Type) -> dict[str, np.ndarray]:
    """What the LAMMPS pair style of then gave to a model: a structure and its edges, in the precision of its data."""
    old = read_old_model(path)
    dtype = old.config.get("default_dtype", "float64" if old.version >= (0, 6) else "float32")
    if dtype not in ("float32", "float64"):
        raise NotRun(f"its data are of {printable(dtype)[:50]}")
    edges = probe[AtomicDataDict.EDGE_INDEX_KEY]
    return {
        AtomicDataDict.POSITIONS_KEY: probe[AtomicDataDict.POSITIONS_KEY].numpy().astype(dtype),
        AtomicDataDict.EDGE_INDEX_KEY: edges.numpy(),
        AtomicDataDict.EDGE_CELL_SHIFT_KEY: np.zeros((edges.shape[1], 3), dtype=dtype),
        AtomicDataDict.CELL_KEY: np.eye(3, dtype=dtype),
        AtomicDataDict.ATOM_TYPE_KEY: probe[AtomicDataDict.ATOM_TYPE_KEY].numpy(),
    }


def _answer(task: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    asked = io.BytesIO()
    np.savez(asked, allow_pickle=False, **task)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "nequip_elemtransfer.checkpoints.legacy.worker"],
            input=asked.getvalue(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # import nothing from the working directory; no device, no threads
            env=os.environ | {"PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            timeout=_SECONDS,
        )
        return dict(np.load(io.BytesIO(done.stdout), allow_pickle=False))
    except subprocess.TimeoutExpired as error:
        raise NotRun(f"it takes longer than {_SECONDS} s") from error
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise NotRun(f"the process that ran it ended without an answer (exit code {done.returncode})") from error
