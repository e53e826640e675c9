"""Of several source types, the one the target really is comes first."""

from dataclasses import replace

import numpy as np
import pytest
from units import LENGTH

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.plan import ranking
from nequip_elemtransfer.plan.ranking import Contest, rank
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import folds, to_frames
from nequip_elemtransfer.structures.labels import labels_of
from nequip_elemtransfer.transfer.target import TargetBuilder

TYPES = ["C", "Si", "Sn"]


@pytest.fixture(scope="module")
def source(nequip_architecture, build):
    architecture = nequip_architecture(*TYPES, per_type_energy_shifts=0.0)
    return SourceModel("random", "0" * 64, architecture, build(architecture).state_dict())


@pytest.fixture(scope="module")
def contest(source, crystals):
    """Makes a contest of target types on germanium that is the source's silicon in other units."""
    structures = crystals(source, "Ge", 4, 5.7)

    def make(**elements):
        frames, config = to_frames(structures, list(elements), list(elements)), TransferConfig("random", elements)
        target = TargetBuilder(source, ElementMap.from_elements(elements, TYPES))
        return Contest(target, config, frames, labels_of(frames), folds(range(4), 2, 0))

    return make


@pytest.mark.parametrize("most", [8, 2], ids=["all ranked", "screened"])
def test_the_right_type_comes_first(contest, monkeypatch, most):
    monkeypatch.setattr(ranking, "_MAX_RANKED", most)
    found = rank(contest(Ge="Sn"), ["Ge"])
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


def test_several_targets_one_after_the_other(contest):
    """The second target type is ranked with the first at its best start."""
    found = rank(contest(Ge="C", Pb="C"), ["Ge", "Pb"])
    assert [c.target for c in found] == ["Ge"] * 4 + ["Pb"] * 3
    # no atom is Pb, so all its starts are equal
    errors = np.array([c.force_mae.value for c in found if c.target == "Pb"])
    assert np.ptp(errors) <= 0.05 * errors.max()


def test_without_forces_energies_judge(contest):
    made = contest(Ge="Sn")
    silent = replace(made, labels=made.labels.without_kinds("forces"))
    found = rank(silent, ["Ge"])
    errors = [candidate.energy_mae.value for candidate in found]
    assert silent.judge == "energy" and errors == sorted(errors) and found[0].force_mae is None
    nothing = replace(silent, labels=silent.labels.without_kinds("energy", "stress"))
    assert rank(nothing, ["Ge"]) == []
