"""Misuses of the key, each through the code of ``nequip-train``: one sentence, before anything is trained."""

import re

import pytest
from misuses import MISUSES, R_MAX
from nequip_train import nequip_train
from real_runs import transfer_config

pytestmark = pytest.mark.usefixtures("installed", "nothing_looked_up")


def misused(misuse, data, source, folder):
    places = {"{folder}": str(folder), "{source}": str(source)}

    def filled(value):
        for name, path in places.items() if isinstance(value, str) else ():
            value = value.replace(name, path)
        return value

    whole = {"cutoff_radius": R_MAX} | transfer_config(data, source, length_scale="covalent_radii")
    whole["element_transfer"] |= {name: filled(value) for name, value in misuse.key.items()}
    whole["data"]["transforms"][1]["r_max"] = "${cutoff_radius}"
    for path, value in misuse.config.items():
        inner = whole
        for name in path[:-1]:
            inner = inner[name]
        if value is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
    return whole, [filled(text) for text in misuse.overrides]


def cause(error):
    """Kind and sentence of what was raised; OmegaConf puts before it what, and after it where it was resolving."""
    kind, message = type(error).__name__, str(error).split("\n    full_key")[0]
    while inner := re.match(r"(\w+) raised while resolving interpolation: (.*)", message, re.DOTALL):
        kind, message = inner.groups()
    return kind, message.split("\n    full_key")[0]


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_misuse_meets_one_sentence(misuse, data, source, tmp_path):
    whole, overrides = misused(misuse, data, source, tmp_path)
    with pytest.raises(Exception) as caught:
        nequip_train(tmp_path, whole, *overrides)
    kind, message = cause(caught.value)
    assert re.search(misuse.message, message), f"{kind}: {message}"
    assert kind == misuse.kind
    assert "\n" not in message
    assert not list(tmp_path.rglob("*.ckpt"))
