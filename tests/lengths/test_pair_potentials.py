"""A source with ZBL: its network is scaled, and the pair potential is that of the target's nuclei."""

import numpy as np
import pytest
from made_labels import evaluate, labelled_by, structure, transfer
from nequip.data import AtomicDataDict
from nequip.nn import with_edge_vectors_

from nequip_elemtransfer.architecture.builders import build, set_energies
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.config import LABEL_KINDS, TransferConfig
from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.lengths.search import LengthSearch
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.structures.labels import Labels
from nequip_elemtransfer.transfer.transfer import Transfer

KNOWN = {"length_scale": 1.06, "energy_scale": 0.8, "energy_shifts": {"Ge": -3.3}}
# c and d of the screening function of Ziegler, Biersack and Littmark
SCREENING = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))


@pytest.fixture
def original(nequip_architecture):
    """A model of silicon whose network says as much as its ZBL."""
    zbl = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["Si"]}
    energies = {"per_type_energy_scales": {"Si": 200.0}, "per_type_energy_shifts": {"Si": -4.0}}
    architecture = nequip_architecture("Si", pair_potential=zbl, **energies)
    return SourceModel("source", "0" * 64, architecture, build(architecture).state_dict())


def pair_potential(state, architecture, frame):
    """Energy in eV of a model whose network is silenced."""
    silent = build(architecture)
    silent.load_state_dict(state)
    set_energies(silent, np.zeros(1), np.zeros(1))
    return evaluate(silent.eval(), architecture, frame)[0]


def test_the_network_is_scaled_and_the_pair_potential_is_not(original):
    """E'(λx) − nμ' − ZBL_Ge(λx) = α (E(x) − nμ − ZBL_Si(x))."""
    model, made = transfer(original, {"Ge": "Si"}, **KNOWN)
    small, large = structure([0], None), structure([0], None, scale=1.06)
    total = evaluate(model, made.architecture, large)[0]
    found = total - pair_potential(made.state, made.architecture, large) + 12 * 3.3
    total = evaluate(original.build().eval(), original.architecture, small)[0]
    expected = total - pair_potential(original.state, original.architecture, small) + 12 * 4.0
    assert found == pytest.approx(0.8 * expected, rel=1e-10)


def test_the_pair_potential_is_that_of_the_target_in_an_envelope_of_its_cutoff(original):
    """LAMMPS' formula for germanium times the polynomial of r over λ times the source's cutoff."""
    _, made = transfer(original, {"Ge": "Si"}, **KNOWN)
    frame, cutoff = structure([0], None, scale=1.06), 1.06 * 4.0
    edges = with_edge_vectors_(with_neighbors(frame, cutoff), with_lengths=True)
    r = edges[AtomicDataDict.EDGE_LENGTH_KEY].numpy().reshape(-1)
    reduced = 2 * 32**0.23 * r / 0.46850
    screened = 14.399645 * 32**2 / r * sum(c * np.exp(-d * reduced) for c, d in SCREENING)
    x = r / cutoff
    by_hand = 0.5 * np.sum(screened * (1 - 28 * x**6 + 48 * x**7 - 21 * x**8))
    assert pair_potential(made.state, made.architecture, frame) == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("gone", [None, "total_energy", "forces", "stress"])
def test_a_scaled_source_is_found_again_beside_its_pair_potential(original, gone):
    """λ, α and μ of the network; α and μ exactly where λ is."""
    model, made = transfer(original, {"Ge": "Si"}, **KNOWN)
    frames = labelled_by(model, made.architecture, [0])
    for frame in frames:
        frame.pop(gone, None)
    key = {"source": "s", "elements": {"Ge": "Si"}, "energy_shifts": "source" if gone == "total_energy" else "fit"}
    fitted = Transfer(TransferConfig.from_mapping(key), original, lambda r_max: frames).run().provenance
    assert fitted["length_scale"]["decided_by"] == "labels"
    assert fitted["length_scale"]["per_type"]["Ge"] == pytest.approx(1.06, abs=1e-3)
    assert fitted["energy_scale"]["per_type"]["Ge"] == pytest.approx(0.8, rel=0.01)
    exact = Transfer(TransferConfig.from_mapping(key | {"length_scale": 1.06}), original, lambda r_max: frames)
    provenance = exact.run().provenance
    assert provenance["energy_scale"]["per_type"]["Ge"] == pytest.approx(0.8, rel=1e-9)
    assert provenance["energy_scale"]["errors"]["Ge"] == pytest.approx(0.0, abs=1e-9)
    if gone != "total_energy":
        assert provenance["energy_shifts"]["per_type"]["Ge"] == pytest.approx(-3.3, abs=1e-8)
    assert provenance["pair_potential"] == "ZBL"
    assert "pair potential ZBL: neither λ nor α scales it" in TransferRecord.from_dict(provenance).text()


# ---- the search of λ beside a pair potential that the network has to undo

RANDOM = np.random.default_rng(3)
N_FRAMES, N_ATOMS = 6, 4
FORCES, UNDONE, ASIDE = RANDOM.normal(size=(3, N_FRAMES * N_ATOMS, 3))
NOT_A_NUMBER = np.full(N_FRAMES, np.nan), np.full((N_FRAMES, 3, 3), np.nan)


def poor_source(scales):
    """Forces of a pair potential three times the labels, and a network that undoes it but for twice the labels.

    It turns away from that as λ leaves 1.06, and says the opposite where λ is above 1.15.
    """
    angle = 1.5 * (scales[0] - 1.06) / 0.06
    network = FORCES - 3 * UNDONE + 2 * ASIDE
    network = np.cos(np.clip(angle, -1.2, 3.0)) * network + 2 * np.sin(np.clip(angle, -1.2, 3.0)) * ASIDE[::-1]
    counts, zero = np.full((N_FRAMES, 1), N_ATOMS), np.zeros((1, N_FRAMES, 3, 3))
    fixed = Labels(np.zeros(N_FRAMES), 3 * UNDONE, zero[0])
    return NetworkParts(np.zeros((1, N_FRAMES)), network[None], zero, fixed, counts)


def test_a_source_that_undoes_its_pair_potential_poorly_is_still_scaled_best():
    """It leaves more unexplained than a model without anything would, and far less than the pair potential alone.

    Where no positive α is best nothing is better than that, so such a λ must not seem the lowest.
    """
    labels = Labels(NOT_A_NUMBER[0], FORCES, NOT_A_NUMBER[1])
    found = LengthSearch(poor_source, labels, np.array([1.0]), np.array([False]), dict.fromkeys(LABEL_KINDS, 1.0))
    found.scan()
    alone = np.log(np.sum((FORCES - 3 * UNDONE) ** 2) / np.sum(FORCES**2) + 0.2)
    assert np.log(2.0) < found.least() < alone - 0.3
    assert found.objective(1.2) == pytest.approx(alone + np.log(2 / 1.2), rel=1e-12)
    best = found.best()
    assert best.decided and best.factor == pytest.approx(1.06, abs=0.01)
