"""Checkpoints of NequIP 0.7 to 0.16 say today what they said then (see ``make_fixtures.py``)."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import NeighborListTransform
from nequip.model import ModelFromCheckpoint

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import with_trained_options
from nequip_elemtransfer.checkpoints import migration
from nequip_elemtransfer.cli import main
from nequip_elemtransfer.deploy import build as build_module
from nequip_elemtransfer.deploy.build import deploy
from nequip_elemtransfer.deploy.deployed import DeployedModel
from nequip_elemtransfer.deploy.write import Recipe, write_and_verify
from nequip_elemtransfer.output.refusal import RefusedFile
from nequip_elemtransfer.source import load_source

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = ["v07_nequip", "v08_allegro", "v08_nequip", "v08_nequip_even", "v16_nequip"]
QUANTITIES = {
    "energy": AtomicDataDict.TOTAL_ENERGY_KEY,
    "forces": AtomicDataDict.FORCE_KEY,
    "stress": AtomicDataDict.STRESS_KEY,
}


@pytest.fixture(autouse=True)
def _allegro(request):
    if "allegro" in request.node.name:
        pytest.importorskip("allegro")


def checkpoint(name):
    return FIXTURES / name / "best.ckpt"


@cache
def loaded(name):
    """A fixture as a source."""
    return load_source(str(checkpoint(name)))


def references(name):
    """Structures and what the old code said of them, (atoms, {quantity: array}) each."""
    stored = np.load(FIXTURES / name / "reference.npz")
    for i in range(3):
        atoms = Atoms(**{kind: stored[f"{kind}_{i}"] for kind in ("numbers", "positions", "cell", "pbc")})
        yield atoms, {q: stored[f"{q}_{i}"] for q in QUANTITIES if f"{q}_{i}" in stored}


def predict(model, atoms, r_max):
    """Energy (eV), forces (eV/Å), and in a crystal stress (eV/Å³)."""
    data = from_ase(atoms)
    data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor([model.type_names.index(symbol) for symbol in atoms.symbols])
    out = model(NeighborListTransform(r_max)(data))
    shapes = {"energy": (), "forces": (len(atoms), 3), "stress": (3, 3)}
    return {q: out[key].detach().numpy().reshape(shapes[q]) for q, key in QUANTITIES.items() if key in out}


def largest_difference(model, name):
    """From what the old code said, in units of its largest energy, force and stress."""
    found, r_max = [], float(model.metadata["r_max"])
    scales = {q: max(np.abs(old[q]).max() for _, old in references(name) if q in old) for q in QUANTITIES}
    for atoms, old in references(name):
        new = predict(model, atoms, r_max)
        found += [np.abs(new[quantity] - value).max() / scales[quantity] for quantity, value in old.items()]
    return max(found)


@pytest.mark.parametrize("name", NAMES)
def test_says_what_the_old_code_said(name):
    """To rounding in float64, on a cluster with an atom out of reach, and on crystals."""
    assert largest_difference(loaded(name).build().eval(), name) < 1e-13


def test_envelope_of_the_pair_potential_today():
    """Without a word of it in the checkpoint, today's has the exponent 6: this is why it is written."""
    source = loaded("v08_allegro")
    pair_potential = source.architecture["pair_potential"]
    assert pair_potential["polynomial_cutoff_p"] == 5
    model = arch.build(source.architecture | {"pair_potential": pair_potential | {"polynomial_cutoff_p": 6}})
    model.load_state_dict(source.state)
    assert largest_difference(model.eval(), "v08_allegro") > 1e-3


def test_irreps_of_the_same_size_in_another_order():
    """Today's `NequIPGNNModel` takes the weights of that time, and is another model: this is why irreps are written."""
    source = loaded("v08_nequip")
    stored = torch.load(checkpoint("v08_nequip"), weights_only=True)["hyper_parameters"]["model"]
    energies = {name: value for name, value in source.architecture.items() if name.startswith("per_type_energy")}
    model = arch.build(stored | energies | {"radial_mlp_depth": 2})
    model.load_state_dict(source.state)
    assert largest_difference(model.eval(), "v08_nequip") > 1e-3


@pytest.mark.parametrize(
    ("name", "migrated"),
    [
        (
            "v08_allegro",
            "is of NequIP 0.8.0 and read as one of today: `per_type_energy_scales` is a mapping and no list; "
            "`per_type_energy_shifts` is a mapping and no list; the pair potential has the model's envelope, p = 5; "
            "energy scales and shifts are columns.",
        ),
        (
            "v16_nequip",
            "is of NequIP 0.16.2 and read as one of today: `radial_mlp_depth` is 2, the default of that time; the pair "
            "potential has the model's envelope, p = 4.",
        ),
    ],
)
def test_what_was_migrated_is_said_in_one_line(caplog, name, migrated):
    load_source(str(checkpoint(name)))
    (said,) = [record.getMessage() for record in caplog.records if "read as one of today" in record.getMessage()]
    assert said.endswith(f"source {str(checkpoint(name))!r} {migrated}")


def test_averages_and_no_raw_weights():
    """Scales and shifts as EMA has them, n numbers then and n rows now."""
    stored = torch.load(checkpoint("v08_allegro"), weights_only=True)["state_dict"]
    source = loaded("v08_allegro")
    for option, i in (("scales", 15), ("shifts", 16)):
        average, raw = stored[f"ema.ema_weight_{i}"], stored[f"model.sole_model.{_ENERGIES}.{option}"]
        assert average.shape == raw.shape == (2,) and not torch.equal(average, raw)
        assert source.architecture[f"per_type_energy_{option}"] == dict(zip(["Si", "C"], average.tolist()))
        assert torch.equal(source.state[f"{_ENERGIES}.{option}"], average.reshape(2, 1))


_ENERGIES = "model.func.per_type_energy_scale_shift"


def test_modules_of_an_old_package():
    """Which has its release's own: forces that cannot be switched off, energy scales and shifts in rows."""
    source = loaded("v08_nequip_even")
    model = source.build()
    del model.model.do_derivatives
    energies = model.model.func.per_type_energy_scale_shift
    energies.shifts = energies.shifts.reshape(-1)
    architecture = with_trained_options(source.architecture, model)
    assert architecture == source.architecture
    today = arch.build(architecture)
    parameters = [name for name, _ in today.named_parameters()]
    state, changed = migration.todays_state(model.state_dict(), today.state_dict(), parameters, (0, 8))
    assert changed == ["energy scales and shifts are columns"]
    assert all(torch.equal(tensor, source.state[name]) for name, tensor in state.items())


# ---- what is refused


def test_refusals_say_who_wrote_the_file():
    """Allegro 0.4 has another embedding, which is no matter of words."""
    pytest.importorskip("allegro")
    with pytest.raises(
        RefusedFile,
        match=r"cannot be built .* keyword argument 'parity_setting'\) It was written by nequip 0.7.1, allegro 0.4.0; "
        r"installed are nequip 0.19.\d+, allegro 0.8",
    ):
        load_source(str(checkpoint("v07_allegro")))


def changed(path, name, **model):
    """A fixture with other options of its model; None leaves one out."""
    stored = torch.load(checkpoint(name), weights_only=True)
    options = stored["hyper_parameters"]["model"] | model
    stored["hyper_parameters"]["model"] = {k: v for k, v in options.items() if v is not None}
    torch.save(stored, path)
    return stored


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_type_energy_shifts": [1.0, 2.0, 3.0]}, "`per_type_energy_shifts` is .1.0, 2.0, 3.0.; a number, or one"),
        ({"per_type_energy_shifts": ["low", "high"]}, "`per_type_energy_shifts` is ..low., .high..; a number, or one"),
        ({"num_features": [2, 2, 2]}, "`num_features` is .2, 2, 2., and NequIP before 0.16 had one number"),
        (
            {"pair_potential": {"_target_": "nequip.nn.pair_potential.SimpleLennardJones", "lj_sigma": 1.0}},
            "its pair potential has no envelope at the cutoff radius",
        ),
    ],
)
def test_options_that_are_not_migrated(tmp_path, options, message):
    changed(tmp_path / "old.ckpt", "v08_nequip_even", **options)
    with pytest.raises(RefusedFile, match=f"{message}.* It was written by nequip 0.8.0"):
        load_source(str(tmp_path / "old.ckpt"))


def test_one_number_in_a_list_is_for_all_types():
    architecture, _ = migration.plain_options({"type_names": ["Si", "C"], "per_type_energy_scales": [2.0]})
    assert architecture["per_type_energy_scales"] == 2.0


def test_unknown_writer_of_weights_in_another_order(tmp_path):
    """The order tells of a NequIP before 0.16, whose words are not today's."""
    stored = changed(tmp_path / "old.ckpt", "v08_nequip_even", avg_num_neighbors=9.0)
    stored["hyper_parameters"]["info_dict"]["versions"] = {}
    torch.save(stored, tmp_path / "old.ckpt")
    with pytest.raises(RefusedFile, match="are in another order than today's, and it does not say which NequIP"):
        load_source(str(tmp_path / "old.ckpt"))


# ---- every command


def test_inspect(capsys):
    assert main(["inspect", str(checkpoint("v08_nequip"))]) == 0
    assert "r_max: 3.6" in capsys.readouterr().out


def test_import_writes_a_checkpoint_of_today(tmp_path, capsys):
    """Which NequIP's own loader reads, and which needs no import again."""
    name, new = "v08_nequip", tmp_path / "new.ckpt"
    assert main(["import", str(checkpoint(name)), str(new)]) == 0
    assert largest_difference(ModelFromCheckpoint(str(new))["sole_model"].eval(), name) < 1e-13
    assert main(["import", str(new), str(tmp_path / "again.ckpt")]) == 2
    assert "new.ckpt means to today's NequIP what it meant when it was written: it needs no import" in (
        capsys.readouterr().err
    )


def test_deployed_file_is_the_old_model(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "_in_own_process", lambda recipe, staged, _: write_and_verify(recipe, staged))
    out = tmp_path / "out.nequip.pth"
    verdict = deploy(Recipe(checkpoint("v07_nequip")), out)
    assert verdict.passed and "is of an older NequIP and read as a model of today: `per_type" in verdict.note
    deployed = DeployedModel(out)
    for atoms, old in list(references("v07_nequip"))[1:]:
        data = from_ase(atoms)
        types = torch.tensor([deployed.type_names.index(symbol) for symbol in atoms.symbols])
        said = deployed.predict(deployed.graph(data | {AtomicDataDict.ATOM_TYPE_KEY: types}))
        np.testing.assert_allclose(said.forces, old["forces"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(said.energy, old["energy"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["v08_nequip", "v16_nequip"])
def test_packages_need_the_import_first(tmp_path, monkeypatch, name):
    """NequIP's own packaging loads a checkpoint with its own loader."""
    monkeypatch.setattr(build_module, "_in_own_process", lambda recipe, staged, _: write_and_verify(recipe, staged))
    message = r"misreads it .*`nequip-elemtransfer import` .* written by nequip 0\.\d+\.\d, .*; installed are [^;]*\.$"
    with pytest.raises(RefusedFile, match=message):
        deploy(Recipe(checkpoint(name)), tmp_path / "out.nequip.zip")
    assert list(tmp_path.iterdir()) == []
