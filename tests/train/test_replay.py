import numpy as np
import pytest
import torch
from ase.build import bulk
from nequip.data import AtomicDataDict

from nequip_elemtransfer import ReplayLoader
from nequip_elemtransfer.train import replay
from nequip_elemtransfer.train.replay import label


def loader(n, n_replay, share, seed=0, **options):
    """Of the numbers 0 to n - 1, and of 100 and on as those to be replayed."""
    generator = torch.Generator().manual_seed(seed)
    structures = [{"index": i} for i in range(n)]
    others = [{"index": 100 + i} for i in range(n_replay)]
    return ReplayLoader(structures, generator, replay=others, share=share, **{"batch_size": 1} | options)


def epoch(batches):
    return [int(i) for batch in batches for i in batch["index"]]


@pytest.mark.parametrize("share, drawn", [(0.5, 6), (0.25, 2), (0.8, 24), (0.01, 1)])
def test_an_epoch_has_each_structure_once_and_the_share_of_others(share, drawn):
    seen = epoch(loader(6, 10, share))
    assert sorted(i for i in seen if i < 100) == list(range(6))
    others = [i for i in seen if i >= 100]
    counts = np.bincount(np.array(others) - 100, minlength=10)
    assert len(others) == drawn and counts.max() - counts.min() <= 1  # all of them before any again
    assert len(loader(6, 10, share)) == 6 + drawn


def test_others_are_drawn_anew_and_both_are_mixed():
    batches = loader(6, 1000, 0.5)
    first, second = epoch(batches), epoch(batches)
    assert not {i for i in first if i >= 100} & {i for i in second if i >= 100}
    assert [i < 100 for i in first] not in ([True] * 6 + [False] * 6, [False] * 6 + [True] * 6)
    assert epoch(loader(6, 1000, 0.5)) == first  # the order is the generator's
    assert epoch(loader(6, 1000, 0.5, seed=1)) != first


def test_the_rest_is_a_data_loader():
    assert [len(batch["index"]) for batch in loader(6, 10, 0.5, batch_size=5, drop_last=True, shuffle=True)] == [5, 5]


@pytest.mark.parametrize(
    "n_replay, share, options, message",
    [
        (3, 0, {}, "`train_dataloader.share` must be a number above 0 and below 1, found 0"),
        (3, 1.0, {}, "above 0 and below 1, found 1.0"),
        (3, "half", {}, "above 0 and below 1, found 'half'"),
        (0, 0.5, {}, "`train_dataloader.replay` has no structures"),
        (3, 0.5, {"shuffle": False}, "has `shuffle: false`, but nequip_elemtransfer.ReplayLoader draws and shuffles"),
        (3, 0.5, {"sampler": None}, "`train_dataloader` has sampler, but nequip_elemtransfer.ReplayLoader draws"),
    ],
)
def test_bad_input(n_replay, share, options, message):
    with pytest.raises(ValueError, match=message):
        loader(6, n_replay, share, **options)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"forces"}, "`train_dataloader.replay` lack stress, compared with the training set"),
        ({"forces", "stress", "charge"}, "`train_dataloader.replay` have charge besides, compared"),
        ({"charge", "forces"}, "lack stress and have charge besides"),
    ],
)
def test_labels_of_other_kinds(fields, message):
    structures, others = [dict.fromkeys(("forces", "stress"), 0.0)], [dict.fromkeys(fields, 0.0)]
    with pytest.raises(ValueError, match=message):
        ReplayLoader(structures, torch.Generator(), replay=others, share=0.5)


def test_labels_are_the_models(nequip_architecture, build, graph, monkeypatch):
    architecture = nequip_architecture("Si", "Ge")

    class Source:
        type_names, r_max = ["Si", "Ge"], architecture["r_max"]

        def build(self):
            return build(architecture)

    monkeypatch.setattr(replay, "load_source", lambda path: {"si.ckpt": Source()}[path])
    atoms = bulk("Ge", "diamond", a=5.5, cubic=True)
    atoms.symbols[:4] = "Si"
    atoms.rattle(0.1, seed=1)
    (labelled,) = label("si.ckpt", [atoms], labels=["energy", "forces", "stress"])
    out = build(architecture)(graph(atoms, ["Si", "Ge"], architecture["r_max"]))
    assert labelled.get_potential_energy() == pytest.approx(out[AtomicDataDict.TOTAL_ENERGY_KEY].item())
    np.testing.assert_allclose(labelled.get_forces(), out[AtomicDataDict.FORCE_KEY].detach(), atol=1e-12)
    stress = out[AtomicDataDict.STRESS_KEY].detach().reshape(3, 3).numpy()
    np.testing.assert_allclose(labelled.get_stress(voigt=False), stress, atol=1e-12)
    assert atoms.calc is None
