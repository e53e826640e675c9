"""Whatever stands in a place of the key or of a study is taken, or refused in a sentence: any value in any place."""

from pathlib import Path

import pytest
import yaml

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.study.config.study_file import StudyConfig

EXAMPLES = Path(__file__).parents[2] / "example_configs"
STUDIES = sorted(file.name for file in EXAMPLES.glob("study_*.yaml"))

KEY = {
    "source": "si.ckpt",
    "elements": {"Ge": "Si", "Sn": {"Si": 0.5, "C": 0.5}},
    "length_scale": {"Ge": 1.0, "Sn": 1.1},
    "energy_scale": 1.0,
    "energy_shifts": {"isolated_atoms": {"Ge": -1.0}},
    "sha256": "0" * 64,
    "fit_weights": {"energy": 1, "forces": 2},
    "kept_types": "fit",
    "compile_mode": "eager",
    "chemical_species": {"Ge": "Ge"},
}
LATTICE = KEY | {"length_scale": {"lattice": {"Si": 5.4, "Ge": 5.6}}}

# what YAML may make of a slip
NUMBERS = [True, 0, -1, 1.5, 1e308, 10**400, float("nan"), float("inf")]
TEXTS = ["", "x", "${x}", "a/../b", "a\nb", b"x"]
VALUES = [None, *NUMBERS, *TEXTS, [], {}, [None], {"a": 1}, ["x", "x"], [[1]], [{}], {None: 1}, {1: 2}, {"x": None}]


def places(value, place=()):
    """Every place below a mapping, at any depth."""
    if place:
        yield place
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value if type(value) is list else ()):
        yield from places(inner, (*place, name))


def put(section, place, value):
    name, *rest = place
    changed = section.copy()
    changed[name] = put(section[name], rest, value) if rest else value
    return changed


def refuse_or_take(read, whole):
    """Anything but a sentence fails the test; gives how many were refused."""
    refused = 0
    for place in places(whole):
        for value in VALUES:
            try:
                read(put(whole, place, value))
            except (ValueError, FileNotFoundError) as error:
                refused += 1
                assert str(error) and len(str(error)) < 1500, f"{place} {value!r}: {error}"
            except Exception as error:
                pytest.fail(f"{place} {value!r}: {error!r}")
    return refused


@pytest.mark.parametrize("key", [KEY, LATTICE], ids=["key", "lattice constants"])
def test_key(key):
    assert TransferConfig.from_mapping(key).type_names == ["Ge", "Sn"]
    assert refuse_or_take(TransferConfig.from_mapping, key) > 20 * len(key)


@pytest.mark.parametrize("name", STUDIES)
def test_study(name, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    entries = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    assert refuse_or_take(lambda changed: StudyConfig.from_mapping(changed, EXAMPLES), entries) > 15 * len(entries)
