"""The key, parsed as a config has it."""

import pytest

from nequip_elemtransfer.config import TransferConfig

MINIMAL = {"source": "si.ckpt", "elements": {"Ge": "Si"}}
SHA256 = "0123456789abcdef" * 4


def parse(**key):
    return TransferConfig.from_mapping(MINIMAL | key)


def message_of(key):
    with pytest.raises(ValueError) as error:
        TransferConfig.from_mapping(key)
    return str(error.value)
