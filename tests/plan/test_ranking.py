"""Of several source types, the one the target really is comes first."""

import numpy as np
import pytest
from units import LENGTH

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.frames import labels_of
from nequip_elemtransfer.plan import ranking
from nequip_elemtransfer.plan.ranking import rank
from nequip_elemtransfer.plan.structures import folds, to_frames
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.transfer import Transfer

TYPES = ["C", "Si", "Sn"]


@pytest.fixture(scope="module")
def source(nequip_architecture, build):
    architecture = nequip_architecture(*TYPES, per_type_energy_shifts=0.0, num_layers=2)
    return SourceModel("random", "0" * 64, architecture, build(architecture).state_dict())


@pytest.fixture(scope="module")
def transfer(source, crystals):
    """Germanium that is the source's silicon in other units; the map to start with is another."""
    frames = to_frames(crystals(source, "Ge", 4, 5.7), ["Ge"], ["Ge"])
    return Transfer(TransferConfig("random", {"Ge": "Sn"}), source, lambda r_max: frames)


@pytest.mark.parametrize("most", [8, 2], ids=["all ranked", "screened"])
def test_the_right_type_comes_first(transfer, monkeypatch, most):
    monkeypatch.setattr(ranking, "_MAX_RANKED", most)
    labels = labels_of(transfer.frames)
    found = rank(transfer, folds(range(4), 2, 0), labels, ["Ge"])
    assert found[0].start == "Si" and found[0].target == "Ge"
    assert found[0].length_scale == pytest.approx(LENGTH, abs=0.003)
    assert found[0].unexplained < 0.02 < found[1].unexplained
    errors = [candidate.force_mae.value for candidate in found]
    assert errors == sorted(errors)
    starts = [candidate.start for candidate in found]
    if most == 8:
        # the blend is that of Ge's neighbours in its group
        assert {"Si": 0.5, "Sn": 0.5} in starts and {s for s in starts if isinstance(s, str)} == set(TYPES)
    else:
        assert len(starts) == 2


def test_several_targets_one_after_the_other(source, crystals):
    """The second target type is ranked with the first at its best start."""
    structures = crystals(source, "Ge", 4, 5.7)
    frames = to_frames(structures, ["Ge", "Pb"], ["Ge", "Pb"])
    transfer = Transfer(TransferConfig("random", {"Ge": "C", "Pb": "C"}), source, lambda r_max: frames)
    found = rank(transfer, folds(range(4), 2, 0), labels_of(frames), ["Ge", "Pb"])
    assert [c.target for c in found] == ["Ge"] * 4 + ["Pb"] * 3
    # no atom is Pb, so all its starts are equal
    errors = np.array([c.force_mae.value for c in found if c.target == "Pb"])
    assert np.ptp(errors) <= 0.05 * errors.max()
