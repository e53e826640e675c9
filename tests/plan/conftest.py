"""A target that is the source in other units, so that every fit has a known answer."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from units import ENERGY, LENGTH, SHIFT

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.energies.contributions import predict
from nequip_elemtransfer.plan.start.cross_validation import CrossValidation
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import folds, to_frames
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.transfer.start import Start


@pytest.fixture(scope="session")
def source(nequip_architecture, build):
    """A silicon model with random weights; its energy shift is zero."""
    architecture = nequip_architecture("Si", per_type_energy_shifts=0.0)
    return SourceModel("random", "0" * 64, architecture, build(architecture).state_dict())


@pytest.fixture(scope="session")
def crystals():
    """Makes rattled diamond crystals of an element, labelled by the source in other units."""

    def make(source, element, n, lattice, length=LENGTH, energy=ENERGY, shift=SHIFT):
        model, structures = source.build().eval(), []
        for seed in range(n):
            atoms = bulk(element, "diamond", a=lattice * (1 + 0.02 * np.sin(seed)), cubic=True)
            atoms.rattle(0.1 + 0.03 * (seed % 3), seed=seed)
            alike = atoms.copy()
            alike.set_cell(atoms.cell / length, scale_atoms=True)
            alike.symbols[:] = "Si"
            types = list(source.type_names)
            found = predict(model, [with_neighbors(f, source.r_max) for f in to_frames([alike], types, types)])
            atoms.calc = SinglePointCalculator(
                atoms,
                energy=energy * found.energies[0] + shift * len(atoms),
                forces=energy * found.forces / length,
                stress=energy * found.stresses[0] / length**3,
            )
            structures.append(atoms)
        return structures

    arch.initialize_nequip()  # float64 positions
    return make


@pytest.fixture(scope="session")
def trial_of():
    """Makes a :class:`CrossValidation` of structures of one element from a source type."""

    def make(source, structures, elements, n_folds=3):
        frames = to_frames(structures, list(elements), list(elements))
        start = Start.of(TransferConfig("random", elements), source, lambda r_max: frames)
        return CrossValidation(start, folds(range(len(frames)), n_folds, 0))

    return make
