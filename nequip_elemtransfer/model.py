"""``TransferredModel``, the builder that ``${element_transfer:model}`` puts into a config."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from nequip.nn import GraphModel

from nequip_elemtransfer.architecture.builders import Architecture, build_as_configured

# Initial states made in this process, by digest. Weights must not go through the config, which is plain data.
_initial_states: dict[str, dict[str, torch.Tensor]] = {}

# A built model does not say how it was built, and must not hold what NequIP's own do not.
_architectures: WeakKeyDictionary[GraphModel, Architecture] = WeakKeyDictionary()


def hand_over(digest: str, state: dict[str, torch.Tensor]) -> None:
    """Keep an initial state for the builder, under the digest its provenance holds as ``weights``."""
    _initial_states[digest] = state


def architecture_of(model: GraphModel) -> Architecture:
    """The architecture of a model that :func:`TransferredModel` built in this process.

    Raises:
        ValueError: if it did not
    """
    if model not in _architectures:
        raise ValueError(
            "this model was not made by a transfer, so it has no start and nobody knows its architecture: use "
            "`model: ${element_transfer:model}`."
        )
    return _architectures[model]


def TransferredModel(architecture: Architecture, provenance: dict[str, Any]) -> GraphModel:
    """Build a transferred model: stock NequIP in every module.

    In the process that made the transfer the model gets its initial state. In any other, such as a restart or
    ``nequip-package``, every parameter is NaN: the checkpoint being loaded overwrites all of them, and where it did
    not, nobody would train or simulate on random weights.

    Args:
        architecture: configuration of a NequIP model builder
        provenance: of the transfer; ``weights`` is the digest of the initial state

    Raises:
        ValueError: if the architecture names anything but NequIP's parts
    """
    model = build_as_configured(architecture)
    _architectures[model] = architecture
    state = _initial_states.get(provenance["weights"])
    if state is None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(torch.nan)
    else:
        model.load_state_dict(state)
    return model
