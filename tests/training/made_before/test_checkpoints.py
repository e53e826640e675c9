"""Checkpoints that were written before: the same model, a source of transfers, and trainings that go on as they did."""

import ase.io
import numpy as np
import pytest
import torch
from commands import run
from made_labels import evaluate, structure, transfer

from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.train.replay import label

NAMES = ("plain", "tuned", "replay", "plan")
# the commands that ended the trainings in make_fixtures.py
CONFIGS = {"plan": ("train", "max_steps=6", "trainer.max_epochs=-1")}
ROUNDING = 1e-9  # eV and eV/Å, of float64 models on another machine
SAME_TRAINING = 1e-6  # Adam enlarges rounding


def assert_says(folder, checkpoint, expected, tolerance):
    """The stored energies and forces, on germanium."""
    frames = label(str(checkpoint), ase.io.read(folder / "structures" / "Ge_val.xyz", ":"), ("energy", "forces"))
    stored = np.load(folder / "expected.npz")
    for quantity, found in (
        ("energies", [atoms.get_potential_energy() for atoms in frames]),
        ("forces", [atoms.get_forces() for atoms in frames]),
    ):
        np.testing.assert_allclose(found, stored[f"{expected}_{quantity}"], rtol=0, atol=tolerance, err_msg=quantity)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_the_same(made_before, name):
    assert_says(made_before, made_before / name / "last.ckpt", f"{name}_as_it_is", ROUNDING)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_source_of_transfers(made_before, name):
    """Mapped to itself it is the same model to the last bit, and its record holds that of its own transfer."""
    source = load_source(str(made_before / name / "last.ckpt"))
    settings = {"length_scale": "none", "energy_scale": "none", "energy_shifts": "source"}
    model, result = transfer(source, {t: t for t in source.type_names}, **settings)
    assert result.architecture == source.architecture and result.state.keys() == source.state.keys()
    assert all(torch.equal(tensor, source.state[key]) for key, tensor in result.state.items())
    frame = structure(list(range(len(source.type_names))), source.type_names)
    energy, forces = evaluate(model, result.architecture, frame)
    expected_energy, expected_forces = evaluate(source.build().eval(), source.architecture, frame)
    assert energy == expected_energy and forces.any()
    np.testing.assert_array_equal(forces, expected_forces)
    assert source.provenance["elements"] == {t: "Si" for t in source.type_names}


@pytest.mark.parametrize("name", NAMES)
def test_its_training_goes_on(made_before, name):
    """With the config that it was begun with, and all that its callbacks and its optimizer had saved."""
    config, *overrides = CONFIGS.get(name, ("config",))
    source = made_before / "si" / "last.ckpt"
    source.rename(hidden := source.with_suffix(".hidden"))  # a restart needs none
    restart = f"++ckpt_path={name}/last.ckpt"
    try:
        run(
            *("nequip-train", "-cp", made_before / name, "-cn", config, f"hydra.run.dir={name}/ended", restart),
            *overrides,
            cwd=made_before,
        )
    finally:
        hidden.rename(source)
    assert_says(made_before, made_before / name / "ended" / "last.ckpt", f"{name}_ended", SAME_TRAINING)


def test_its_config_begins_anew(made_before):
    """From the source as it was, and from a checkpoint that had been transferred and fine-tuned itself."""
    again = ("nequip-train", "-cp", made_before / "tuned", "-cn", "config", "trainer.max_epochs=1")
    run(*again, "hydra.run.dir=again", cwd=made_before)
    assert_says(made_before, made_before / "again" / "last.ckpt", "tuned_as_it_is", SAME_TRAINING)
    from_itself = ("element_transfer.source=tuned/last.ckpt", "element_transfer.elements={Ge: Ge}")
    run(*again, *from_itself, "hydra.run.dir=further", cwd=made_before)
    source = load_source(str(made_before / "tuned" / "last.ckpt"))
    further = load_source(str(made_before / "further" / "last.ckpt"))
    assert further.provenance["sha256"] == source.sha256
