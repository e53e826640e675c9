"""Makes the models in ``fixtures/`` with NequIP 0.5.6 and 0.6.1, and what those versions say of some structures.

Also ``e3nn_0_4_4.npz``, the Wigner 3j tensors of that version up to l = 4.

    python tests/checkpoints/legacy/make_fixtures.py --environments FOLDER [--only NAME ...]

Each pair of versions gets an environment of its own in FOLDER, from the package registry. NequIP 0.5.6 asks for a
PyTorch older than 1.13 and is installed without its dependencies; it runs with the same PyTorch as 0.6.1. All unpickle
in full, which this PyTorch does only where TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD is set: it is, in these environments alone.

A fixture is a training folder as ``nequip-train`` left it (``config.yaml``, ``best_model.pth``), for some a deployed
file, and ``reference.npz``: structures, and for each precision the energies (eV), forces (eV/Å) and stresses (eV/Å³).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fixture_cases import CASES, COMMON, LARGE

FIXTURES = Path(__file__).parent / "fixtures"
TORCH = "torch==2.13.0"
PACKAGES = ["numpy==1.26.4", "ase==3.29.0", "setuptools<81"]
DEPENDENCIES = ["pyyaml", "tqdm", "torch-runstats==0.2.0", "torch-ema==0.3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", type=Path, required=True, help="folder for the environments")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="these fixtures (default: all)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in args.only:
        if args.inside:
            make(name)
        else:
            python = environment(args.environments.resolve(), *CASES[name][:2])
            command = [python, __file__, "--environments", args.environments, "--only", name, "--inside"]
            variables = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "OMP_NUM_THREADS": "1"}
            subprocess.run(command, check=True, env=os.environ | variables)


def environment(folder: Path, nequip: str, e3nn: str) -> Path:
    """Python of an environment with these versions of NequIP and e3nn, which is made if it is not there."""
    python = folder / f"nequip-{nequip}-e3nn-{e3nn}" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        for packages in ([TORCH], [f"e3nn=={e3nn}", *PACKAGES, *DEPENDENCIES], ["--no-deps", f"nequip=={nequip}"]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def make(name: str) -> None:
    """Train, deploy and evaluate one model, in the environment of its version."""
    import yaml
    from nequip.scripts import deploy, train

    _, e3nn, deployed, options = CASES[name]
    out = FIXTURES / name
    out.mkdir(parents=True, exist_ok=True)
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that the configuration names no folder of this machine
        write_training_data(options)
        Path("config.yaml").write_text(yaml.safe_dump(COMMON | options), encoding="utf-8")
        train.main(["config.yaml"])
        if e3nn == "0.4.4":
            enlarge(Path("runs/old/best_model.pth"))
            write_wigner_3j(FIXTURES / "e3nn_0_4_4.npz")
        if deployed:
            deploy.main(["build", "--train-dir", "runs/old", "deployed.pth"])
            compress(Path("deployed.pth"), out / "deployed.pth")
        for file in ("config.yaml", "best_model.pth"):
            shutil.copy(Path("runs/old") / file, out)
        os.chdir(start)
    write_reference(out, options)


def enlarge(file: Path) -> None:
    """Multiply weights by the factors in ``LARGE``."""
    import torch

    state = torch.load(file)
    for name, tensor in state.items():
        for part, factor in LARGE.items():
            if re.search(rf"\.conv\.{part}\.weight$", name):
                tensor *= factor
    torch.save(state, file)


def write_wigner_3j(file: Path) -> None:
    """The tensors of the installed e3nn up to l = 4, by names such as ``1_2_2``."""
    import numpy as np
    import torch
    from e3nn.o3 import wigner_3j

    kinds = [(i, j, k) for i in range(5) for j in range(5) for k in range(abs(i - j), min(i + j, 4) + 1)]
    tensors = {"_".join(map(str, ls)): wigner_3j(*ls, dtype=torch.float64).numpy() for ls in kinds}
    np.savez_compressed(file, **tensors)


def compress(file: Path, out: Path) -> None:
    """A TorchScript file with its members compressed, which PyTorch reads too, and without what debuggers need."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            if not member.filename.endswith(".debug_pkl"):
                new.writestr(member.filename, old.read(member))


def write_training_data(options: dict) -> None:
    """Rattled crystals with the energies and forces of a Lennard-Jones potential."""
    import ase.io
    import numpy as np
    from ase.build import bulk
    from ase.calculators.lj import LennardJones
    from ase.calculators.singlepoint import SinglePointCalculator

    random, frames = np.random.default_rng(0), []
    for _ in range(COMMON["n_train"] + COMMON["n_val"]):
        atoms = bulk("Si", a=5.4, cubic=True)
        atoms.symbols = random.permutation([symbols(options)[i % len(symbols(options))] for i in range(8)])
        atoms.positions += random.normal(0, 0.1, atoms.positions.shape)
        atoms.calc = LennardJones(sigma=2.1, epsilon=0.5, rc=5.0)
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        frames.append(atoms)
    ase.io.write("train.xyz", frames)


def symbols(options: dict) -> list:
    """Elements of a model, sorted as NequIP sorts them."""
    from ase.data import atomic_numbers

    return sorted(options.get("chemical_symbols") or options["chemical_symbol_to_type"], key=atomic_numbers.get)


def structures(elements: list) -> list:
    """A cluster with one atom out of reach of the others, and two crystals, one smaller than the cutoff radius."""
    import numpy as np
    from ase import Atoms

    random = np.random.default_rng(1)
    corners = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], dtype=float)
    cluster = 2.1 * corners + random.normal(0, 0.15, (8, 3))
    cluster[-1] += 20.0
    crystal = Atoms(cell=[[4.4, 0.3, 0.0], [-0.5, 4.1, 0.2], [0.4, 0.6, 4.7]], pbc=True)
    small = Atoms(cell=[[2.6, 0.1, 0.2], [0.3, 2.5, 0.0], [0.0, -0.4, 2.8]], pbc=True)
    found = [Atoms(positions=cluster)]
    for cell, n_atoms in ((crystal, 4), (small, 1)):
        sites = np.array([[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0.0, 0.5], [0.1, 0.5, 0.5]])[:n_atoms]
        sites = sites + random.normal(0, 0.02, sites.shape)
        found.append(Atoms(scaled_positions=sites, cell=cell.cell, pbc=True, numbers=[1] * n_atoms))
    for i, atoms in enumerate(found):
        atoms.symbols = [elements[(i + j) % len(elements)] for j in range(len(atoms))]
    return found


def write_reference(out: Path, options: dict) -> None:
    """What the old code says, in both precisions; a deployed file must say the same."""
    import numpy as np

    found = {}
    for i, atoms in enumerate(structures(symbols(options))):
        found |= {f"positions_{i}": atoms.positions, f"numbers_{i}": atoms.numbers}
        found |= {f"cell_{i}": atoms.cell.array, f"pbc_{i}": atoms.pbc}
        for precision in ("float32", "float64"):
            values = evaluate(out, atoms, precision)
            found |= {f"{quantity}_{i}_{precision}": value for quantity, value in values.items()}
    np.savez_compressed(out / "reference.npz", **found)
    if (out / "deployed.pth").exists():
        check_deployed(out, options)


def evaluate(folder: Path, atoms, precision: str) -> dict:
    """Energy, forces and, in a crystal, stress of the model in a training folder, with its network in a precision."""
    import nequip
    import torch
    from nequip.data import AtomicData, AtomicDataDict
    from nequip.data.transforms import TypeMapper
    from nequip.model import model_from_config
    from nequip.utils import Config

    config = Config.from_file(str(folder / "config.yaml"))
    mixed = not nequip.__version__.startswith("0.5")  # 0.6 keeps its data in float64
    torch.set_default_dtype(torch.float64 if mixed else getattr(torch, precision))
    config["default_dtype"] = "float64" if mixed else precision
    if mixed:
        config["model_dtype"] = precision
    model = model_from_config(config, initialize=False)
    model.load_state_dict(torch.load(folder / "best_model.pth"))
    model.eval()
    types = TypeMapper(chemical_symbol_to_type={s: i for i, s in enumerate(symbols_of(config))})
    data = types(AtomicData.from_ase(atoms, r_max=config["r_max"]))
    out = model(AtomicData.to_AtomicDataDict(data))
    found = {"energy": out[AtomicDataDict.TOTAL_ENERGY_KEY].reshape(()), "forces": out[AtomicDataDict.FORCE_KEY]}
    if atoms.pbc.all():
        found["stress"] = out[AtomicDataDict.STRESS_KEY].reshape(3, 3)
    return {name: value.detach().double().numpy() for name, value in found.items()}


def symbols_of(config) -> list:
    """Elements of a stored configuration, in the order of its types."""
    return symbols({k: config[k] for k in ("chemical_symbols", "chemical_symbol_to_type") if k in config})


def check_deployed(folder: Path, options: dict) -> None:
    """Compare a deployed file with its training folder, in its own precision."""
    import numpy as np
    from nequip.ase import NequIPCalculator

    elements = symbols(options)
    precision = options.get("model_dtype", options.get("default_dtype", "float32"))
    names = {symbol: symbol for symbol in elements}
    calculator = NequIPCalculator.from_deployed_model(folder / "deployed.pth", species_to_type_name=names)
    for atoms in structures(elements):
        atoms.calc = calculator
        expected = evaluate(folder, atoms, precision)
        tolerance = {"float32": 1e-5, "float64": 1e-10}[precision]
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=tolerance)


if __name__ == "__main__":
    main()
