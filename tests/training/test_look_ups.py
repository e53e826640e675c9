"""Look-ups that are right: on the command line, with longer neighbour lists, and what is left of them in memory."""

import gc
import weakref

import pytest
import torch
from misuses import R_MAX
from nequip_train import nequip_train
from omegaconf import OmegaConf
from real_runs import transfer_config

from nequip_elemtransfer.key import look_ups as resolvers

pytestmark = pytest.mark.usefixtures("installed", "nothing_looked_up")


def test_look_up_on_the_command_line(data, source, tmp_path):
    """Hydra keeps what was written there; it must not be read as a look-up of its own."""
    config = {"cutoff_radius": 1.0} | transfer_config(data, source)
    config["data"]["transforms"][1]["r_max"] = "${cutoff_radius}"
    nequip_train(tmp_path, config, "cutoff_radius=${element_transfer:r_max}", "trainer.max_epochs=1")
    saved = torch.load(tmp_path / "out" / "best.ckpt", weights_only=True)["hyper_parameters"]
    assert saved["info_dict"]["data"]["transforms"][1]["r_max"] == saved["model"]["architecture"]["r_max"]


def test_longer_neighbour_lists_cost_time_and_nothing_else(data, source, tmp_path, caplog):
    """The envelope is zero beyond the cutoff."""
    weights = []
    for r_max in (R_MAX, 5.0):
        config = transfer_config(data, source, length_scale="covalent_radii")
        config["data"]["transforms"][1]["r_max"] = r_max
        weights.append(resolvers.look_up("model", OmegaConf.create(config))["provenance"]["weights"])
    assert weights[0] == weights[1]
    assert (
        caplog.text.count("`data.transforms[1].r_max` is 5 Å, and the model's cutoff is r_max = 4.32432 Å: longer") == 1
    )


def test_fits_keep_no_structures_and_models(data, source, monkeypatch):
    """Both would be held through the training."""
    alive = []

    class Watched(resolvers.Transfer):
        def __init__(self, *args):
            super().__init__(*args)
            alive.append(weakref.ref(self))

    monkeypatch.setattr(resolvers, "Transfer", Watched)
    config = OmegaConf.create(transfer_config(data, source))
    model = resolvers.look_up("model", config)
    gc.collect()
    assert [transfer() for transfer in alive] == [None]
    assert resolvers.look_up("r_max", config) == model["architecture"]["r_max"]
    assert len(alive) == 1  # not made again for that
