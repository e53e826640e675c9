"""Germanium from a silicon model, from data to molecular dynamics, with the real commands.

    python demo/demo.py [--data sw | mlearn] [--mlearn DIR] [--out runs/demo] [--seeds 0 1 2] [--silicon DIR]

Makes the data, trains silicon, starts germanium from it and from scratch on 10 structures, tests both on held-out
germanium, looks at the crystals that the models make, exports the transferred model to TorchScript and runs it in ASE.
Writes summary.json and learning_curve.png. With several seeds each has its own 10 structures and training, with one
silicon model for all. Where there is a C++ compiler, silicon is trained compiled, which halves its time. After a
failure the next demo takes the silicon model that was trained.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from ase.calculators.calculator import Calculator
from logs import is_tested, last_step, test_errors, validation_curve
from results import plot, report

from nequip_elemtransfer.output.progress import progress_bar

CONFIGS = Path(__file__).resolve().parent.parent / "example_configs"
N_TRAIN = 10
LATTICE_CONSTANTS = {"Si": 5.43, "Ge": 5.66}  # Å, where the search for a model's own begins
MD_STEPS, MD_TEMPERATURE, TIME_STEP = 500, 300.0, 2.0  # temperature in K, time step in fs
TIMES = "On two idle cores this takes about a quarter of an hour, and 20 MB in the folder."


@dataclass(frozen=True)
class Demo:
    """Where one demo keeps its files and which data set it runs on."""

    out: Path
    data: str
    mlearn: Path | None
    silicon: Path

    def folder(self, seed: int) -> Path:
        """Germanium data and runs of one seed."""
        return self.out / f"seed{seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("sw", "mlearn"), default="sw", help="classical or DFT data (default: sw)")
    parser.add_argument("--mlearn", type=Path, help="folder with the mlearn files, instead of a download")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="default: runs/demo")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="default: 0")
    parser.add_argument("--silicon", type=Path, help="folder of an earlier silicon run, instead of a new one")
    args = parser.parse_args()
    started = time.monotonic()
    out = args.out.resolve()
    kept = set_aside(out)
    silicon = args.silicon.resolve() if args.silicon else trained_silicon(kept, args.data)
    demo = Demo(out, args.data, args.mlearn, silicon or out / "si")
    print(TIMES, flush=True)
    for seed in args.seeds:
        make_data(demo, seed)
    if silicon is None:
        train_silicon(demo, args.seeds[0])
    summary = {"data": demo.data, "source": {"element": "Si", "steps": last_step(demo.silicon)}}
    summary["source"] |= test_errors(demo.silicon)
    seeds = {str(seed): germanium(demo, seed) for seed in args.seeds}
    summary |= {**seeds[str(args.seeds[0])], "seeds": seeds, "crystals": crystals(demo, args.seeds)}
    label = {"sw": "Stillinger-Weber", "mlearn": "DFT (mlearn)"}[demo.data]
    folders = [demo.folder(seed) for seed in args.seeds]
    plot(folders, f"Ge from {N_TRAIN} structures, {label}", demo.out / "learning_curve.png")
    summary["deployed"] = deploy_and_run(demo, args.seeds[0])
    summary["wall_seconds"] = round(time.monotonic() - started, 1)
    (demo.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(report(summary))
    print(f"\n{demo.out}/summary.json, {demo.out}/learning_curve.png")


def set_aside(out: Path) -> Path | None:
    """Move an earlier demo out of the way: nothing is written over; returns where it is."""
    kept = None
    if out.exists():
        number = next(n for n in range(1, 10_000) if not out.with_name(f"{out.name}-{n}").exists())
        kept = out.rename(out.with_name(f"{out.name}-{number}"))
        print(f"earlier results are kept in {kept.name}")
    (out / "logs").mkdir(parents=True)
    return kept


def trained_silicon(kept: Path | None, data: str) -> Path | None:
    """The folder of the silicon model of an earlier demo that failed after it had been trained and tested."""
    if kept is None or (kept / "summary.json").exists():
        return None
    silicon = kept / "si"
    job = silicon / ".hydra" / "hydra.yaml"
    if not job.exists() or not is_tested(silicon):
        return None
    settings = yaml.safe_load(job.read_text())["hydra"]
    if settings["job"]["config_name"] != f"{data}_si":
        return None
    print(f"the silicon model is that of {kept.name}")
    return silicon


def steps_of(config: str) -> int:
    """Optimizer steps of an example config."""
    return int(yaml.safe_load((CONFIGS / f"{config}.yaml").read_text())["max_steps"])


def make_data(demo: Demo, seed: int) -> None:
    command = ["nequip-elemtransfer", "data", demo.data, "--elements", "Si", "Ge", "--out", demo.folder(seed) / "data"]
    command += ["--subset-seed", seed]
    if demo.data == "mlearn" and demo.mlearn:
        command += ["--from", demo.mlearn.resolve()]
    with stage(f"{demo.data} data, seed {seed}"):
        wait(start(demo, f"data_{seed}", command))


def train_silicon(demo: Demo, seed: int) -> None:
    faster = ["training_module.model.compile_mode=compile"] if shutil.which("c++") else []
    config = f"{demo.data}_si"
    run = nequip_train(demo, config, demo.silicon, demo.folder(seed) / "data", *faster, threads=2)
    with stage(f"silicon, the source{': first it is compiled, for one to three minutes' if faster else ''}"):
        follow({"Si": run}, {"Si": demo.silicon}, steps_of(config))


def germanium(demo: Demo, seed: int) -> dict:
    """Train both starts of one seed side by side, and test the untrained starts."""
    folder = demo.folder(seed)
    common = [f"seed={seed}", f"n_train={N_TRAIN}"]
    # a model of ten structures trains as long as it would compile
    source = [f"element_transfer.source={demo.silicon / 'best.ckpt'}", "++element_transfer.compile_mode=eager"]
    untrained = [*common, *source, "run=[val,test]"]
    map_only = ["element_transfer.length_scale=none", "element_transfer.energy_scale=none"]
    transfer, scratch = f"{demo.data}_ge_transfer", f"{demo.data}_ge_scratch"
    data = folder / "data"
    with stage(f"germanium before training, seed {seed}"):
        runs = [
            nequip_train(demo, transfer, folder / "zero_shot", data, *untrained),
            nequip_train(demo, transfer, folder / "element_map_only", data, *untrained, *map_only),
        ]
        for run in runs:
            wait(run)
    with stage(f"germanium, {N_TRAIN} structures, seed {seed}"):
        follow(
            {
                "transfer": nequip_train(demo, transfer, folder / "transfer", data, *common, *source),
                "scratch": nequip_train(demo, scratch, folder / "scratch", data, *common),
            },
            {name: folder / name for name in ("transfer", "scratch")},
            steps_of(transfer),
        )
    starts = ("zero_shot", "element_map_only", "transfer", "scratch")
    return {
        "target": {"element": "Ge", "n_train": N_TRAIN, **{name: test_errors(folder / name) for name in starts}},
        "steps": last_step(folder / "scratch"),
        "steps_to_scratch_accuracy": steps_to_scratch_accuracy(folder),
    }


def crystals(demo: Demo, seeds: list[int]) -> dict[str, dict[str, float]]:
    """Lattice constant, elastic constants and vacancy of diamond silicon and germanium, by model."""
    from nequip_elemtransfer.architecture.nequip_names import imported
    from nequip_elemtransfer.data.stillinger_weber import stillinger_weber_calculator

    models = {"Si, the source": ("Si", demo.silicon / "best.ckpt")}
    for seed in seeds:
        label = f" (seed {seed})" if len(seeds) > 1 else ""
        for name, run in (("Ge from scratch", "scratch"), ("Ge by transfer", "transfer")):
            models[name + label] = ("Ge", demo.folder(seed) / run / "best.ckpt")
    from_saved_model = imported("nequip.integrations.ase.NequIPCalculator._from_saved_model")
    found = {}
    with stage("crystals"):
        if demo.data == "sw":
            for element in ("Si", "Ge"):
                found[f"{element}, the potential"] = crystal(element, stillinger_weber_calculator(element))
        for name, (element, checkpoint) in models.items():
            found[name] = crystal(element, from_saved_model(checkpoint, chemical_species_to_atom_type_map=True))
    return found


def crystal(element: str, calculator: Calculator) -> dict[str, float]:
    """Lattice constant in Å, elastic constants in GPa and vacancy formation energy in eV of the diamond crystal."""
    from nequip_elemtransfer.materials import properties
    from nequip_elemtransfer.materials.crystal import Crystal

    relaxed = properties.equilibrium(Crystal("diamond", element, LATTICE_CONSTANTS[element]), calculator)
    return {
        "a_angstrom": float(relaxed.a),
        **{f"{name}_GPa": float(value) for name, value in properties.elastic_constants(relaxed, calculator).items()},
        "vacancy_eV": float(properties.vacancy_formation_energy(relaxed, calculator)),
    }


def steps_to_scratch_accuracy(folder: Path) -> int | None:
    """First step at which transfer's validation force error is at most the best that scratch ever reaches."""
    goal = min(error for _, error in validation_curve(folder / "scratch"))
    curve = validation_curve(folder / "zero_shot") + validation_curve(folder / "transfer")
    return next((step for step, error in curve if error <= goal), None)


def deploy_and_run(demo: Demo, seed: int) -> dict:
    """Export the transferred model, compare it with the eager one, and run NVT molecular dynamics."""
    import ase.io
    import numpy as np
    from ase import units
    from ase.build import bulk
    from ase.md.langevinbaoab import LangevinBAOAB
    from nequip.integrations.ase import NequIPCalculator

    from nequip_elemtransfer.architecture.nequip_names import imported

    from_saved_model = imported("nequip.integrations.ase.NequIPCalculator._from_saved_model")
    checkpoint, path = demo.folder(seed) / "transfer" / "best.ckpt", demo.out / "ge.nequip.pth"
    with stage("TorchScript export"):
        wait(start(demo, "deploy", ["nequip-deploy", "build", "--model", checkpoint, path]))
    with stage(f"molecular dynamics, {MD_STEPS} steps"):
        eager = from_saved_model(checkpoint, chemical_species_to_atom_type_map=True)
        deployed = NequIPCalculator.from_compiled_model(path, chemical_species_to_atom_type_map=True)
        frames = ase.io.read(demo.folder(seed) / "data" / "Ge_test.xyz", ":5")
        difference = max(
            np.abs(eager.get_property("forces", a) - deployed.get_property("forces", a)).max() for a in frames
        )
        atoms = bulk("Ge", "diamond", a=5.66, cubic=True) * (2, 2, 2)
        atoms.calc = deployed
        dynamics = LangevinBAOAB(
            atoms,
            TIME_STEP * units.fs,
            temperature_K=MD_TEMPERATURE,
            T_tau=50 * units.fs,
            rng=np.random.default_rng(seed),
        )
        temperatures: list[float] = []
        dynamics.attach(lambda: temperatures.append(float(atoms.get_temperature())))
        with progress_bar(total=MD_STEPS, unit="step", leave=False) as bar:
            dynamics.attach(bar.update)
            dynamics.run(MD_STEPS)
    return {
        "path": str(path.relative_to(demo.out)),
        "max_force_difference_eV_per_A": float(difference),
        "md_steps": MD_STEPS,
        "md_temperature_K": round(statistics.mean(temperatures[MD_STEPS // 2 :]), 1),
    }


@contextmanager
def stage(name: str) -> Iterator[None]:
    started = time.monotonic()
    print(f"{name} ...", flush=True)
    yield
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


def nequip_train(demo: Demo, config: str, out: Path, data: Path, *overrides: str, threads: int = 1) -> subprocess.Popen:
    command = ["nequip-train", "-cp", CONFIGS, "-cn", config, f"hydra.run.dir={out}", f"data_dir={data}", *overrides]
    command += ["++trainer.enable_progress_bar=false", "++trainer.logger.flush_logs_every_n_steps=10"]
    return start(demo, f"{out.parent.name}_{out.name}", command, threads)


def start(demo: Demo, log: str, command: list, threads: int = 2) -> subprocess.Popen:
    """Start a command of this environment; its output goes to a log file.

    Two trainings side by side get a thread each, and threads that wait for a core sleep: by default they spin, which
    on a busy machine makes two of them many times slower than one.
    """
    program = shutil.which(str(command[0]), path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise SystemExit(f"{command[0]} is not installed: run `make env`, then use .venv/bin/python.")
    path = demo.out / "logs" / f"{log}.log"
    environment = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    with open(path, "w") as file:
        process = subprocess.Popen(
            [program, *map(str, command[1:])], stdout=file, stderr=subprocess.STDOUT, env=environment
        )
    process.log = path
    return process


def wait(process: subprocess.Popen) -> None:
    if process.wait():
        lines = process.log.read_text().strip().splitlines()
        raise SystemExit("\n".join([f"{process.log} ends with:", *lines[-15:]]))


def follow(runs: dict[str, subprocess.Popen], folders: dict[str, Path], steps: int) -> None:
    """Show the steps of running trainings until all have ended."""
    bars = {
        name: progress_bar(desc=name, total=steps, unit="step", leave=False, position=i) for i, name in enumerate(runs)
    }
    while any(run.poll() is None for run in runs.values()):
        time.sleep(1.0)
        for name, bar in bars.items():
            bar.update(min(last_step(folders[name]) + 1, steps) - bar.n)
    for bar in bars.values():
        bar.close()
    for run in runs.values():
        wait(run)


if __name__ == "__main__":
    main()
