"""The signs of the Wigner 3j tensors of an old network, in units of today's.

A Wigner 3j tensor is what its equivariance makes it, up to its sign. e3nn 0.4 read them from a file of constants, and
since 0.5 they are Clebsch-Gordan coefficients, of which some are the negative of what they were. A path of a tensor
product is linear in its tensor and in its weights, so weights of the other sign keep it what it was.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch
from e3nn.o3 import TensorProduct, wigner_3j

from nequip_elemtransfer.checkpoints.legacy.reading import OldModel

# the angular momenta (l1, l2, l3) of a path
Momenta = tuple[int, int, int]
Signs = Mapping[Momenta, int]

_STORED = re.compile(r"(?P<product>.+)\._compiled_main\w*\._w3j_(\d+)_(\d+)_(\d+)")
_CONVOLUTION = re.compile(r"layer\d+_convnet\.conv\.tp")
# the first e3nn with today's signs, and up to which l those of 0.4 are known from its tensors (see tests/legacy)
_FIRST_OF_TODAY, _KNOWN_L = (0, 5), 4
_ROUNDING = 1e-6  # of components of at most 1, in float32


def momenta_of(product: TensorProduct) -> list[Momenta]:
    """Angular momenta of each path of a tensor product, in the order of its weights."""
    irreps = (product.irreps_in1, product.irreps_in2, product.irreps_out)
    return [tuple(part[i].ir.l for part, i in zip(irreps, ins[:3])) for ins in product.instructions]


def path_signs(old: OldModel, state: Mapping[str, torch.Tensor], paths: Iterable[Iterable[Momenta]]) -> list[Signs]:
    """The sign that the tensor of each path had, in units of today's.

    Args:
        old: the model
        state: of its energy network
        paths: those that are wanted of each convolution

    Raises:
        ValueError: if a stored tensor is neither today's nor its negative, or one that is wanted is not known
    """
    stored = _stored_signs(old, state)
    return [
        {ls: stored[product].get(ls) or _sign_not_stored(old, ls) for ls in wanted}
        for product, wanted in ((f"layer{i}_convnet.conv.tp", wanted) for i, wanted in enumerate(paths))
    ]


def changes(signs: Iterable[Signs]) -> tuple[str, ...]:
    """What was done about signs, in words: nothing, or one sentence."""
    turned = sorted({ls for layer in signs for ls, sign in layer.items() if sign < 0})
    if not turned:
        return ()
    paths = ", ".join(map(str, turned))
    return (f"weights of the paths {paths} are negated, as the e3nn of its training had the Wigner 3j tensors so",)


def _stored_signs(old: OldModel, state: Mapping[str, torch.Tensor]) -> Mapping[str, dict[Momenta, int]]:
    """Signs by the name of the tensor product; each tensor is compared, wherever it is."""
    found: defaultdict[str, dict[Momenta, int]] = defaultdict(dict)
    for name, tensor in state.items():
        if "_w3j" not in name:
            continue
        match = _STORED.fullmatch(name)
        l1, l2, l3 = map(int, match.groups()[1:]) if match else (-1, -1, -1)
        sign = _sign(tensor, l1, l2, l3) if match else None
        product = match["product"] if match else name
        if sign is None or (sign < 0 and not _CONVOLUTION.fullmatch(product)):
            raise ValueError(
                f"source {old.path!r} holds a Wigner 3j tensor {name!r} that is neither today's nor, in a convolution, "
                "its negative: either the file is damaged, or it is of an unknown e3nn."
            )
        found[product][l1, l2, l3] = sign
    return found


def _sign(tensor: torch.Tensor, *ls: int) -> int | None:
    """1 for today's tensor, -1 for its negative, None for another."""
    if tensor.shape != tuple(2 * l + 1 for l in ls) or not abs(ls[0] - ls[1]) <= ls[2] <= ls[0] + ls[1]:  # noqa: E741
        return None
    today = wigner_3j(*ls, dtype=torch.float64)
    signs = [s for s in (1, -1) if torch.allclose(tensor.double(), s * today, rtol=0, atol=_ROUNDING)]
    return signs[0] if signs else None


def _sign_not_stored(old: OldModel, ls: Momenta) -> int:
    """What is known of the e3nn of a training whose weights do not hold the tensor."""
    if 0 in ls or old.e3nn_version >= _FIRST_OF_TODAY:  # a product with a scalar has no tensor but a factor
        return 1
    low, middle, high = sorted(ls)
    turns = low == 1 and middle == high > 1
    if high <= _KNOWN_L and (old.e3nn_version or not turns):
        return -1 if turns else 1
    version = ".".join(map(str, old.e3nn_version)) or "(not said)"
    raise ValueError(
        f"source {old.path!r} has paths with the Wigner 3j tensor {ls}, which its weights do not hold, and whose sign "
        f"is not known for the e3nn of its configuration, {version}. Deploy it with the NequIP and e3nn that it was "
        "trained with (`nequip-deploy build --train-dir`), and give the deployed file, which holds them."
    )
