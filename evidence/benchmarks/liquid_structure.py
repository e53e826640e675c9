"""The liquid of a study's simulations beside that of its data: g(r), bond angles and diffusion.

    python evidence/benchmarks/liquid_structure.py runs/study_mlearn_sources data/mlearn/Ge_{train,val,test}.xyz \\
        --labels group=AIMD-NVT temperature=2422 --begin liquid --lattice-constant 5.78

For a study whose reference is no calculator, but whose data have frames of the same liquid, in the same cell and at the
same temperature. Mean absolute deviations from the average of these frames; *one half of the frames from the other* is
what the data cannot tell apart, the mean over random halves. The diffusion coefficient is a sixth of the slope of the
mean-square displacement, from a quarter of the simulation on.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from nequip_elemtransfer.materials.dynamics import EQUILIBRATION, angular_distribution, radial_distribution
from nequip_elemtransfer.study.measure.measurements import ADF_EDGES, LONGEST_BOND, RDF_EDGES
from nequip_elemtransfer.study.quantities import ADF, MSD, RDF

_HALVES = 100
_A2_PER_PS = 1e-8  # in m²/s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of the study")
    parser.add_argument("structures", nargs="+", help="files of the data")
    parser.add_argument("--labels", nargs="+", required=True, metavar="NAME=VALUE", help="of the frames")
    parser.add_argument("--begin", required=True, help="name of the simulations' beginning in the study")
    parser.add_argument("--lattice-constant", type=float, required=True, help="Å, of diamond, that of the study")
    args = parser.parse_args()
    wanted = dict(label.split("=", 1) for label in args.labels)
    everything = [atoms for path in args.structures for atoms in ase.io.read(path, ":")]
    frames = [a for a in everything if all(str(a.info.get(name)) == value for name, value in wanted.items())]
    if not frames:
        raise SystemExit(f"No structure has {' '.join(args.labels)}.")
    nearest = args.lattice_constant * np.sqrt(3) / 4
    data = structure(frames, nearest)
    print(f"{len(frames)} frames of the data\n")
    print("| start | simulations | g(r) | bond angles (1/degree) | diffusion (10⁻⁹ m²/s) |")
    print("| --- | ---: | ---: | ---: | ---: |")
    noise = [np.mean(each) for each in zip(*halves(frames, nearest))]
    print(f"| one half of the frames from the other | | {noise[0]:.3f} | {noise[1]:.5f} | |")
    for start, models in simulations(args.study, args.begin).items():
        # (models, 2), deviations of each model's average
        deviations = [
            deviation([np.mean([s[name] for s in model], axis=0) for name in (RDF, ADF)], data) for model in models
        ]
        diffusion = [np.mean([coefficient(simulation) for simulation in model]) for model in models]
        columns = [
            spread([each[0] for each in deviations], 3),
            spread([each[1] for each in deviations], 5),
            spread(diffusion, 1),
        ]
        print(f"| {start} | {sum(map(len, models))} | {' | '.join(columns)} |")


def simulations(study: Path, begin: str) -> dict[str, list[list[Mapping[str, Any]]]]:
    """Start -> models -> simulations that lasted.

    Raises:
        SystemExit: if there are none
    """
    found = defaultdict(list)
    for folder in sorted((study / "evaluations" / "stability").iterdir()):
        every = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{begin}-*.json"))]
        lasted = [simulation for simulation in every if simulation["failure"] is None]
        if lasted:
            found[folder.name.split("-n")[0]].append(lasted)
    if not found:
        raise SystemExit(f"{study} has no simulations that begin with {begin!r} and lasted.")
    return dict(found)


def structure(frames: Sequence[Atoms], nearest: float) -> list[np.ndarray]:
    """g(r) and the distribution of bond angles."""
    return [
        radial_distribution(frames, RDF_EDGES * nearest),
        angular_distribution(frames, LONGEST_BOND * nearest, ADF_EDGES),
    ]


def halves(frames: Sequence[Atoms], nearest: float) -> list[list[float]]:
    """Deviations of one half of the frames from the other, of random halves."""
    generator, found = np.random.default_rng(0), []
    for _ in range(_HALVES):
        order = generator.permutation(len(frames))
        parts = order[: len(frames) // 2], order[len(frames) // 2 :]
        one, other = (structure([frames[i] for i in part], nearest) for part in parts)
        found.append(deviation(one, other))
    return found


def deviation(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[float]:
    return [float(np.mean(np.abs(a - b))) for a, b in zip(one, other)]


def coefficient(simulation: Mapping[str, Any]) -> float:
    """In 10⁻⁹ m²/s."""
    displacement = np.array(simulation[MSD])  # Å², of evenly spaced frames, the last one at the end
    times = np.arange(len(displacement)) * (1 - EQUILIBRATION) * simulation["survived"] / len(displacement)  # ps
    return 1e9 * _A2_PER_PS * np.polyfit(times, displacement, 1)[0] / 6


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, and standard deviation of more than one."""
    shown = [np.mean(values)] + ([np.std(values, ddof=1)] if len(values) > 1 else [])
    return " ± ".join(f"{value:.{digits}f}" for value in shown)


if __name__ == "__main__":
    main()
