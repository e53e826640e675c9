"""How far apart the atoms are whose interaction a model misses: force constants in its errors on warm crystals.

    python evidence/benchmarks/residual_range.py --element Si --temperature 300 \\
        data/mlearn/Si_{train,val,test}.xyz MODEL.ckpt

In a crystal that is warm and not hot, forces are linear in displacements but for a few per cent of their square, and so
is a smooth model's error in them. The error of the force on an atom is regressed on the displacements of all atoms
within a distance: if what is left falls with it, models miss harmonic force constants of that range; if nothing
explains it, it is noise or anharmonic. Each frame is predicted by a fit to the other frames, and all operations of the
crystal's space group are used as data. Random forces in place of errors show what the fits make of noise. Frames are
2 x 2 x 2 cubic cells of diamond, of `group=AIMD-NVT` and the `temperature` given.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import ase.io
import numpy as np
import spglib
from ase import Atoms
from ase.build import bulk
from ase.geometry import find_mic

from nequip_elemtransfer.study.measure.one_evaluation import trained_calculator

_RIDGE = 1e-3  # of the mean square of the displacements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "paths", nargs="+", help="files of structures with forces, and one checkpoint of nequip-train or more"
    )
    parser.add_argument("--element", required=True)
    parser.add_argument("--temperature", type=int, required=True, help="K")
    args = parser.parse_args()
    checkpoints = [Path(path) for path in args.paths if path.endswith(".ckpt")]
    files = [path for path in args.paths if not path.endswith(".ckpt")]
    wanted = {"group": "AIMD-NVT", "temperature": args.temperature}
    everything = (atoms for path in files for atoms in ase.io.read(path, ":"))
    frames = [atoms for atoms in everything if wanted.items() <= atoms.info.items()]
    if not frames:
        raise SystemExit(f"No structure has {wanted}.")
    ideal = bulk(args.element, "diamond", a=frames[0].cell.lengths()[0] / 2, cubic=True).repeat(2)
    orders, displaced = zip(*(displacements(atoms, ideal) for atoms in frames))
    moved = np.array(displaced)
    operations = symmetry(ideal)
    distances = np.linalg.norm(find_mic(ideal.positions - ideal.positions[0], ideal.cell)[0], axis=1)
    shells = sorted(set(np.round(distances, 2)))
    labels = [atoms.get_forces() for atoms in frames]
    noise = [np.random.default_rng(i).normal(0, 0.03, label.shape) for i, label in enumerate(labels)]
    forces = {"the labels themselves": labels, "noise": noise} | {
        str(path): errors(path, frames, labels) for path in checkpoints
    }
    targets = {
        name: np.array([one[order] for one, order in zip(of_frames, orders)]) for name, of_frames in forces.items()
    }
    show(
        f"{len(frames)} frames; forces in meV/Å, root mean square; what is left by displacements within",
        ["", *(f"{shell:.2f} Å" for shell in shells), "beyond 5 Å alone"],
        targets,
        lambda sites: [
            1000 * np.sqrt((sites**2).mean()),
            *(1000 * unexplained(moved, sites, operations, distances <= shell + 0.01) for shell in shells),
            1000 * unexplained(moved, sites, operations, distances > 5.0),
        ],
    )
    first = [int(np.argmin(np.abs(distances - shell))) for shell in shells]
    show(
        "force constants, eV/Å², norm of the matrix of one site at",
        [f"{shell:.2f} Å" for shell in shells],
        targets,
        lambda sites: np.linalg.norm(force_constants(moved, sites, operations)[first], axis=(1, 2)),
        digits=2,
    )


def show(
    title: str,
    columns: list[str],
    targets: dict[str, np.ndarray],
    values: Callable[[np.ndarray], Iterable[float]],
    digits: int = 1,
) -> None:
    print(f"{title}\n\n| | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    for name, sites in targets.items():
        print(f"| {name} | {' | '.join(f'{value:.{digits}f}' for value in values(sites))} |")
    print()


def displacements(atoms: Atoms, ideal: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Of the atom at each ideal site: its index, and its displacement (sites, 3) in Å, without that of all.

    Raises:
        SystemExit: if two atoms are nearest to one site
    """
    best = None
    for site in ideal.positions:
        shift = atoms.positions[0] - site
        for _ in range(3):
            vectors, lengths = find_mic((atoms.positions[:, None] - shift - ideal.positions).reshape(-1, 3), ideal.cell)
            nearest = lengths.reshape(len(atoms), -1).argmin(axis=1)
            moved = vectors.reshape(len(atoms), -1, 3)[np.arange(len(atoms)), nearest]
            shift = shift + moved.mean(axis=0)
        if len(set(nearest)) == len(atoms) and (best is None or (moved**2).sum() < best[0]):
            best = (moved**2).sum(), np.argsort(nearest), moved
    if best is None:
        raise SystemExit("A frame is no crystal of diamond with 2 x 2 x 2 cubic cells.")
    _, order, moved = best
    return order, moved[order] - moved.mean(axis=0)


def symmetry(ideal: Atoms) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rotation (3, 3) and, of each site, the site that it comes from: all operations of the supercell."""
    found = spglib.get_symmetry((ideal.cell.array, ideal.get_scaled_positions(), ideal.numbers))
    scaled, operations = ideal.get_scaled_positions(), []
    for rotation, translation in zip(found["rotations"], found["translations"]):
        apart = scaled @ rotation.T + translation - scaled[:, None]  # (target, site, 3), of a cubic cell
        operations.append((rotation, np.linalg.norm(apart - np.round(apart), axis=2).argmin(axis=1)))
    return operations


def errors(checkpoint: Path, frames: list[Atoms], labels: list[np.ndarray]) -> list[np.ndarray]:
    """(atoms, 3) of each frame, model less label, in eV/Å."""
    with tempfile.TemporaryDirectory() as folder:
        calculator = trained_calculator(checkpoint, "eager", Path(folder))
        return [calculator.get_property("forces", atoms) - label for atoms, label in zip(frames, labels)]


def unexplained(
    moved: np.ndarray, forces: np.ndarray, operations: list[tuple[np.ndarray, np.ndarray]], chosen: np.ndarray
) -> float:
    """Root mean square (eV/Å) of what displacements (frames, sites, 3) of the chosen sites leave of the forces."""
    x, y = equations(moved, forces, operations, chosen)
    squares, products = np.einsum("fok,fol->fkl", x, x, optimize=True), np.einsum("fok,foc->fkc", x, y, optimize=True)
    left = [
        y[frame] - x[frame] @ solved(squares.sum(axis=0) - squares[frame], products.sum(axis=0) - products[frame])
        for frame in range(len(x))
    ]
    return float(np.sqrt(np.mean(np.square(left))))


def force_constants(
    moved: np.ndarray, forces: np.ndarray, operations: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(sites, 3, 3) in eV/Å², of each site's displacement on the first, by a fit to all frames."""
    x, y = equations(moved, forces, operations, np.ones(moved.shape[1], bool))
    return solved(np.einsum("fok,fol->kl", x, x, optimize=True), np.einsum("fok,foc->kc", x, y, optimize=True)).reshape(
        -1, 3, 3
    )


def equations(
    moved: np.ndarray, forces: np.ndarray, operations: list[tuple[np.ndarray, np.ndarray]], chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (frames, operations, 3 chosen) and forces on the first site (frames, operations, 3)."""
    inputs, outputs = [], []
    for rotation, origin in operations:
        inputs.append((moved[:, origin] @ rotation.T)[:, chosen].reshape(len(moved), -1))
        outputs.append(forces[:, origin[0]] @ rotation.T)
    return np.stack(inputs, axis=1), np.stack(outputs, axis=1)


def solved(square: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Weights of a ridge regression."""
    return np.linalg.solve(square + _RIDGE * np.trace(square) / len(square) * np.eye(len(square)), product)


if __name__ == "__main__":
    main()
