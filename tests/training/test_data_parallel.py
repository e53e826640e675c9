"""Two processes on the CPU: each rank makes its own start, and NequIP's strategy averages gradients, not weights."""

import os
import re

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from omegaconf import OmegaConf
from real_runs import install, structures, train, transfer_config

from nequip_elemtransfer.key.look_ups import look_up
from nequip_elemtransfer.key.training_checks import require_same
from nequip_elemtransfer.transfer.provenance import state_digest

# a callback as a user would write it, importable by both ranks
CALLBACK = """
import torch
from lightning.pytorch.callbacks import Callback


class SaveWeights(Callback):
    def on_fit_start(self, trainer, module):
        self.save(trainer, module, "start")

    def on_train_end(self, trainer, module):
        self.save(trainer, module, "end")

    def save(self, trainer, module, when):
        weights = {"raw": module.model["sole_model"].state_dict(), "ema": module.ema.state_dict()}
        torch.save(weights, f"{when}_{trainer.global_rank}_of_{trainer.world_size}.pt")
"""


TWO_PROCESSES = {"devices": 2, "strategy": {"_target_": "nequip.train.SimpleDDPStrategy"}}


@pytest.fixture(scope="module")
def ranks(data, source, tmp_path_factory):
    """Weights of each rank before and after a training of two epochs, ``{(when, rank): weights}``, and the config."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "save_weights.py").write_text(CALLBACK)
    config = transfer_config(data, source, length_scale="fit")
    config["trainer"] |= TWO_PROCESSES
    config["trainer"]["callbacks"].append({"_target_": "save_weights.SaveWeights"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(install(folder)), prepend=os.pathsep)
        train(folder, config)
    paths = {(when, rank): folder / f"{when}_{rank}_of_2.pt" for when in ("start", "end") for rank in (0, 1)}
    return {key: torch.load(path) for key, path in paths.items()}, config


def test_every_rank_starts_from_the_weights_of_a_single_process(ranks):
    weights, config = ranks
    expected = look_up("model", OmegaConf.create(config))["provenance"]["weights"]
    assert [state_digest(weights["start", rank]["raw"]) for rank in (0, 1)] == [expected, expected]


@pytest.mark.parametrize("when", ["start", "end"])
@pytest.mark.parametrize("kind", ["raw", "ema"])
def test_weights_are_the_same_on_every_rank(ranks, when, kind):
    one, other = (ranks[0][when, rank][kind] for rank in (0, 1))
    tensors = [name for name, value in one.items() if isinstance(value, torch.Tensor)]
    assert one.keys() == other.keys() and tensors
    for name in tensors:
        assert torch.equal(one[name], other[name]), name


def test_training_moved_the_weights(ranks):
    start, end = (ranks[0][when, 0]["raw"] for when in ("start", "end"))
    assert any(not torch.equal(start[name], end[name]) for name in start)


def test_starts_that_differ_are_refused_before_the_first_step(data, source, tmp_path, monkeypatch):
    """As on two machines with different files: here, each rank has an energy scale of its own."""
    monkeypatch.setenv("PYTHONPATH", str(install(tmp_path)), prepend=os.pathsep)
    config = transfer_config(data, source, energy_scale="${oc.decode:1.${oc.env:LOCAL_RANK,0}}")
    config["trainer"] |= TWO_PROCESSES
    done = train(tmp_path, config, check=False)
    assert done.returncode != 0
    sentence = r"ValueError: the processes of this training have made different starts: rank 0 has \w{8}…, and rank 1 "
    assert len(re.findall(sentence, done.stderr)) == 2  # each process says so, none waits for the other
    assert not list(tmp_path.rglob("*.ckpt"))


def test_starts_are_compared_with_that_of_rank_0():
    require_same(["a" * 64] * 3)
    with pytest.raises(ValueError, match="rank 0 has a{8}…, and rank 2 b{8}…, rank 3 c{8}…. Run the same files"):
        require_same(["a" * 64, "a" * 64, "b" * 64, "c" * 64])


def test_start_is_the_same_each_time_on_several_threads(source, tmp_path):
    """PyTorch adds up forces in an order that depends on the threads' timing, unless it is told not to."""
    frames = []
    for cell in structures("Ge", 2):
        frames.append(cell * (3, 3, 3))
        labels = {"energy": 27 * cell.get_potential_energy(), "forces": np.tile(cell.get_forces(), (27, 1))}
        frames[-1].calc = SinglePointCalculator(frames[-1], **labels)
    ase.io.write(tmp_path / "Ge_train.xyz", frames)
    (tmp_path / "Ge_val.xyz").write_bytes((tmp_path / "Ge_train.xyz").read_bytes())
    config = transfer_config(tmp_path, source)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        # look-ups are remembered by the config they stand in
        starts = [look_up("model", OmegaConf.create(config | {"attempt": i})) for i in range(3)]
    finally:
        torch.set_num_threads(threads)
    assert len({start["provenance"]["weights"] for start in starts}) == 1
    assert not torch.are_deterministic_algorithms_enabled()  # and left as it was
