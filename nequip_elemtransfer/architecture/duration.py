"""How long a training takes on this machine, and whether compiling its model first pays."""

import time

import torch
from nequip.data import AtomicDataDict

# Seconds that compiling takes on a processor, about, and the part of an eager step that a compiled one saves.
COMPILING, _SAVED = 120.0, 0.5

_PREDICTED = (AtomicDataDict.TOTAL_ENERGY_KEY, AtomicDataDict.FORCE_KEY, AtomicDataDict.STRESS_KEY)


def step_seconds(model: torch.nn.Module, frame: AtomicDataDict.Type, batch: int) -> float:
    """Seconds of an eager training step, from one structure: NequIP compiles nothing for a batch of one.

    Args:
        model: of NequIP, or a module around it; its gradients and weights stay as they are
        frame: with neighbour list
        batch: structures in a step
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    seconds = 0.0
    for _ in range(2):  # the first is slower
        started = time.monotonic()
        # a model whose lengths were set holds parts of its graph, which must stay
        found = model(AtomicDataDict.batched_from_list([frame]))
        loss = torch.stack([found[name].square().sum() for name in _PREDICTED if name in found]).sum()
        torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
        seconds = time.monotonic() - started
    return seconds * batch


def compiling_pays(steps: float, seconds: float) -> bool:
    """Whether what compiled steps save is more than what compiling takes.

    Args:
        seconds: of an eager step
    """
    return _SAVED * steps * seconds > COMPILING
