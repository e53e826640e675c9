from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase.build import bulk
from numpy.testing import assert_allclose

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import set_energies
from nequip_elemtransfer.architecture.probe import probe_cluster
from nequip_elemtransfer.lengths import scaling
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.mapping.per_type import remap_state, retype, type_axes

SI_TO_GE = ElementMap.from_elements({"Ge": "Si"}, ["Si"])
ZBL = {"_target_": "nequip.nn.pair_potential.ZBL", "units": "metal"}


# ---- λ in an architecture


def test_no_scale_changes_nothing():
    architecture = {"type_names": ["Si", "Ge"], "r_max": 4.0}
    assert scaling.with_lengths(architecture, np.ones((2, 2))) == {"type_names": ["Si", "Ge"], "r_max": 4.0}
    of_pairs = architecture | {"per_edge_type_cutoff": {"Si": 3.0}}  # left as written, not as a table of all pairs
    assert scaling.with_lengths(of_pairs, np.ones((2, 2))) == architecture | {"per_edge_type_cutoff": {"Si": 3.0}}


def test_one_common_scale_needs_only_r_max():
    architecture = {"type_names": ["Si", "Ge"], "r_max": 4.0}
    scaled = scaling.with_lengths(architecture, np.full((2, 2), 1.25))
    assert scaled == {"type_names": ["Si", "Ge"], "r_max": 5.0}
    assert architecture["r_max"] == 4.0


def test_several_scales_need_a_table_with_the_longest_as_r_max():
    architecture = {"type_names": ["Si", "Ge"], "r_max": 4.0}
    scaled = scaling.with_lengths(architecture, np.array([[1.0, 1.25], [1.25, 1.5]]))
    assert scaled == {
        "type_names": ["Si", "Ge"],
        "r_max": 6.0,
        "per_edge_type_cutoff": {"Si": {"Si": 4.0, "Ge": 5.0}, "Ge": {"Si": 5.0, "Ge": 6.0}},
    }


def test_pair_cutoffs_are_scaled_pair_by_pair():
    architecture = {"type_names": ["Si", "Ge"], "r_max": 4.0, "per_edge_type_cutoff": {"Si": {"Ge": 3.0}, "Ge": 2.0}}
    scaled = scaling.with_lengths(architecture, np.array([[1.0, 1.25], [1.25, 1.5]]))
    assert scaled["r_max"] == 6.0
    assert scaled["per_edge_type_cutoff"] == {"Si": {"Si": 4.0, "Ge": 3.75}, "Ge": {"Si": 2.5, "Ge": 3.0}}
    common = scaling.with_lengths(architecture, np.full((2, 2), 1.5))
    assert common["r_max"] == 6.0
    assert common["per_edge_type_cutoff"] == {"Si": {"Si": 6.0, "Ge": 4.5}, "Ge": {"Si": 3.0, "Ge": 3.0}}


@pytest.mark.parametrize("seed", range(20))
def test_no_pair_cutoff_rounds_above_r_max(seed):
    """NequIP refuses a pair cutoff above r_max, by however little."""
    random = np.random.default_rng(seed)
    architecture = {"type_names": ["A", "B", "C"], "r_max": random.uniform(3.0, 6.0)}
    scales = random.uniform(0.8, 1.3, size=(3, 3))
    scaled = scaling.with_lengths(architecture, scales)
    assert arch.pair_cutoffs(scaled).max() == scaled["r_max"]


# ---- λ in models


@pytest.fixture(scope="module")
def similar(build):
    """Makes the model of the target types at the source's lengths and the one at λ times those."""

    known_axes = {}

    def make(source, elements, scales):
        source_model = build(source)
        element_map = ElementMap.from_elements(elements, source["type_names"])
        if str(source) not in known_axes:
            known_axes[str(source)] = type_axes(source_model, source)
        axes = known_axes[str(source)]
        before = retype(source, element_map)
        after = scaling.with_lengths(before, np.asarray(scales, dtype=float))
        models = []
        for architecture in (before, after):
            model = build(architecture)
            factors = scaling.radial_factors(source_model, model)
            state, _ = remap_state(model, source_model.state_dict(), axes, element_map, factors, frozenset())
            model.load_state_dict(state)
            models.append(model)
        return SimpleNamespace(
            source=source_model, before=models[0], after=models[1], before_architecture=before, after_architecture=after
        )

    return make


def proved(models):
    scaling.prove_similarity(models.before, models.after, models.before_architecture, models.after_architecture)


def test_radial_factors_of_nequip(nequip_architecture, build):
    architecture = nequip_architecture("Si", num_layers=2, r_max=4.0)
    factors = scaling.radial_factors(build(architecture), build(architecture | {"r_max": 5.0}))
    assert set(factors) == {f"model.func.layer{i}_convnet.conv.edge_mlp.mlp.0.weight" for i in range(2)}
    assert_allclose(list(factors.values()), (5.0 / 4.0) ** 2, rtol=1e-15)


def test_radial_factors_name_parameters_at_any_depth_of_the_radial_mlp(nequip_architecture, build):
    for depth in (0, 2):
        architecture = nequip_architecture("Si", radial_mlp_depth=depth)
        model = build(architecture)
        factors = scaling.radial_factors(model, build(architecture | {"r_max": 5.0}))
        assert len(factors) == 1 and set(factors) <= {name for name, _ in model.named_parameters()}


def test_no_radial_factors_where_nothing_depends_on_r_max(nequip_architecture, allegro_architecture, build):
    allegro = allegro_architecture("Si")
    assert scaling.radial_factors(build(allegro), build(allegro | {"r_max": 5.0})) == {}
    nequip = nequip_architecture("Si")
    assert scaling.radial_factors(build(nequip), build(nequip | {"seed": 2})) == {}


def evaluate(model, data):
    out = model(data.copy())
    return {name: out[name].detach().numpy() for name in ("total_energy", "forces", "stress", "atomic_energy")}


def rattled_silicon():
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    atoms.rattle(0.15, seed=3)
    atoms.set_cell(atoms.cell @ (np.eye(3) + [[0.01, 0.03, 0.0], [0.0, -0.02, 0.01], [0.0, 0.0, 0.02]]), True)
    return atoms


def scaled_copy(atoms, scale, symbols=None):
    copy = atoms.copy()
    copy.set_cell(scale * atoms.cell, scale_atoms=True)
    copy.symbols[:] = symbols or atoms.symbols
    return copy


@pytest.mark.parametrize("model", ["nequip l_max=1", "nequip l_max=2", "allegro bessel", "allegro spline"])
@pytest.mark.parametrize("scale", [1.20 / 1.11, 0.9])
def test_similarity_of_a_crystal(request, similar, graph, model, scale):
    """Invariant 3: E'(λx) = E(x), λF'(λx) = F(x), λ³σ'(λx) = σ(x)."""
    family, option = model.split()
    make = request.getfixturevalue(f"{family}_architecture")
    options = {"l_max": int(option[-1])} if family == "nequip" else {"embedding": option}
    source = make("Si", num_layers=2, **options)
    models = similar(source, {"Ge": "Si"}, [[scale]])
    silicon = rattled_silicon()
    germanium = scaled_copy(silicon, scale, "Ge")
    assert models.after_architecture["r_max"] == pytest.approx(4.0 * scale)
    expected = evaluate(models.source, graph(silicon, ["Si"], 4.0))
    found = evaluate(models.after, graph(germanium, ["Ge"], models.after_architecture["r_max"]))
    assert np.abs(expected["forces"]).max() > 0.01 and np.abs(expected["stress"]).max() > 1e-4
    assert_allclose(found["total_energy"], expected["total_energy"], rtol=1e-13)
    assert_allclose(found["atomic_energy"], expected["atomic_energy"], rtol=1e-12)
    assert_allclose(scale * found["forces"], expected["forces"], atol=1e-12)
    assert_allclose(scale**3 * found["stress"], expected["stress"], atol=1e-13)
    proved(models)


def test_similarity_with_energy_scale_and_shift(nequip_architecture, similar, graph):
    """E'(λx) − Nμ' = α (E(x) − Nμ) and λF'(λx) = αF(x)."""
    scale, alpha, shift = 1.08, 0.7, -3.1
    models = similar(nequip_architecture("Si"), {"Ge": "Si"}, [[scale]])
    set_energies(models.after, np.array([alpha * 1.3]), np.array([shift]))
    silicon = rattled_silicon()
    expected = evaluate(models.source, graph(silicon, ["Si"], 4.0))
    found = evaluate(models.after, graph(scaled_copy(silicon, scale, "Ge"), ["Ge"], 4.0 * scale))
    n = len(silicon)
    assert_allclose(found["total_energy"] - n * shift, alpha * (expected["total_energy"] + n * 4.0), atol=1e-12)
    assert_allclose(scale * found["forces"], alpha * expected["forces"], atol=1e-12)


def test_similarity_of_a_compound_with_pair_cutoffs(nequip_architecture, similar, graph):
    """One λ for all pairs of a source that has its own cutoff for each."""
    source = nequip_architecture("C", "Si", per_edge_type_cutoff={"C": {"C": 3.0, "Si": 3.4}, "Si": {"C": 3.4}})
    scale = 1.2
    models = similar(source, {"Ge": "Si", "N": "C"}, np.full((2, 2), scale))
    carbide = bulk("SiC", "zincblende", a=4.36, cubic=True)
    carbide.rattle(0.1, seed=5)
    other = scaled_copy(carbide, scale, [{"Si": "Ge", "C": "N"}[symbol] for symbol in carbide.symbols])
    expected = evaluate(models.source, graph(carbide, ["C", "Si"], 4.0))
    found = evaluate(models.after, graph(other, ["Ge", "N"], 4.0 * scale))
    assert_allclose(found["total_energy"], expected["total_energy"], rtol=1e-13)
    assert_allclose(scale * found["forces"], expected["forces"], atol=1e-12)
    proved(models)


PAIR_SCALES = np.array([[1.0, 1.05], [1.05, 1.10]])


@pytest.mark.parametrize("family", ["nequip", "allegro"])
def test_extension_keeps_the_old_type_and_scales_each_pair(request, similar, graph, family):
    """Invariant 4, and the mixed pair: a Si-Ge dimer at λ_tu d is the Si-Si dimer at d."""
    source = request.getfixturevalue(f"{family}_architecture")("Si", num_layers=2)
    models = similar(source, {"Si": "Si", "Ge": "Si"}, PAIR_SCALES)
    longest = models.after_architecture["r_max"]
    assert longest == pytest.approx(4.4)
    silicon = rattled_silicon()
    expected = evaluate(models.source, graph(silicon, ["Si"], 4.0))
    found = evaluate(models.after, graph(silicon, ["Si", "Ge"], longest))
    for name in expected:
        assert_allclose(found[name], expected[name], atol=1e-12, rtol=1e-13)
    for t, pair in enumerate(("SiSi", "SiGe", "GeGe")):
        scale = [1.0, 1.05, 1.10][t]
        dimer = bulk("Si", "diamond", a=5.431)[:2]
        dimer.positions[1] = dimer.positions[0] + [0.8, 0.9, 1.0]
        dimer.set_cell(20 * np.eye(3))
        other = scaled_copy(dimer, scale, [pair[:2], pair[2:]])
        one = evaluate(models.source, graph(dimer, ["Si"], 4.0))
        two = evaluate(models.after, graph(other, ["Si", "Ge"], longest))
        assert_allclose(two["atomic_energy"], one["atomic_energy"], rtol=1e-13)
        assert_allclose(scale * two["forces"], one["forces"], rtol=1e-9)
        assert np.abs(one["forces"]).min() > 1e-4
    proved(models)


@pytest.mark.parametrize("model", ["nequip l_max=2", "allegro bessel", "allegro spline"])
def test_triples_of_three_types_are_similar(request, similar, model):
    """Each pair with a λ of its own: the energies of chains and the forces on their ends."""
    family, option = model.split()
    options = {"l_max": 2} if family == "nequip" else {"embedding": option}
    source = request.getfixturevalue(f"{family}_architecture")("C", "Si", num_layers=2, **options)
    scales = np.array([[1.0, 1.04, 1.09], [1.04, 1.1, 1.13], [1.09, 1.13, 1.2]])
    models = similar(source, {"C": "C", "Ge": "Si", "Sn": "Si"}, scales)
    proved(models)
    before, after = (probe_cluster(a) for a in (models.before_architecture, models.after_architecture))
    middle = slice(6 * 2 + 3 * 4, None)  # after six dimers and three tetrahedra
    first, second = (evaluate(m, d) for m, d in ((models.before, before), (models.after, after)))
    assert np.abs(first["atomic_energy"][middle]).min() > 0.1
    assert_allclose(second["atomic_energy"][middle], first["atomic_energy"][middle], rtol=1e-11)


def test_a_pair_potential_keeps_its_lengths_and_does_not_count_as_dissimilar(nequip_architecture, similar, graph):
    """ZBL is a function of r and of the nuclear charges: similarity is the network's alone."""
    source = nequip_architecture("Si", pair_potential=ZBL | {"chemical_species": ["Si"]})
    models = similar(source, {"Ge": "Si"}, [[1.08]])
    potential = models.after.model.func.pair_potential
    proved(models)
    assert models.after.model.func.pair_potential is potential
    assert list(models.after.model.func._modules) == list(models.source.model.func._modules)
    data = graph(scaled_copy(rattled_silicon(), 1.08, "Ge"), ["Ge"], 4.32)
    bare = similar(nequip_architecture("Si"), {"Ge": "Si"}, [[1.08]])
    assert evaluate(models.after, data)["total_energy"] > evaluate(bare.after, data)["total_energy"] + 1.0


# ---- refusing what is not similar


def test_a_changed_weight_is_not_similar(nequip_architecture, similar):
    models = similar(nequip_architecture("Si"), {"Ge": "Si"}, [[1.08]])
    with torch.no_grad():
        dict(models.after.named_parameters())["model.func.layer0_convnet.conv.linear_2.weight"].mul_(1 + 1e-6)
    with pytest.raises(ValueError) as error:
        proved(models)
    message = str(error.value)
    assert "nequip.model.NequIPGNNModel cannot take a length scale" in message
    assert "(tolerance 1e-11)" in message and "Use `length_scale: none`" in message


def test_an_uncompensated_radial_factor_is_not_similar(nequip_architecture, similar):
    models = similar(nequip_architecture("Si"), {"Ge": "Si"}, [[1.08]])
    with torch.no_grad():
        for name, parameter in models.after.named_parameters():
            if name.endswith("edge_mlp.mlp.0.weight"):
                parameter /= 1.08**2
    with pytest.raises(ValueError, match="cannot take a length scale"):
        proved(models)


def test_a_forgotten_pair_is_not_similar(nequip_architecture, similar):
    models = similar(nequip_architecture("Si"), {"Si": "Si", "Ge": "Si"}, PAIR_SCALES)
    wrong = PAIR_SCALES + [[0.0, 1e-6], [1e-6, 0.0]]
    scaling.set_lengths(models.after, models.before_architecture, wrong)
    with pytest.raises(ValueError, match="cannot take a length scale"):
        proved(models)


def test_a_fault_beside_another_type_is_not_similar(nequip_architecture, similar):
    """One that no dimer and no cluster of one type shows: in the energy of an atom with two types of neighbours."""
    models = similar(nequip_architecture("Si"), {"Si": "Si", "Ge": "Si"}, PAIR_SCALES)

    def faulty(data):
        center, neighbor = data["edge_index"]
        types = data["atom_types"][neighbor].double()
        sums = [torch.zeros(len(data["pos"]), dtype=types.dtype).index_add(0, center, types**n) for n in (0, 1, 2)]
        mixed = sums[2] * sums[0] - sums[1] ** 2  # the variance of the neighbours' types
        out = models.after(data)
        return out | {"atomic_energy": out["atomic_energy"] + 1e-6 * mixed[:, None]}

    with pytest.raises(ValueError, match="cannot take a length scale"):
        scaling.prove_similarity(models.before, faulty, models.before_architecture, models.after_architecture)


def test_not_a_number_is_not_similar(nequip_architecture, similar):
    models = similar(nequip_architecture("Si"), {"Ge": "Si"}, [[1.08]])
    with torch.no_grad():
        dict(models.after.named_parameters())["model.func.layer0_convnet.conv.linear_2.weight"].fill_(torch.nan)
    with pytest.raises(ValueError, match="cannot take a length scale"):
        proved(models)


# ---- λ without building


@pytest.mark.parametrize("family", ["nequip", "allegro"])
def test_lengths_set_in_place_for_one_type(request, similar, graph, family):
    source = request.getfixturevalue(f"{family}_architecture")("Si")
    models = similar(source, {"Ge": "Si"}, [[1.08]])
    data = graph(scaled_copy(rattled_silicon(), 1.08, "Ge"), ["Ge"], 4.32)
    expected = evaluate(models.after, data)
    for scale in (1.2, 1.08):  # the second must not build on the first
        scaling.set_lengths(models.before, models.before_architecture, np.array([[scale]]))
    found = evaluate(models.before, data)
    for name in expected:
        assert_allclose(found[name], expected[name], atol=1e-12, rtol=1e-13)


def test_lengths_set_in_place_for_pairs(nequip_architecture, similar, graph):
    source = nequip_architecture("Si", per_edge_type_cutoff={"Si": 4.0})
    models = similar(source, {"Si": "Si", "Ge": "Si"}, PAIR_SCALES)
    alloy = rattled_silicon()
    alloy.symbols[::2] = "Ge"
    data = graph(alloy, ["Si", "Ge"], models.after_architecture["r_max"])
    expected = evaluate(models.after, data)
    scaling.set_lengths(models.before, models.before_architecture, PAIR_SCALES)
    found = evaluate(models.before, data)
    for name in expected:
        assert_allclose(found[name], expected[name], atol=1e-12, rtol=1e-13)
