"""Of several source types, the one the target really is comes first."""

import numpy as np
import pytest
from nequip.data import AtomicDataDict
from units import LENGTH

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.plan.start import ranking
from nequip_elemtransfer.plan.start.ranking import rank
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import folds, to_frames
from nequip_elemtransfer.transfer.start import Start

TYPES = ["C", "Si", "Sn"]


@pytest.fixture(scope="module")
def source(nequip_architecture, build):
    architecture = nequip_architecture(*TYPES, per_type_energy_shifts=0.0)
    return SourceModel("random", "0" * 64, architecture, build(architecture).state_dict())


@pytest.fixture(scope="module")
def ranked(source, crystals):
    """Ranks starts of target types on germanium that is the source's silicon in other units, without some labels."""
    structures = crystals(source, "Ge", 4, 5.7)

    def make(free, without=(), **elements):
        start = Start.of(TransferConfig("random", elements), source, lambda r_max: frames)
        frames = to_frames(structures, list(elements), list(elements))
        for frame in frames:
            for name in without:
                del frame[name]
        return rank(start, folds(range(4), 2, 0), free)

    return make


@pytest.mark.parametrize("most", [8, 2], ids=["all ranked", "screened"])
def test_the_right_type_comes_first(ranked, monkeypatch, most):
    monkeypatch.setattr(ranking, "_MAX_RANKED", most)
    found = ranked(["Ge"], Ge="Sn")
    assert found[0].start == "Si" and found[0].target == "Ge"
    assert found[0].length_scale == pytest.approx(LENGTH, abs=0.003)
    assert found[0].unexplained < 0.02 < found[1].unexplained
    errors = [candidate.force_mae.value for candidate in found]
    assert errors == sorted(errors)
    assert found[0].stress_mae.value < found[1].stress_mae.value
    starts = [candidate.start for candidate in found]
    if most == 8:
        # the blend is that of Ge's neighbours in its group
        assert {"Si": 0.5, "Sn": 0.5} in starts and {s for s in starts if isinstance(s, str)} == set(TYPES)
    else:
        assert len(starts) == 2


def test_several_targets_one_after_the_other(ranked):
    """The second target type is ranked with the first at its best start."""
    found = ranked(["Ge", "Pb"], Ge="C", Pb="C")
    assert [c.target for c in found] == ["Ge"] * 4 + ["Pb"] * 3
    # no atom is Pb, so all its starts are equal
    errors = np.array([c.force_mae.value for c in found if c.target == "Pb"])
    assert np.ptp(errors) <= 0.05 * errors.max()


def test_without_forces_energies_judge(ranked):
    found = ranked(["Ge"], without=[AtomicDataDict.FORCE_KEY], Ge="Sn")
    errors = [candidate.energy_mae.value for candidate in found]
    assert errors == sorted(errors) and found[0].force_mae is None
    kinds = [AtomicDataDict.FORCE_KEY, AtomicDataDict.TOTAL_ENERGY_KEY, AtomicDataDict.STRESS_KEY]
    assert ranked(["Ge"], without=kinds, Ge="Sn") == []
