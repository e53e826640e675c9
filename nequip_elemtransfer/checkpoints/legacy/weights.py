"""The weights of a NequIP 0.5 or 0.6 model as those of a current one, computed in float64.

Both networks are made of paths, each a tensor of weights times a constant by which e3nn normalises it. Below, a map is
such a product. The maps are kept, so the new weights are the old maps over the new constants.

A Wigner 3j tensor is what its equivariance makes it, up to its sign. e3nn 0.4 read them from a file of constants, and
since 0.5 they are Clebsch-Gordan coefficients, of which some are the negative of what they were. A path of a tensor
product is linear in its tensor and in its weights, so weights of the other sign keep it what it was.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from e3nn.math import normalize2mom
from e3nn.o3 import FullyConnectedTensorProduct, Irrep, Irreps, Linear, TensorProduct, wigner_3j
from nequip.data import AtomicDataDict
from nequip.nn import ConvNetLayer, GraphModel, InteractionBlock, ScalarMLPFunction

from nequip_elemtransfer.checkpoints.legacy.options import OldOptions
from nequip_elemtransfer.checkpoints.legacy.reading import OldModel

Tensors = Mapping[str, torch.Tensor]
# what is done with the features of an irrep: (..., mul_in, ..., mul_out)
Maps = dict[Irrep, torch.Tensor]

_SCALAR = Irrep("0e")

# the angular momenta (l1, l2, l3) of a path
Momenta = tuple[int, int, int]
Signs = Mapping[Momenta, int]

_STORED = re.compile(r"(?P<product>.+)\._compiled_main\w*\._w3j_(\d+)_(\d+)_(\d+)")
_CONVOLUTION = re.compile(r"layer\d+_convnet\.conv\.tp")
# the first e3nn with today's signs, and up to which l those of 0.4 are known from its tensors (see tests/legacy)
_FIRST_OF_TODAY, _KNOWN_L = (0, 5), 4
_ROUNDING = 1e-6  # of components of at most 1, in float32


def old_layers(options: OldOptions, state: Tensors) -> list[ConvNetLayer]:
    """The convolutions of the old network, made of today's modules.

    They differ from those of a current network in the self-connection, which takes the one-hot type, and in the last
    layer, which makes all hidden irreps. Their weights are random: what is wanted of them is how e3nn lays out the
    paths and normalises them.
    """
    irreps = {
        AtomicDataDict.EDGE_EMBEDDING_KEY: Irreps([(len(state["radial_basis.basis.bessel_weights"]), _SCALAR)]),
        AtomicDataDict.EDGE_ATTRS_KEY: options.irreps_edge_sh,
        AtomicDataDict.NODE_ATTRS_KEY: Irreps([(len(options.type_names), _SCALAR)]),
        AtomicDataDict.NODE_FEATURES_KEY: Irreps([(chemical_embedding(options, state).shape[1], _SCALAR)]),
    }
    layers = []
    for i in range(options.n_layers):
        depth, width = radial_shape(state, i)
        layer = ConvNetLayer(
            irreps_in=irreps,
            feature_irreps_hidden=options.feature_irreps_hidden,
            convolution_kwargs={
                "radial_mlp_depth": depth,
                "radial_mlp_width": width,
                "use_sc": has_self_connections(state),
                "avg_num_neighbors": 1.0,
                "type_names": options.type_names,
            },
            resnet=options.resnet,
            nonlinearity_type=options.nonlinearity_type,
            nonlinearity_scalars=options.nonlinearity_scalars,
            nonlinearity_gates=options.nonlinearity_gates,
        )
        layers.append(layer)
        irreps = layer.irreps_out
    return layers


def convert(
    options: OldOptions, state: Tensors, layers: Sequence[ConvNetLayer], signs: Sequence[Signs], model: GraphModel
) -> dict[str, torch.Tensor]:
    """Weights of the current model by name: all but the energy scales and shifts, which are options.

    Args:
        options: of the old model
        state: of the old energy network
        layers: :func:`old_layers`
        signs: of the tensors of each layer's paths, in units of today's
        model: the current one, with any weights

    Raises:
        ValueError: if a tensor has not the shape that the options ask for
    """
    network = model.model.func
    embedding, to_features, to_one_hot = type_embedding(
        chemical_embedding(options, state), network.type_embed.embed_module.embedding_dim
    )
    found = {
        "type_embed.embed_module.weight": embedding,
        # today's roots are in units of π, and today's constant before the basis makes up for it
        "bessel_encode.bessel_weights": state["radial_basis.basis.bessel_weights"].double().unsqueeze(0) / torch.pi,
        "per_atom_energy_readout.mlp_module.mlp.0.weight": readout(
            state, layers[-1].irreps_out[AtomicDataDict.NODE_FEATURES_KEY]
        )
        / network.per_atom_energy_readout.mlp_module.mlp[0].alpha.double(),
    }
    for i, layer in enumerate(layers):
        start = f"layer{i}_convnet.conv."
        old = {name.removeprefix(start): t.double() for name, t in state.items() if name.startswith(start)}
        new = network.get_submodule(start[:-1])
        converted = convolution(layer.conv, old, signs[i], new, to_features if i == 0 else None, to_one_hot)
        found |= {start + name: tensor for name, tensor in converted.items()}
    return {f"model.func.{name}": tensor for name, tensor in found.items()}


def chemical_embedding(options: OldOptions, state: Tensors) -> torch.Tensor:
    """The old features of each type, ``C = W / √n``, shape (n_types, n_features)."""
    n_types = len(options.type_names)
    weight = state["chemical_embedding.linear.weight"].double().reshape(n_types, -1)
    return weight / n_types**0.5


def type_embedding(features: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A type embedding E from which the old features C and the one-hot type follow by linear maps.

    Today's type embedding, shape (n, D), is also what the self-connections take for the one-hot type. If D ≥ n, its
    rows can be made orthogonal, ``E Eᵀ = D``, and then

        E P = 1  with  P = Eᵀ / D,    E M = C  with  M = P C .

    Of these, E is the one nearest to C, by its polar decomposition (C padded by zeros to D columns).

    Args:
        features: C, shape (n, F)
        width: D, at least n and F

    Returns:
        E (n, D), M (D, F) and P (D, n)
    """
    u, _, vh = torch.linalg.svd(padded(features, width), full_matrices=False)
    embedding = width**0.5 * u @ vh
    to_one_hot = embedding.T / width
    return embedding, to_one_hot @ features, to_one_hot


def convolution(
    old: InteractionBlock,
    weights: Tensors,
    signs: Signs,
    new: InteractionBlock,
    to_features: torch.Tensor | None,
    to_one_hot: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """The weights of one convolution.

    Where it has to take today's type embedding h for the old features ``h M`` and for the old one-hot type ``h P``, the
    maps M and P go into the linear map and the self-connection. What the new one has no place for, outputs of the last
    layer with l > 0, is left out; what the old one did not have, channels of a wider embedding, has weight zero.

    Args:
        old, weights: as laid out by :func:`old_layers`, and the tensors
        signs: of the tensors of its paths, in units of today's
        new: the current one
        to_features: M in the first layer, else None
        to_one_hot: P
    """
    linear_1 = maps_of(old.linear_1, weights["linear_1.weight"])
    sc = {} if old.sc is None else maps_of(old.sc, weights["sc.weight"])
    # (mul_in, n_types, mul_out) -> (mul_in, D, mul_out)
    sc = {ir: torch.einsum("utw,kt->ukw", w, to_one_hot) for ir, w in sc.items()}
    if to_features is not None:
        linear_1 = {ir: to_features @ w for ir, w in linear_1.items()}
        sc = {ir: torch.einsum("xu,ukw->xkw", to_features, w) for ir, w in sc.items()}
    found = {
        "linear_1.weight": weights_for(new.linear_1, linear_1),
        "linear_2.weight": weights_for(new.linear_2, maps_of(old.linear_2, weights["linear_2.weight"])),
    }
    if new.sc is not None:
        found["sc.weight"] = weights_for(new.sc, sc)
    paths = radial_paths(old.tp_scatter.tp, radial_weights(weights)[-1], signs, new.tp_scatter.tp)
    return found | radial_network([*radial_weights(weights)[:-1], paths], new.edge_mlp)


def readout(state: Tensors, features: Irreps) -> torch.Tensor:
    """The two linear readouts as one, shape (n_features, 1).

    Args:
        state: of the old energy network
        features: irreps of its last layer, of which the scalars are read
    """
    second = state["output_hidden_to_scalar.linear.weight"].double()
    hidden = Irreps([(second.numel(), _SCALAR)])
    first = maps_of(Linear(features, hidden), state["conv_to_output_hidden.linear.weight"].double())
    return first[_SCALAR] @ maps_of(Linear(hidden, _SCALAR), second)[_SCALAR]


def radial_network(weights: Sequence[torch.Tensor], new: ScalarMLPFunction) -> dict[str, torch.Tensor]:
    """The weights of a radial network.

    A layer of the old one is ``x W / √h`` of h inputs, with c·silu between layers, where c makes the second moment one.
    A layer of today's is ``x W' a``, with silu between. So ``W' = W / (√h a)``, times c in all layers but the first.
    """
    constant = normalize2mom(torch.nn.functional.silu).cst
    names = [name for name, _ in new.named_parameters()]  # mlp.0.weight, mlp.2.weight, ...
    found = {}
    for i, (name, weight) in enumerate(zip(names, weights, strict=True)):
        alpha = new.get_submodule(name.removesuffix(".weight")).alpha.double()
        found[f"edge_mlp.{name}"] = weight * (constant if i else 1.0) / (len(weight) ** 0.5 * alpha)
    return found


def radial_paths(old: TensorProduct, weight: torch.Tensor, signs: Signs, new: TensorProduct) -> torch.Tensor:
    """The last layer of a radial network, whose columns are the weights of the paths of a tensor product.

    Args:
        old, new: the tensor products
        weight: shape (width, old.weight_numel)
        signs: of the old Wigner 3j tensors, in units of today's

    Returns:
        shape (width, new.weight_numel)
    """
    if weight.shape[1] != old.weight_numel:
        raise ValueError(f"a radial network has {weight.shape[1]} outputs where {old.weight_numel} are needed")
    columns = weight.split([ins.path_shape[0] for ins in old.instructions], dim=1)
    known = {_path(old, ins): w * ins.path_weight for ins, w in zip(old.instructions, columns)}
    columns = [
        padded(signs[ls] * known[_path(new, ins)], ins.path_shape[0]) / ins.path_weight
        for ls, ins in zip(momenta_of(new), new.instructions)
    ]
    return torch.cat(columns, dim=1)


def radial_weights(weights: Tensors, start: str = "") -> list[torch.Tensor]:
    """The layers of a radial network, each of shape (n_in, n_out)."""
    start += "fc.layer"
    count = len([name for name in weights if name.startswith(start)])
    return [weights[f"{start}{i}.weight"] for i in range(count)]


def radial_shape(state: Tensors, layer: int) -> tuple[int, int]:
    """Number of hidden layers of a radial network and their width."""
    weights = radial_weights(state, f"layer{layer}_convnet.conv.")
    return len(weights) - 1, len(weights[-1])


def has_self_connections(state: Tensors) -> bool:
    """Whether the convolutions have self-connections."""
    return "layer0_convnet.conv.sc.weight" in state


def maps_of(module: Linear | FullyConnectedTensorProduct, weight: torch.Tensor) -> Maps:
    """The map of each input irrep; there is one path from each.

    Args:
        module: knows the paths and their constants
        weight: flat
    """
    if weight.numel() != module.weight_numel:
        raise ValueError(f"{weight.numel()} weights where {module} has {module.weight_numel}")
    parts = weight.split([torch.Size(ins.path_shape).numel() for ins in module.instructions])
    return {
        _irrep_in(module, ins): part.reshape(ins.path_shape) * ins.path_weight
        for ins, part in zip(module.instructions, parts)
    }


def weights_for(module: Linear | FullyConnectedTensorProduct, maps: Maps) -> torch.Tensor:
    """Flat weights with which a module has these maps.

    The columns it has no place for are cut off: the scalars of a layer's output come before its gates. Rows and columns
    that a map does not have are zero.
    """
    parts = []
    for ins in module.instructions:
        rows, columns = ins.path_shape[0], ins.path_shape[-1]
        part = padded(padded(maps[_irrep_in(module, ins)][..., :columns], columns).movedim(0, -1), rows).movedim(-1, 0)
        parts.append(part.reshape(-1) / ins.path_weight)
    return torch.cat(parts)


def padded(tensor: torch.Tensor, size: int) -> torch.Tensor:
    """The tensor with zeros after it, up to ``size`` in its last dimension."""
    return torch.nn.functional.pad(tensor, (0, size - tensor.shape[-1]))


def _irrep_in(module: Linear | FullyConnectedTensorProduct, instruction: tuple) -> Irrep:
    irreps = module.irreps_in if isinstance(module, Linear) else module.irreps_in1
    return irreps[instruction[0]].ir


def _path(product: TensorProduct, instruction: tuple) -> tuple[Irrep, Irrep, Irrep]:
    irreps = (product.irreps_in1, product.irreps_in2, product.irreps_out)
    return tuple(part[i].ir for part, i in zip(irreps, instruction[:3]))


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
