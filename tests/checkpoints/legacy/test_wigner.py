"""The signs of Wigner 3j tensors, which e3nn 0.4 and today's do not share, and what is done about them."""

import numpy as np
import pytest
import torch
from e3nn.o3 import wigner_3j
from old_models import FIXTURES, config_of, predict, references, state_of, write_folder

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.checkpoints.legacy.model import load_old_model
from nequip_elemtransfer.checkpoints.legacy.reading import OldModel
from nequip_elemtransfer.checkpoints.legacy.weights import path_signs

OLD = {tuple(map(int, name.split("_"))): tensor for name, tensor in np.load(FIXTURES / "e3nn_0_4_4.npz").items()}


def old_model(*e3nn_version):
    return OldModel("old", (0, 6, 1), {}, {}, e3nn_version)


def signs_of(ls, state, *e3nn_version):
    return path_signs(old_model(*e3nn_version), state, [[ls]])[0][ls]


def stored(ls, tensor, module="layer0_convnet.conv.tp"):
    return {f"{module}._compiled_main_left_right._w3j_{'_'.join(map(str, ls))}": torch.as_tensor(tensor)}


def test_tensors_of_e3nn_0_4_are_those_of_today_or_their_negative():
    """All up to l = 4, known by the version and by the tensors themselves."""
    assert len(OLD) == 65
    turned = set()
    for ls, tensor in OLD.items():
        today = wigner_3j(*ls, dtype=torch.float64).numpy()
        sign = signs_of(ls, {}, 0, 4, 4)
        np.testing.assert_allclose(tensor, sign * today, rtol=0, atol=1e-12)
        assert signs_of(ls, stored(ls, tensor)) == signs_of(ls, stored(ls, tensor.astype(np.float32))) == sign
        assert signs_of(ls, stored(ls, today), 0, 4, 4) == 1  # whatever the version
        assert signs_of(ls, {}, 0, 5, 0) == 1
        if sign < 0:
            turned.add(tuple(sorted(ls)))
    assert turned == {(1, 2, 2), (1, 3, 3), (1, 4, 4)}


def test_what_is_known_without_a_version():
    assert signs_of((1, 1, 2), {}) == signs_of((0, 7, 7), {}) == signs_of((2, 2, 2), {}) == 1
    for ls, version in (((2, 1, 2), ()), ((1, 3, 3), ()), ((4, 4, 5), (0, 4, 4)), ((2, 3, 5), ())):
        with pytest.raises(ValueError, match="whose sign is not known .* Deploy it with the NequIP and e3nn"):
            signs_of(ls, {}, *version)


@pytest.mark.parametrize(
    ("ls", "tensor", "module"),
    [
        ((1, 2, 2), 1.01 * wigner_3j(1, 2, 2), "layer0_convnet.conv.tp"),
        ((1, 2, 2), wigner_3j(2, 1, 2), "layer0_convnet.conv.tp"),
        ((1, 2, 2), torch.zeros(3, 5, 5), "layer0_convnet.conv.tp"),
        ((1, 2, 2), torch.full((3, 5, 5), torch.nan), "layer0_convnet.conv.tp"),
        ((1, 1, 3), torch.zeros(3, 3, 7), "layer0_convnet.conv.tp"),
        # where no weights of a path could be turned
        ((1, 2, 2), -wigner_3j(1, 2, 2), "layer0_convnet.conv.sc"),
        ((1, 2, 2), -wigner_3j(1, 2, 2), "elsewhere"),
    ],
)
def test_other_tensors_are_refused(ls, tensor, module):
    with pytest.raises(ValueError, match=f"holds a Wigner 3j tensor '{module}.*_w3j_{ls[0]}_.*' that is neither"):
        path_signs(old_model(0, 5, 9), stored(ls, tensor, module), [])


def test_tensors_in_another_place_are_refused_or_those_of_today():
    assert path_signs(old_model(), stored((1, 0, 1), wigner_3j(1, 0, 1), "layer0_convnet.conv.sc"), []) == []
    with pytest.raises(ValueError, match="holds a Wigner 3j tensor 'layer0._w3j_a'"):
        path_signs(old_model(), {"layer0._w3j_a": torch.zeros(1)}, [])


def test_signs_are_those_of_the_layer_that_stores_them():
    ls, today = (1, 2, 2), wigner_3j(1, 2, 2)
    state = stored(ls, today) | stored(ls, -today, "layer1_convnet.conv.tp")
    assert path_signs(old_model(), state, [[ls], [ls]]) == [{ls: 1}, {ls: -1}]


# ---- whole models


def without_tensors(folder, name, **options):
    """A copy of a fixture whose weights hold no Wigner 3j tensors; an option that is None is left out."""
    config = {key: value for key, value in (config_of(name) | options).items() if value is not None}
    return write_folder(folder, config, {n: t for n, t in state_of(name).items() if "_w3j" not in n})


def largest_force_error(path, name):
    """In eV/Å, of a converted model."""
    converted = load_old_model(path)
    model = arch.build(converted.architecture)
    model.load_state_dict(converted.state)
    pairs = [(predict(model.eval(), name, a, 3.6)["forces"], old["forces"]) for a, old in references(name, "float64")]
    return max(np.abs(new - old).max() for new, old in pairs)


def assert_same_weights(converted, expected):
    assert converted.state.keys() == expected.state.keys()
    assert all(torch.equal(tensor, expected.state[name]) for name, tensor in converted.state.items())


def test_version_counts_where_there_are_no_tensors(tmp_path):
    name = "e3nn04_sic_l2"
    known, expected = load_old_model(without_tensors(tmp_path / "a", name)), load_old_model(FIXTURES / name)
    assert_same_weights(known, expected)
    assert (
        known.changes
        == expected.changes
        == (
            "weights of the paths (1, 2, 2), (2, 1, 2), (2, 2, 1) are negated, as the e3nn of its training had the "
            "Wigner 3j tensors so",
        )
    )
    # what it costs to know it wrong
    assert largest_force_error(without_tensors(tmp_path / "b", name, e3nn_version="0.5.9"), name) > 1.0


def test_nothing_known_is_refused_where_it_matters(tmp_path):
    with pytest.raises(ValueError, match=r"paths with the Wigner 3j tensor \(.*2.*\), .* configuration, \(not said\)"):
        load_old_model(without_tensors(tmp_path / "a", "e3nn04_sic_l2", e3nn_version=None))
    # without parity there is no such path
    folder = without_tensors(tmp_path / "b", "v056_si_l3", e3nn_version=None)
    assert load_old_model(folder).changes == ()
