r"""Copper → silver with ZBL: what the fits of λ and α should measure errors against, and what corresponds.

    nequip-elemtransfer data emt --elements Cu Ag --out data/emt
    nequip-train -cp "$PWD/example_configs" -cn emt_cu hydra.run.dir=runs/emt_cu
    nequip-train -cp "$PWD/example_configs" -cn emt_cu hydra.run.dir=runs/emt_cu_zbl \
      '+training_module.model.pair_potential={_target_: nequip.nn.pair_potential.ZBL, units: metal, \
      chemical_species: [Cu]}'
    python benchmarks/pair_potential.py data/emt/Ag_train_10.xyz data/emt/Ag_test.xyz \
      runs/emt_cu/best.ckpt runs/emt_cu_zbl/best.ckpt

First with a perfect source: copper's own effective medium theory, less ZBL where the source is one with it. Then with
trained sources. Errors before any training, with λ, α and μ fitted to the first file, on the second.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

from nequip_elemtransfer.architecture.builders import build, set_energies
from nequip_elemtransfer.config import LABEL_KINDS, TransferConfig
from nequip_elemtransfer.data.emt import lattice_constant
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.contributions import NetworkParts, predict
from nequip_elemtransfer.energies.zero_shot import zero_shot
from nequip_elemtransfer.lengths.scales import first_guess
from nequip_elemtransfer.lengths.search import LengthSearch
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.structures.labels import Labels, labels_of
from nequip_elemtransfer.transfer.target import TargetBuilder

CUTOFF = 5.0  # Å, of the example config
WEIGHTS = dict.fromkeys(LABEL_KINDS, 1.0)
FITTED = np.array([False])
LATTICES = lattice_constant("Ag") / lattice_constant("Cu")


class MeasuredByWhatIsLearned(LengthSearch):
    """Errors as parts of the labels less the pair potential, and not of the labels."""

    def _terms(self, factor, frames):
        return {kind: replace(term, reference=term.rest) for kind, term in super()._terms(factor, frames).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fit_to")
    parser.add_argument("test")
    parser.add_argument("sources", nargs="*", help="checkpoints of copper")
    args = parser.parse_args()
    silver, test = (ase.io.read(file, ":") for file in (args.fit_to, args.test))
    print("| source | errors measured by | λ | α | J | forces (meV/Å) | energies (meV/atom) | stresses (meV/Å³) |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, zbl in (("EMT of copper", False), ("EMT of copper, ZBL apart", True)):
        report(name, silver, test, partial(of_emt, zbl=zbl), zbl)
    for path in args.sources:
        source = load_source(path)
        report(path, silver, test, of_source(path), source.architecture.get("pair_potential") is not None)


PartsAt = Callable[[np.ndarray], NetworkParts]


def report(
    name: str, silver: list[Atoms], test: list[Atoms], parts_of: Callable[[list[Atoms]], PartsAt], zbl: bool
) -> None:
    """A line for each measure, and one at the λ of the lattices."""
    parts_at, parts_of_test = parts_of(silver), parts_of(test)
    labels, wanted = labels_of(frames(silver, "Ag")), labels_of(frames(test, "Ag"))
    guess = first_guess(ElementMap.from_elements({"Ag": "Cu"}, ["Cu"]))
    searches = {"the labels": LengthSearch, "what is learned": MeasuredByWhatIsLearned}
    for measure, search in searches.items() if zbl else [("the labels", LengthSearch)]:
        found = search(parts_at, labels, guess, FITTED, WEIGHTS)
        found.scan()
        best = found.best()
        length = f"{found.scales(best.factor)[0]:.3f} ± {best.error * guess[0]:.3f}"
        text = length if best.decided else f"{guess[0]:.3f}, not decided (lowest {found.best_factor() * guess[0]:.3f})"
        line((name, measure, text), found.scales(best.factor), parts_at, parts_of_test, labels, wanted, found.least())
    line(
        (name, "(λ of the lattices)", f"{LATTICES:.3f}"), np.array([LATTICES]), parts_at, parts_of_test, labels, wanted
    )


def line(
    cells: tuple[str, str, str],
    scales: np.ndarray,
    parts_at: PartsAt,
    parts_of_test: PartsAt,
    labels: Labels,
    wanted: Labels,
    least: float | None = None,
) -> None:
    """α and μ fitted at λ, and the errors on the other structures."""
    parts = parts_at(scales)
    energies = fit.fit_energy_scales(parts.terms(labels), WEIGHTS, FITTED)
    shifts = parts.fit_shifts(labels, energies.scales, np.zeros(1), FITTED).shifts
    other = parts_of_test(scales)
    found = zero_shot("", other.predicted(energies.scales, shifts), wanted, other.counts)
    errors = [
        f"{1000 * error:.{places}f}"
        for error, places in ((found.force_mae, 1), (found.energy_mae, 1), (found.stress_mae, 2))
    ]
    alpha = f"{energies.scales[0]:.3f} ± {energies.errors[0]:.3f}"
    objective = "" if least is None else f"{least:.3f}"
    print("| " + " | ".join([*cells, alpha, objective, *errors]) + " |", flush=True)


def of_source(path: str) -> Callable[[list[Atoms]], PartsAt]:
    config = TransferConfig.from_mapping({"source": path, "elements": {"Ag": "Cu"}})
    target = TargetBuilder(load_source(path), ElementMap.from_elements(config.elements, ["Cu"], config.species))

    def parts_of(atoms: list[Atoms]) -> PartsAt:
        of_silver = frames(atoms, "Ag")
        return lambda scales: target.parts_at(scales, of_silver)

    return parts_of


def of_emt(atoms: list[Atoms], zbl: bool) -> PartsAt:
    """The parts of a network that had learned copper perfectly, beside ZBL or without it."""

    def parts_at(scales: np.ndarray) -> NetworkParts:
        length = float(scales[0])
        copper = [as_copper(structure, length) for structure in atoms]
        learned, fixed = emt(copper), Labels(*(np.zeros_like(x) for x in vars(emt(copper)).values()))
        if zbl:
            own, fixed = zbl_alone(copper, "Cu", CUTOFF), zbl_alone(atoms, "Ag", CUTOFF * length)
            learned = Labels(*(getattr(learned, name) - getattr(own, name) for name in vars(learned)))
        counts = np.array([[len(structure)] for structure in atoms])
        forces, stresses = learned.forces / length, learned.stresses / length**3
        return NetworkParts(learned.energies[None], forces[None], stresses[None], fixed, counts)

    return parts_at


def as_copper(atoms: Atoms, length: float) -> Atoms:
    """The structure at corresponding states."""
    copper = atoms.copy()
    copper.symbols[:] = "Cu"
    copper.set_cell(copper.cell / length, scale_atoms=True)
    return copper


def emt(structures: Sequence[Atoms]) -> Labels:
    for atoms in structures:
        atoms.calc = EMT()
    return Labels(
        np.array([atoms.get_potential_energy() for atoms in structures]),
        np.concatenate([atoms.get_forces() for atoms in structures]),
        np.array([atoms.get_stress(voigt=False) for atoms in structures]),
    )


def zbl_alone(structures: list[Atoms], symbol: str, cutoff: float) -> Labels:
    """NequIP's ZBL in its envelope: a model whose network is silenced."""
    architecture = {
        "_target_": "nequip.model.NequIPGNNModel",
        "seed": 0,
        "model_dtype": "float64",
        "type_names": [symbol],
        "r_max": cutoff,
        "num_layers": 1,
        "l_max": 0,
        "parity": False,
        "num_features": 2,
        "radial_mlp_depth": 1,
        "radial_mlp_width": 2,
        "avg_num_neighbors": 12.0,
        "per_type_energy_scales": {symbol: 1.0},
        "per_type_energy_shifts": {symbol: 0.0},
        "pair_potential": {
            "_target_": "nequip.nn.pair_potential.ZBL",
            "units": "metal",
            "chemical_species": [symbol],
        },
    }
    model = build(architecture).eval()
    set_energies(model, np.zeros(1), np.zeros(1))
    return predict(model, [with_neighbors(frame, cutoff) for frame in frames(structures, symbol)])


def frames(structures: list[Atoms], symbol: str) -> list[dict]:
    return to_frames(structures, [symbol], [symbol], [], list(range(len(structures))))


if __name__ == "__main__":
    main()
