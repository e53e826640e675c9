"""Converted models against the TorchScript of the old file, and what that may do."""

import re
from functools import cache

import pytest
import torch
import yaml
from old_models import FIXTURES, config_of

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.checkpoints.legacy.model import load_old_model
from nequip_elemtransfer.checkpoints.legacy.own_forward import compare_with_own_forward

OLD = FIXTURES / "v056_si"


@cache
def converted(path):
    """Architecture and model."""
    found = load_old_model(path)
    model = arch.build(found.architecture)
    model.load_state_dict(found.state)
    return found.architecture, model.eval()


class Writes(torch.nn.Module):
    """Does with a file what TorchScript can."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        print("printed")
        torch.save(data["pos"], self.path)
        return data


class Maps(torch.nn.Module):
    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"atomic_energy": torch.from_file(self.path, shared=True, size=10)}


class Answers(torch.nn.Module):
    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        print("printed")
        return {"forces": 0 * data["pos"], "problem": data["pos"], "file": data["pos"]}


def deployed(file, module):
    """A file that has the configuration of an old model, and other code."""
    extra = {"config": yaml.dump(config_of("v056_si")), "nequip_version": "0.5.6"}
    torch.jit.save(torch.jit.script(module), file, _extra_files=extra)
    return file


def test_own_forward_says_the_same():
    """A float32 model of 0.5; others are imported in other tests."""
    said = compare_with_own_forward(OLD / "deployed.pth", *converted(OLD))
    assert said.startswith("agrees with the old file's own forward on a small structure: energies of up to ")


def test_own_forward_says_something_else():
    """Of weights that are wrong by a millionth."""
    file = FIXTURES / "e3nn04_sic_l2" / "deployed.pth"
    architecture, model = converted.__wrapped__(file)  # to change it
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1 + 1e-6
    with pytest.raises(ValueError, match=r"was not understood: on a small structure its own energies differ from"):
        compare_with_own_forward(file, architecture, model)


@pytest.mark.parametrize(
    ("kind", "said"),
    [(Writes, "it has no output 'atomic_energy'"), (Maps, r"it does not run with PyTorch .*open file")],
)
def test_own_forward_opens_no_files(tmp_path, kind, said):
    marker = tmp_path / "marker"
    module = torch.jit.script(kind(str(marker)))
    module({"pos": torch.zeros(1, 3)})
    assert marker.exists()  # so it could
    marker.unlink()
    file = deployed(tmp_path / "old.pth", module)
    assert re.search(f"^not compared .*: {said}", compare_with_own_forward(file, *converted(OLD)))
    assert not marker.exists()


def test_files_that_cannot_be_compared(tmp_path):
    said = compare_with_own_forward(deployed(tmp_path / "old.pth", Answers()), *converted(OLD))
    assert said == "not compared with the old model itself: it has no output 'atomic_energy' of 1 for each atom"
    said = compare_with_own_forward(OLD, *converted(OLD))
    assert said.startswith("not compared with the old model itself: a training folder needs the old code")
