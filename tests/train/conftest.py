"""Models as a transfer starts them, without a source."""

import pytest
import torch

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.model import TransferredModel, hand_over


@pytest.fixture
def started():
    """Makes the ``ModuleDict`` that NequIP hands to parameter groups, of a model that a transfer started."""

    def make(architecture):
        arch.initialize_nequip()
        model = arch.build(architecture)
        hand_over("test", model.state_dict())
        return torch.nn.ModuleDict({"sole_model": TransferredModel(architecture, {"weights": "test"})})

    return make
