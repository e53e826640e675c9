"""An honest checkpoint of a tiny model."""

import pytest
import torch
from hostile_checkpoints import honest, structures

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.deploy import build as build_module
from nequip_elemtransfer.deploy.write import write_and_verify


@pytest.fixture(scope="session")
def silicon(tmp_path_factory):
    """Labelled structures of silicon."""
    return structures(tmp_path_factory.mktemp("data") / "si.xyz")


@pytest.fixture(scope="session")
def contents(nequip_architecture, silicon):
    """What an honest checkpoint holds."""
    arch.initialize_nequip()
    return honest(nequip_architecture("Si"), silicon)


@pytest.fixture(scope="session")
def checkpoint(contents, tmp_path_factory):
    """An honest checkpoint."""
    file = tmp_path_factory.mktemp("honest") / "si.ckpt"
    torch.save(contents, file)
    return file


@pytest.fixture
def in_this_process(monkeypatch):
    """``nequip-deploy build`` without a process of its own: one for each file would take ten seconds."""
    monkeypatch.setattr(build_module, "_in_own_process", lambda recipe, staged, _: write_and_verify(recipe, staged))
