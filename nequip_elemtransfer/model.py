"""``TransferredModel``, the builder that ``${element_transfer:model}`` puts into a config."""

from typing import Any

import torch
from nequip.nn import GraphModel
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture import Architecture, build_as_configured

logger = RankedLogger(__name__, rank_zero_only=True)

# Initial states made in this process, by digest. Weights must not go through the config, which is plain data.
_initial_states: dict[str, dict[str, torch.Tensor]] = {}


def hand_over(digest: str, state: dict[str, torch.Tensor]) -> None:
    """Keep an initial state for the builder, under the digest its provenance holds as ``weights``."""
    _initial_states[digest] = state


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
    state = _initial_states.get(provenance["weights"])
    if state is None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(torch.nan)
    else:
        model.load_state_dict(state)
    return model
