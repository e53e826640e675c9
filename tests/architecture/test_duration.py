"""How long a step takes, and when compiling pays."""

import time

from ase.build import bulk

from nequip_elemtransfer.architecture.duration import compiling_pays, step_seconds


def test_a_step_of_a_batch_takes_as_long_as_its_structures(nequip_architecture, build, graph):
    """And leaves weights and gradients as they are."""
    model = build(nequip_architecture("Si", compile_mode="compile")).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    started = time.monotonic()
    seconds = step_seconds(model, graph(bulk("Si", "diamond", a=5.43), ["Si"], 4.0), 10)
    assert 0 < seconds / 10 <= time.monotonic() - started
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_compiling_pays_after_four_minutes_of_eager_steps():
    """It takes two, and saves half."""
    assert not compiling_pays(2399, 0.1)
    assert compiling_pays(2401, 0.1)
