"""Does the uncertainty of a deployed file tell which forces are wrong?

    python evidence/benchmarks/uncertainty.py sw runs/ge/best.ckpt [more.ckpt ...] --test data/sw/Ge_test.xyz
    python evidence/benchmarks/uncertainty.py dft runs/ge/best.ckpt --test data/mlearn/Ge_test.xyz

Each model is calibrated on what its training validated on, as `nequip-deploy build --uncertainty` does it, and asked
of structures with known forces. With `sw`, germanium of kinds that no training had is made and labelled with the
Stillinger-Weber potential: compressed, with two atoms too close, surfaces, interstitials, clusters, a hotter liquid.
Two simulations run with the model while the potential watches: a crystal at 600 K, and one that is heated until it
melts. Printed for each model: the area under the curve (AUC) of atoms wrong by more than 1 eV/Å (`--wrong`), by σ and
by the size of the predicted force; coverage of force components by 1σ and 2σ; what a grade above 1 catches.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase.io
import ase.units
import numpy as np
from ase import Atoms
from ase.build import bulk, diamond100, diamond111
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from nequip.utils.global_state import set_global_state
from sklearn.metrics import roc_auc_score

from nequip_elemtransfer.data.stillinger_weber import lattice_constant, stillinger_weber_calculator
from nequip_elemtransfer.deploy.calibration import Graded, Measured, frames_of, graded, measure
from nequip_elemtransfer.deploy.trained import TrainedModel, load_trained

OF_EACH_KIND = 8


@dataclass(frozen=True)
class Judged:
    """One structure: what the model says of it, and by how much it is wrong.

    Args:
        kind: of structure
        known: whether the training had the kind
        said: by the model
        errors: of force components in eV/Å, shape (n_atoms, 3)
    """

    kind: str
    known: bool
    said: Graded
    errors: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """Length of each atom's error in eV/Å, shape (n_atoms,)."""
        return np.linalg.norm(self.errors, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=("sw", "dft"))
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument(
        "--test", type=Path, required=True, help="labelled structures of the kinds that were trained on"
    )
    parser.add_argument("--wrong", type=float, default=1.0, help="error that makes an atom wrong, eV/Å (default: 1)")
    parser.add_argument("--steps", type=int, default=300, help="of each simulation (default: 300)")
    args = parser.parse_args()
    set_global_state()
    for number, checkpoint in enumerate(args.checkpoints):
        trained = load_trained(checkpoint)
        measured = measure(trained)
        structures = [(a.info.get("group", "test"), True, a) for a in ase.io.read(args.test, ":")]
        if args.data == "sw":
            structures += [(kind, False, atoms) for kind, atoms in unknown_kinds(np.random.default_rng(number))]
        judged = judge(trained, measured, structures)
        print(f"\n== {checkpoint}")
        report(measured, judged, args.wrong)
        if args.data == "sw":
            simulations(trained, measured, args.steps, number)


def judge(trained: TrainedModel, measured: Measured, structures: Sequence[tuple[str, bool, Atoms]]) -> list[Judged]:
    frames = frames_of(trained, [atoms for *_, atoms in structures])
    said = graded(trained.model, measured.uncertainty, frames)
    return [
        Judged(kind, known, one, one.forces - atoms.get_forces()) for (kind, known, atoms), one in zip(structures, said)
    ]


def report(measured: Measured, judged: Sequence[Judged], limit: float) -> None:
    calibration = measured.uncertainty.calibration
    print(f"calibrated on {measured.calibrated_on}: α {calibration.scale:.4f} eV/Å, grade 1 at", end=" ")
    print(f"{measured.uncertainty.largest:.3f} eV/Å, coverage there {coverage_text(calibration.coverage)}")
    print(f"{'structures':<28}{'n':>4}{'wrong atoms':>13}{'AUC σ':>8}{'AUC |F|':>9}{'1σ':>7}{'2σ':>7}{'γ > 1':>8}")
    known, unknown = [j for j in judged if j.known], [j for j in judged if not j.known]
    kinds = list(dict.fromkeys(j.kind for j in judged))
    groups = {"all": judged, "known kinds": known, "unknown kinds": unknown}
    groups |= {f"  {kind}": [j for j in judged if j.kind == kind] for kind in kinds}
    for name, group in groups.items():
        if group:
            print(line(name, group, limit))
    print("structures whose largest error is above / that a grade above 1 flags:")
    for large in (5.0, 2.0):
        above = [j for j in judged if j.wrong.max() > large]
        print(f"  above {large:g} eV/Å: {sum(flagged(j) for j in above)} of {len(above)}")
    for name, group in (("known kinds", known), ("all", judged)):
        below = [j for j in group if j.wrong.max() < 1]
        print(f"  below 1 eV/Å, {name}: {sum(flagged(j) for j in below)} of {len(below)}", flush=True)


def line(name: str, group: Sequence[Judged], limit: float) -> str:
    sigma = np.concatenate([j.said.uncertainty for j in group])
    size = np.concatenate([np.linalg.norm(j.said.forces, axis=1) for j in group])
    errors, wrong = np.concatenate([j.errors for j in group]), np.concatenate([j.wrong for j in group]) > limit
    aucs = [roc_auc_score(wrong, score) if 0 < wrong.sum() < len(wrong) else np.nan for score in (sigma, size)]
    within = [100 * np.mean(np.abs(errors) <= k * sigma[:, None]) for k in (1, 2)]
    return (
        f"{name:<28}{len(group):>4}{wrong.sum():>6} of {len(wrong):<4}{aucs[0]:>7.3f}{aucs[1]:>9.3f}"
        f"{within[0]:>5.0f} %{within[1]:>5.0f} %{sum(map(flagged, group)):>4} of {len(group)}"
    )


def flagged(judged: Judged) -> bool:
    return bool(judged.said.grades.max() > 1)


def coverage_text(coverage: Sequence[float]) -> str:
    return " / ".join(f"{100 * part:.0f} %" for part in coverage)


def unknown_kinds(rng: np.random.Generator) -> list[tuple[str, Atoms]]:
    """Germanium as no training had it, labelled with the potential."""
    made = []
    for i in range(OF_EACH_KIND):
        made += [
            ("compressed", compressed(0.94 - 0.01 * i, rng)),
            ("close contact", close_contact(2.1 - 0.08 * i, rng)),
            ("surface", surface(i, rng)),
            ("interstitial", interstitial(rng)),
            ("cluster", cluster(5.0 + 0.3 * i, rng)),
            ("hot liquid", hot_liquid(0.2 + 0.03 * i, rng)),
        ]
    for _, atoms in made:
        atoms.calc = stillinger_weber_calculator("Ge")
    return made


def crystal(repeats: int = 2) -> Atoms:
    return bulk("Ge", "diamond", a=lattice_constant("Ge"), cubic=True).repeat(repeats)


def rattled(atoms: Atoms, rng: np.random.Generator, width: float = 0.08) -> Atoms:
    atoms.positions += rng.normal(0, width, atoms.positions.shape)
    return atoms


def compressed(factor: float, rng: np.random.Generator) -> Atoms:
    atoms = rattled(crystal(), rng)
    atoms.set_cell(atoms.cell * factor, scale_atoms=True)
    return atoms


def close_contact(distance: float, rng: np.random.Generator) -> Atoms:
    """One atom is moved towards a neighbour, to a distance in Å; they are 2.45 apart in the crystal."""
    atoms = rattled(crystal(), rng)
    first = int(rng.integers(len(atoms)))
    apart = atoms.get_distances(first, range(len(atoms)), mic=True, vector=True)
    lengths = np.linalg.norm(apart, axis=1)
    lengths[first] = np.inf
    nearest = int(lengths.argmin())
    atoms.positions[first] += apart[nearest] * (1 - distance / lengths[nearest])
    return atoms


def surface(i: int, rng: np.random.Generator) -> Atoms:
    make, size = ((diamond100, (3, 3, 6)), (diamond111, (3, 3, 6)))[i % 2]
    return rattled(make("Ge", size, a=lattice_constant("Ge"), vacuum=8.0, periodic=True), rng)


def interstitial(rng: np.random.Generator) -> Atoms:
    """One atom more, somewhere at 1.7 Å or more from all others."""
    atoms = rattled(crystal(), rng)
    while True:
        more = atoms + Atoms("Ge", rng.uniform(size=(1, 3)) @ atoms.cell.array)
        if more.get_distances(-1, range(len(atoms)), mic=True).min() > 1.7:
            return more


def cluster(radius: float, rng: np.random.Generator) -> Atoms:
    atoms = crystal(4)
    center = atoms.cell.sum(axis=0) / 2 + rng.uniform(-1, 1, 3)
    atoms = atoms[np.linalg.norm(atoms.positions - center, axis=1) < radius]
    atoms.center(vacuum=8.0)
    return rattled(atoms, rng)


def hot_liquid(temperature: float, rng: np.random.Generator) -> Atoms:
    """A melt of the crystal's density at a temperature k_B T / ε; those of the data set are at most at 0.17."""
    atoms = crystal()
    atoms.calc = stillinger_weber_calculator("Ge")
    kelvin = temperature * 1.93 / ase.units.kB
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * kelvin, rng=rng)
    LangevinBAOAB(atoms, 3 * ase.units.fs, temperature_K=kelvin, T_tau=50 * ase.units.fs, rng=rng).run(250)
    return Atoms("Ge64", atoms.positions, cell=atoms.cell, pbc=True)


class Watched(Calculator):
    """The model for ASE, with its grades and what the potential says beside it."""

    implemented_properties = ["energy", "forces"]

    def __init__(self, trained: TrainedModel, measured: Measured) -> None:
        super().__init__()
        self._trained, self._measured = trained, measured
        self._truth = stillinger_weber_calculator("Ge")
        self.worst: list[tuple[float, float]] = []  # grade and error of the worst atom at each step

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        (said,) = graded(self._trained.model, self._measured.uncertainty, frames_of(self._trained, [bare(atoms)]))
        truth = bare(atoms)
        truth.calc = self._truth
        wrong = np.linalg.norm(said.forces - truth.get_forces(), axis=1)
        self.worst.append((float(said.grades.max()), float(wrong.max())))
        self.results = {"energy": 0.0, "forces": said.forces}


def bare(atoms: Atoms) -> Atoms:
    return Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def simulations(trained: TrainedModel, measured: Measured, steps: int, seed: int) -> None:
    """A crystal at 600 K, and one that is heated by 100 K a step, until it melts and beyond."""
    for name, heating in (("crystal at 600 K", 0.0), ("heated crystal", 100.0)):
        rng = np.random.default_rng(seed)
        atoms = crystal()
        watched = atoms.calc = Watched(trained, measured)
        MaxwellBoltzmannDistribution(atoms, temperature_K=1200, rng=rng)  # half of it is potential energy soon
        dynamics = LangevinBAOAB(atoms, 3 * ase.units.fs, temperature_K=600, T_tau=50 * ase.units.fs, rng=rng)
        for step in range(steps):
            if heating:
                dynamics = LangevinBAOAB(
                    atoms, 3 * ase.units.fs, temperature_K=600 + heating * step, T_tau=50 * ase.units.fs, rng=rng
                )
            dynamics.run(1)
            if watched.worst[-1][1] > 20:
                break
        grades, errors = np.array(watched.worst).T
        print(
            f"{name}: {len(grades)} steps, grade above 1 at {first(grades > 1)} ({np.sum(grades > 1)} in all, largest "
            f"{grades.max():.2f}), error above 1 eV/Å at {first(errors > 1)} ({np.sum(errors > 1)} in all, largest "
            f"{errors.max():.2f} eV/Å)",
            flush=True,
        )


def first(where: np.ndarray) -> str:
    return f"step {int(where.argmax())}" if where.any() else "no step"


if __name__ == "__main__":
    main()
