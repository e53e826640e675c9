"""Structures without a cell, most types kept: the fits, what stays as it was, and what a deployed file is proved on.

The source is an untrained float64 model of H, C and Si, and the labels are those of a germanium model made from it with
known scales, so that every number is known.
"""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from nequip.data import AtomicDataDict, from_ase

from nequip_elemtransfer.architecture.builders import build, pair_cutoffs
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.deploy.verify import check_structures, expected
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.transfer.transfer import Transfer

TYPES = ["H", "C", "Si"]
KEPT = {"H": "H", "C": "C"}
ELEMENTS = KEPT | {"Ge": "Si"}
SHIFTS = {"H": -13.0, "C": -58.0, "Si": -46.0}  # eV
KNOWN = {
    "length_scale": {"H": 1.0, "C": 1.0, "Ge": 1.05},
    "energy_scale": {"H": 1.0, "C": 1.0, "Ge": 0.8},
    "energy_shifts": SHIFTS | {"Ge": -55.0},
}
KNOWN["energy_shifts"].pop("Si")
GERMANES = ["CH3SiH3", "SiH4", "Si2H6", "SiH2_s1A1d"]
CUTOFF = 6.0  # Å, beyond any that a target has here


@pytest.fixture(scope="module", params=["nequip", "allegro"])
def source(request, nequip_architecture, allegro_architecture):
    """H, C and Si, with a zero of energy of each."""
    make = nequip_architecture if request.param == "nequip" else allegro_architecture
    architecture = make(*TYPES, per_type_energy_shifts=SHIFTS)
    return SourceModel("source", "0" * 64, architecture, build(architecture).state_dict())


def frame_of(atoms, types):
    """Of atoms without a cell."""
    assert not atoms.pbc.any() and not atoms.cell.any()
    frame = from_ase(atoms)
    frame[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor([types.index(symbol) for symbol in atoms.symbols])
    return with_neighbors(frame, CUTOFF)


def germanes(n=12):
    """Rattled molecules with one to two atoms of Ge and one or no atom of C."""
    for i in range(n):
        atoms = molecule(GERMANES[i % len(GERMANES)])
        atoms.symbols = ["Ge" if symbol == "Si" else symbol for symbol in atoms.symbols]
        atoms.positions *= 1.06
        atoms.rattle(0.08, seed=i)
        yield atoms


def built(result):
    model = build(result.architecture)
    model.load_state_dict(result.state)
    return model.eval()


def evaluate(model, frame):
    out = model(frame.copy())
    return out[AtomicDataDict.TOTAL_ENERGY_KEY].item(), out[AtomicDataDict.FORCE_KEY].detach()


def transfer(source, frames, elements=ELEMENTS, **key):
    config = TransferConfig.from_mapping({"source": "source", "elements": elements, **key})
    return Transfer(config, source, lambda r_max: frames).run()


@pytest.fixture(scope="module")
def labelled(source):
    """Germanes with energies and forces of the source at the known scales; no stresses, as there is no volume."""
    frames = [frame_of(atoms, list(ELEMENTS)) for atoms in germanes()]
    for frame in frames:
        frame[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.zeros((1, 1))
        frame[AtomicDataDict.FORCE_KEY] = torch.zeros(frame[AtomicDataDict.POSITIONS_KEY].shape)
    truth = built(transfer(source, frames, **KNOWN))
    for frame in frames:
        energy, forces = evaluate(truth, frame)
        frame[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[energy]])
        frame[AtomicDataDict.FORCE_KEY] = forces
    return frames


@pytest.fixture(scope="module")
def fitted(source, labelled):
    """What is made of the source with everything fitted to the germanes."""
    return transfer(source, labelled)


def test_the_new_element_is_found_again(fitted):
    """λ, α and μ of Ge from energies and forces of molecules; H and C keep theirs to the last bit."""
    found = fitted.provenance
    assert found["length_scale"]["decided_by"] == "labels"
    assert found["length_scale"]["per_type"] == {"H": 1.0, "C": 1.0, "Ge": pytest.approx(1.05, abs=3e-3)}
    assert found["energy_scale"]["per_type"] == {"H": 1.0, "C": 1.0, "Ge": pytest.approx(0.8, rel=0.03)}
    shifts = found["energy_shifts"]["per_type"]
    assert (shifts["H"], shifts["C"]) == (SHIFTS["H"], SHIFTS["C"])
    assert shifts["Ge"] == pytest.approx(-55.0, abs=0.03)


@pytest.mark.parametrize("name", ["CH4", "C2H4", "C2H2", "H2", "C3H8"])
def test_molecules_without_the_new_element_are_as_they_were(source, fitted, name):
    """Invariant 4 on molecules, with everything fitted."""
    model = built(fitted)
    atoms = molecule(name)
    atoms.rattle(0.05, seed=1)
    energy, forces = evaluate(model, frame_of(atoms, list(ELEMENTS)))
    own, own_forces = evaluate(source.build().eval(), frame_of(atoms, TYPES))
    assert energy == pytest.approx(own, rel=1e-12)
    np.testing.assert_allclose(forces, own_forces, atol=1e-11)
    germane = next(germanes())
    as_silane = Atoms(["Si" if symbol == "Ge" else symbol for symbol in germane.symbols], germane.positions)
    changed = evaluate(model, frame_of(germane, list(ELEMENTS)))[0]
    assert abs(changed - evaluate(source.build().eval(), frame_of(as_silane, TYPES))[0]) > 0.1


def test_only_pairs_with_the_new_element_get_another_length(source, labelled):
    result = transfer(source, labelled, **KNOWN)
    ratios = pair_cutoffs(result.architecture) / pair_cutoffs(source.architecture)
    radii = {"H": 0.31, "C": 0.76, "Si": 1.11}  # Å, covalent
    mixed = [(1.05 * radii["Si"] + radii[t]) / (radii["Si"] + radii[t]) for t in ("H", "C")]
    expected_ratios = [[1, 1, mixed[0]], [1, 1, mixed[1]], [*mixed, 1.05]]
    np.testing.assert_allclose(ratios, expected_ratios, rtol=1e-12)
    assert 1 < mixed[1] < mixed[0] < 1.05


def test_types_with_few_atoms(source, labelled):
    """One structure with the new type, of one atom, and none with the kept ones alone: enough for its three numbers."""
    one = [frame for frame in labelled if len(frame[AtomicDataDict.POSITIONS_KEY]) == 8][:1]
    result = transfer(source, one)
    assert result.provenance["energy_shifts"]["fitted_types"] == ["Ge"]
    energy, _ = evaluate(built(result), one[0])
    assert energy == pytest.approx(one[0][AtomicDataDict.TOTAL_ENERGY_KEY].item(), abs=1e-6)


def test_isolated_atoms_without_a_cell(source, labelled):
    """The model dissociates to the energies of isolated atoms; kept types keep theirs, whatever is said of them."""
    alone = frame_of(Atoms("Ge"), list(ELEMENTS))
    alone[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[-48.5]])
    alone[AtomicDataDict.FORCE_KEY] = torch.zeros((1, 3))
    result = transfer(source, [*labelled, alone], energy_shifts="isolated_atoms")
    assert result.provenance["isolated_atoms"] == [len(labelled)]
    assert result.provenance["length_scale"]["per_type"]["Ge"] == pytest.approx(1.05, abs=3e-3)
    model = built(result)
    assert evaluate(model, alone)[0] == pytest.approx(-48.5, abs=1e-6)
    hydrogen = [frame_of(Atoms("H"), types) for types in (list(ELEMENTS), TYPES)]
    assert evaluate(model, hydrogen[0])[0] == evaluate(source.build().eval(), hydrogen[1])[0]


def test_a_deployed_file_is_proved_on_molecules(source):
    """No structure has atoms upon each other; two copies have twice the energy but for what joins them."""
    model, cutoffs = source.build().eval(), pair_cutoffs(source.architecture)
    frame = frame_of(molecule("CH3SiH3"), TYPES)
    frames = check_structures(frame, cutoffs)
    assert list(frames) == ["training structure", "dimer", "strained structure", "two copies"]
    said = expected(model, frames, "cpu")
    for prediction in said.values():
        assert np.isfinite(prediction.energy) and np.isfinite(prediction.forces).all()
        assert np.isfinite(prediction.virial).all()
    positions = frames["two copies"][AtomicDataDict.POSITIONS_KEY]
    n_atoms = len(positions) // 2
    apart = torch.cdist(positions[:n_atoms], positions[n_atoms:]).min().item()
    assert apart == pytest.approx(0.5 * cutoffs.max(), rel=0.3) and apart > 1.0
    alone = said["training structure"].energy
    assert said["two copies"].energy != pytest.approx(2 * alone, abs=1e-6)  # they see each other
    assert said["two copies"].energy == pytest.approx(2 * alone, rel=0.1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_chain_is_doubled_along_its_periodic_direction(nequip_architecture, axis):
    architecture = nequip_architecture("C", "H", "Si")
    atoms = Atoms("C2", np.eye(3)[[axis, axis]] * [[0.0], [1.3]], cell=np.eye(3)[axis] * 2.6 * np.eye(3))
    atoms.pbc = np.eye(3, dtype=bool)[axis]
    frame = from_ase(atoms)
    frame[AtomicDataDict.ATOM_TYPE_KEY] = torch.zeros(2, dtype=torch.long)
    frames = check_structures(frame, pair_cutoffs(architecture))
    said = expected(build(architecture).eval(), frames, "cpu")
    assert said["doubled cell"].energy == pytest.approx(2 * said["training structure"].energy, rel=1e-10)
