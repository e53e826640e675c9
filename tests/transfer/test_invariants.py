"""What must hold for every transfer: both model families, one and several types, random maps, orders and scales.

The sources are untrained float64 models, so every identity is sharp.
"""

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_labels import evaluate, labelled, labelled_by, stress, structure, transfer
from nequip.data import AtomicDataDict, from_ase

from nequip_elemtransfer.architecture.builders import build, configured_parameters, pair_cutoffs, with_trained_options
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.mapping.per_type import named_tensors, retype
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.transfer.transfer import Transfer

ELEMENTS = ("Si", "C", "Ge", "Sn", "Pb")
FAMILIES = ("nequip", "bessel", "spline")
# hypothesis builds several models an example
RELAXED = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NONE = {"length_scale": "none", "energy_scale": "none", "energy_shifts": "source"}


@pytest.fixture
def source(nequip_architecture, allegro_architecture):
    """A source model of a family with random weights, scales and shifts."""

    def make(family, types, seed=1, **options):
        if family != "nequip":
            pytest.importorskip("allegro")
        rng = np.random.default_rng(seed)
        options = {
            "seed": seed,
            "per_type_energy_scales": dict(zip(types, rng.uniform(0.5, 2.0, len(types)).tolist())),
            "per_type_energy_shifts": dict(zip(types, rng.uniform(-5.0, -3.0, len(types)).tolist())),
            **options,
        }
        if family == "nequip":
            architecture = nequip_architecture(*types, **options)
        else:
            architecture = allegro_architecture(*types, embedding=family, **options)
        return SourceModel("source", "0" * 64, architecture, build(architecture).state_dict())

    return make


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_types", [1, 3])
def test_identity_is_bitwise(source, family, n_types):
    """Invariant 1."""
    types = ELEMENTS[:n_types]
    original = source(family, types)
    model, result = transfer(original, {t: t for t in types}, **NONE)
    frame = structure(list(range(n_types)), types)
    energy, forces = evaluate(model, result.architecture, frame)
    expected_energy, expected_forces = evaluate(original.build().eval(), original.architecture, frame)
    assert energy == expected_energy
    np.testing.assert_array_equal(forces, expected_forces)


@RELAXED
@given(
    family=st.sampled_from(FAMILIES),
    order=st.permutations(range(3)),
    picks=st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
def test_relabelling(source, family, order, picks):
    """Invariant 2 for any one-hot map: drop, reorder, repeat."""
    types = [ELEMENTS[i] for i in order]
    original = source(family, types)
    targets = [f"T{i}" for i in range(len(picks))]
    model, result = transfer(original, {t: types[p] for t, p in zip(targets, picks)}, **NONE)
    target_frame, source_frame = structure(list(range(len(picks))), targets), structure(picks, types)
    energy, forces = evaluate(model, result.architecture, target_frame)
    expected_energy, expected_forces = evaluate(original.build().eval(), original.architecture, source_frame)
    assert energy == pytest.approx(expected_energy, rel=1e-12)
    np.testing.assert_allclose(forces, expected_forces, atol=1e-10)


@RELAXED
@given(family=st.sampled_from(FAMILIES), length=st.floats(0.8, 1.3), alpha=st.floats(0.3, 2.0), shift=st.floats(-6, 1))
def test_similarity_for_one_type(source, family, length, alpha, shift):
    """Invariant 3: E'(λx) − nμ' = α (E(x) − nμ) and λF'(λx) = αF(x)."""
    original = source(family, ["Si"])
    model, result = transfer(
        original, {"Ge": "Si"}, length_scale=length, energy_scale=alpha, energy_shifts={"Ge": shift}
    )
    energy, forces = evaluate(model, result.architecture, structure([0], ["Ge"], scale=length))
    expected, expected_forces = evaluate(original.build().eval(), original.architecture, structure([0], ["Si"]))
    mu = original.architecture["per_type_energy_shifts"]["Si"]
    assert energy - 12 * shift == pytest.approx(alpha * (expected - 12 * mu), rel=1e-9)
    np.testing.assert_allclose(length * forces, alpha * expected_forces, atol=1e-9)
    found = stress(model, result.architecture, structure([0], ["Ge"], scale=length))
    expected = stress(original.build().eval(), original.architecture, structure([0], ["Si"]))
    np.testing.assert_allclose(length**3 * found, alpha * expected, atol=1e-10)  # σ'(λx) = α σ(x) / λ³


@pytest.mark.parametrize("gone", [None, "total_energy", "forces", "stress"])
def test_a_scaled_source_is_found_again_from_its_labels(source, gone):
    """λ, α and μ from what a target of known λ, α and μ says, with any one kind of label missing."""
    original = source("nequip", ["Si"])
    known = {"length_scale": 1.06, "energy_scale": 0.8, "energy_shifts": {"Ge": -3.3}}
    model, made = transfer(original, {"Ge": "Si"}, **known)
    frames = labelled_by(model, made.architecture, [0])
    for frame in frames:
        frame.pop(gone, None)
    shifts = "source" if gone == "total_energy" else "fit"
    config = TransferConfig.from_mapping({"source": "s", "elements": {"Ge": "Si"}, "energy_shifts": shifts})
    found = Transfer(config, original, lambda r_max: frames).run().provenance
    assert found["length_scale"]["decided_by"] == "labels"
    assert found["length_scale"]["per_type"]["Ge"] == pytest.approx(1.06, abs=1e-3)
    assert found["energy_scale"]["per_type"]["Ge"] == pytest.approx(0.8, rel=0.01)
    if gone != "total_energy":
        assert found["energy_shifts"]["per_type"]["Ge"] == pytest.approx(-3.3, abs=5e-3)


def test_one_new_type_beside_a_kept_one_is_found_again(source):
    original = source("nequip", ["Si"])
    shift = original.architecture["per_type_energy_shifts"]["Si"]
    model, made = transfer(
        original,
        {"Si": "Si", "Ge": "Si"},
        length_scale={"Si": 1.0, "Ge": 1.05},
        energy_scale={"Si": 1.0, "Ge": 0.8},
        energy_shifts={"Si": shift, "Ge": -3.3},
    )
    frames = labelled_by(model, made.architecture, [0, 1])
    config = TransferConfig.from_mapping({"source": "s", "elements": {"Si": "Si", "Ge": "Si"}})
    found = Transfer(config, original, lambda r_max: frames).run().provenance
    assert found["length_scale"]["per_type"] == {"Si": 1.0, "Ge": pytest.approx(1.05, abs=2e-3)}
    assert found["energy_scale"]["per_type"] == {"Si": 1.0, "Ge": pytest.approx(0.8, rel=0.02)}
    assert found["energy_shifts"]["per_type"] == {"Si": shift, "Ge": pytest.approx(-3.3, abs=0.02)}


def test_a_kept_type_is_fitted_where_it_is_asked_for(source):
    """The same element by another reference method: other energies per atom, a stiffer crystal, longer bonds."""
    original = source("nequip", ["Si"])
    known = {"length_scale": {"Si": 1.02}, "energy_scale": {"Si": 1.3}, "energy_shifts": {"Si": -150.0}}
    model, made = transfer(original, {"Si": "Si"}, **known)
    frames = labelled_by(model, made.architecture, [0])

    def provenance(**key):
        config = TransferConfig.from_mapping({"source": "s", "elements": {"Si": "Si"}, **key})
        return Transfer(config, original, lambda r_max: frames).run().provenance

    frozen, fitted = provenance(), provenance(kept_types="fit")
    assert frozen["length_scale"]["per_type"]["Si"] == frozen["energy_scale"]["per_type"]["Si"] == 1.0
    assert frozen["energy_shifts"]["per_type"] == original.architecture["per_type_energy_shifts"]
    assert fitted["length_scale"]["per_type"]["Si"] == pytest.approx(1.02, abs=1e-3)
    assert fitted["energy_scale"]["per_type"]["Si"] == pytest.approx(1.3, rel=0.01)
    assert fitted["energy_shifts"]["per_type"]["Si"] == pytest.approx(-150.0, abs=0.01)


@pytest.mark.parametrize("given", [None, {"Ge": -0.75}])
def test_isolated_atoms_dissociate_to_their_reference(source, given):
    """From a structure among the data or a number; either way it takes no part in the other fits."""
    original = source("nequip", ["Si"])
    model, made = transfer(original, {"Ge": "Si"}, length_scale=1.06, energy_scale=0.8, energy_shifts={"Ge": -3.3})
    frames = labelled_by(model, made.architecture, [0])
    alone = from_ase(Atoms("X", cell=[30, 30, 30], pbc=True))
    alone |= {
        AtomicDataDict.ATOM_TYPE_KEY: torch.tensor([0]),
        AtomicDataDict.TOTAL_ENERGY_KEY: torch.tensor([[-0.5]]),
        AtomicDataDict.FORCE_KEY: torch.zeros((1, 3)),
    }
    frames.insert(2, with_neighbors(alone, 12.0))
    word = "isolated_atoms" if given is None else {"isolated_atoms": given}
    results = {}
    asked = {"atoms": word} if given else {"atoms": word, "fit": "fit"}  # which is the same either way
    for name, shifts in asked.items():
        config = TransferConfig.from_mapping({"source": "s", "elements": {"Ge": "Si"}, "energy_shifts": shifts})
        results[name] = Transfer(config, original, lambda r_max: frames).run()
    built = build(results["atoms"].architecture)
    built.load_state_dict(results["atoms"].state)
    energy = evaluate(built.eval(), results["atoms"].architecture, alone)[0]
    assert energy == pytest.approx(-0.5 if given is None else -0.75, abs=1e-6)
    if given is None:
        assert results["fit"].provenance["energy_shifts"]["per_type"]["Ge"] == pytest.approx(-3.3, abs=5e-3)
    for result in results.values():
        assert result.provenance["isolated_atoms"] == [2]
        assert result.provenance["length_scale"]["per_type"]["Ge"] == pytest.approx(1.06, abs=1e-3)


@pytest.mark.parametrize(("distance", "isolated"), [(9.0, [6]), (4.9, [])])
def test_atoms_far_apart_say_nothing_of_bonds(source, distance, isolated):
    """Beyond any cutoff that the search may ask for, and beyond the one it ends with (4.24 Å) alone."""
    original = source("nequip", ["Si"])
    model, made = transfer(original, {"Ge": "Si"}, length_scale=1.06, energy_scale=0.8, energy_shifts={"Ge": -3.3})
    apart = from_ase(Atoms("X2", [[0, 0, 0], [0, 0, distance]]))
    apart |= {AtomicDataDict.ATOM_TYPE_KEY: torch.tensor([0, 0]), AtomicDataDict.FORCE_KEY: torch.zeros((2, 3))}
    frames = labelled_by(model, made.architecture, [0])
    apart[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[-0.5]])
    frames.append(with_neighbors(apart, 12.0))
    key = {"source": "s", "elements": {"Ge": "Si"}}
    found = Transfer(TransferConfig.from_mapping(key), original, lambda r_max: frames).run().provenance
    assert found["isolated_atoms"] == isolated
    assert found["energy_shifts"]["per_type"]["Ge"] == pytest.approx(-3.3, abs=5e-3)
    assert found["energy_scale"]["per_type"]["Ge"] == pytest.approx(0.8, abs=5e-3)


def test_isolated_atom_that_is_nowhere(source):
    original = source("nequip", ["Si"])
    config = TransferConfig.from_mapping(
        {"source": "s", "elements": {"Ge": "Si"}, **NONE, "energy_shifts": "isolated_atoms"}
    )
    with pytest.raises(
        ValueError, match="finds no isolated atom of Ge among the training structures: add one, or give"
    ):
        Transfer(config, original, lambda r_max: labelled(1)).run()


@pytest.mark.parametrize("family", FAMILIES)
def test_similarity_pair_by_pair(source, family):
    """Invariant 3 for pairs: with λ_tu, a dimer t-u of length λ_tu r is the source's dimer of length r."""
    original = source(family, ["Si", "C"])
    lengths = {"Ge": 1.1, "Sn": 0.9}
    model, result = transfer(original, {"Ge": "Si", "Sn": "C"}, **NONE | {"length_scale": lengths})
    reference = original.build().eval()
    cutoffs, own = pair_cutoffs(result.architecture), pair_cutoffs(original.architecture)
    radii = {"Si": 1.11, "C": 0.76}  # Å
    mixed = (1.1 * radii["Si"] + 0.9 * radii["C"]) / (radii["Si"] + radii["C"])
    np.testing.assert_allclose(cutoffs / own, [[1.1, mixed], [mixed, 0.9]], rtol=1e-12)
    for t, u in [(0, 0), (0, 1), (1, 1)]:
        energies = []
        for built, architecture in ((model, result.architecture), (reference, original.architecture)):
            frame = from_ase(Atoms("X2", [[0, 0, 0], [0.5 * pair_cutoffs(architecture)[t, u], 0, 0]]))
            frame[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor([t, u])
            energies.append(evaluate(built, architecture, frame)[0])
        assert energies[0] == pytest.approx(energies[1], rel=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", ["covalent_radii", {"Si": 1.0, "Ge": 1.3}])
def test_nothing_is_forgotten_at_step_zero(source, family, length):
    """Invariant 4, whatever the new type's scales are; and the alloy is finite and differs from pure silicon."""
    original = source(family, ["Si"])
    model, result = transfer(
        original,
        {"Si": "Si", "Ge": "Si"},
        length_scale=length,
        energy_scale={"Si": 1.0, "Ge": 0.7},
        energy_shifts={"Si": original.architecture["per_type_energy_shifts"]["Si"], "Ge": -2.0},
    )
    frame = structure([0], ["Si"])
    energy, forces = evaluate(model, result.architecture, frame)
    expected, expected_forces = evaluate(original.build().eval(), original.architecture, frame)
    assert energy == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(forces, expected_forces, atol=1e-11)
    alloy, _ = evaluate(model, result.architecture, structure([0, 1], ["Si", "Ge"]))
    assert np.isfinite(alloy) and alloy != pytest.approx(energy)


def test_fits_leave_kept_types_alone(source):
    """Invariant 4 with everything fitted to data that are far from the source."""
    original = source("nequip", ["Si"])
    target = source("nequip", ["Si", "Ge"], seed=7)
    truth = target.build().eval()
    frames = []
    for i in range(3):
        frame = with_neighbors(structure([0, 1], None, seed=i), 6.0)
        frame[AtomicDataDict.TOTAL_ENERGY_KEY] = torch.tensor([[evaluate(truth, target.architecture, frame)[0]]])
        frame[AtomicDataDict.FORCE_KEY] = torch.tensor(evaluate(truth, target.architecture, frame)[1])
        frames.append(frame)
    config = TransferConfig.from_mapping(
        {"source": "s", "elements": {"Si": "Si", "Ge": "Si"}, "energy_scale": {"Si": 1.0, "Ge": 0.9}}
    )
    result = Transfer(config, original, lambda r_max: frames).run()
    model = build(result.architecture)
    model.load_state_dict(result.state)
    assert result.provenance["energy_shifts"]["fitted_types"] == ["Ge"]
    frame = structure([0], ["Si"])
    energy = evaluate(model.eval(), result.architecture, frame)[0]
    assert energy == pytest.approx(evaluate(original.build().eval(), original.architecture, frame)[0], rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("elements", [{"Ge": {"Si": 0.5, "Sn": 0.5}}, {"Pb": "auto", "Si": "Si", "C": "random"}])
def test_every_tensor_is_accounted_for(source, family, elements):
    """Invariant 5."""
    original = source(family, ["Si", "Sn"])
    model, result = transfer(original, elements, **NONE)
    reported = [tensor["name"] for tensor in result.provenance["tensors"]]
    assert sorted(reported) == sorted(name for name, _ in named_tensors(model))


def test_blend_is_the_mean_embedding(source):
    original = source("nequip", ["Si", "Sn"])
    model, result = transfer(original, {"Ge": {"Si": 0.25, "Sn": 0.75}}, **NONE)
    name = "model.func.type_embed.embed_module.weight"
    rows = original.state[name]
    torch.testing.assert_close(dict(model.named_parameters())[name][0], 0.25 * rows[0] + 0.75 * rows[1])
    scales = original.architecture["per_type_energy_scales"]
    expected = 0.25 * scales["Si"] + 0.75 * scales["Sn"]
    assert result.architecture["per_type_energy_scales"]["Ge"] == pytest.approx(expected)


def test_random_start_keeps_what_is_not_per_type(source):
    original = source("nequip", ["Si"])
    model, _ = transfer(original, {"Si": "Si", "Ge": "random"}, **NONE)
    parameters = dict(model.named_parameters())
    embedding = parameters["model.func.type_embed.embed_module.weight"]
    torch.testing.assert_close(embedding[0], original.state["model.func.type_embed.embed_module.weight"][0])
    assert not torch.allclose(embedding[1], embedding[0])
    for name, value in parameters.items():
        if "type_embed" not in name:
            torch.testing.assert_close(value, original.state[name], rtol=0, atol=0)


def test_pair_potential_keeps_its_physics(source):
    """A ZBL term belongs to the new element's nuclei: it takes its atomic number and neither λ nor α."""
    zbl = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal", "chemical_species": ["Si"]}
    original = source("nequip", ["Si"], pair_potential=zbl)
    model, result = transfer(original, {"Ge": "Si"}, length_scale=1.08, energy_scale=0.5, energy_shifts={"Ge": 0.0})
    assert result.architecture["pair_potential"]["chemical_species"] == ["Ge"]
    assert dict(model.named_buffers())["model.func.pair_potential.atomic_numbers"].tolist() == [32.0]


def test_lennard_jones_parameters_follow_the_map(source):
    """As trained, not as configured; NequIP 0.19.1 cannot run this potential, so only the mapping is looked at."""
    potential = {
        "_target_": "nequip.nn.pair_potential.LennardJones",
        "lj_sigma": [[2.0, 2.5], [2.5, 3.0]],
        "lj_epsilon": 0.01,
        "lj_sigma_trainable": True,
    }
    original = source("nequip", ["Si", "Ge"], pair_potential=potential)
    model = original.build()
    with torch.no_grad():
        model.get_parameter("model.func.pair_potential.sigma")[0, 1] = 2.7  # NequIP keeps the upper triangle
    trained = with_trained_options(original.architecture, model)
    element_map = ElementMap.from_elements({"Sn": "Ge", "C": "Si"}, ["Si", "Ge"])
    target = retype(trained, element_map)["pair_potential"]
    np.testing.assert_allclose(target["lj_sigma"], [[3.0, 2.7], [2.7, 2.0]])
    np.testing.assert_allclose(target["lj_epsilon"], np.full((2, 2), 0.01))
    assert "model.func.pair_potential.sigma" in configured_parameters(model)
