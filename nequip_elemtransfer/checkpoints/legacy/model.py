"""A model of NequIP 0.5 or 0.6 as an architecture of today and its state."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from e3nn.o3 import Irrep
from nequip.data import AtomicDataDict
from nequip.nn import ConvNetLayer

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture
from nequip_elemtransfer.checkpoints.legacy import weights
from nequip_elemtransfer.checkpoints.legacy.options import OldOptions, check_builders, read_options
from nequip_elemtransfer.checkpoints.legacy.reading import TRAIN_AGAIN, OldModel, energy_network, read_old_model
from nequip_elemtransfer.checkpoints.legacy.weights import changes, momenta_of, path_signs

_CHEMICAL = "chemical_embedding.linear.weight"
_ROOTS = "radial_basis.basis.bessel_weights"
_ZBL_CHARGES, _ZBL_CONSTANT = "pair_potential.atomic_numbers", "pair_potential._qqr2exesquare"
# half of e²/4πε₀ in eV Å and in kcal/mol Å, as NequIP has it
_ZBL_CONSTANTS = {"metal": 14.399645 / 2, "real": 332.06371 / 2}

# The tensors that are converted
_KNOWN = re.compile(
    r"chemical_embedding\.linear\.weight|radial_basis\.basis\.bessel_weights|"
    r"layer\d+_convnet\.conv\.((linear_1|linear_2|sc)\.weight|fc\.layer\d+\.weight)|"
    r"(conv_to_output_hidden|output_hidden_to_scalar)\.linear\.weight|"
    r"per_species_rescale\.(scales|shifts)|scale_by|shift_by|pair_potential\.(atomic_numbers|_qqr2exesquare)"
)
# and what e3nn keeps beside them, which follows from the irreps
_DERIVED = re.compile(r".*\.output_mask|.*_w3j.*|.*\._compiled_main.*")


@dataclass(frozen=True)
class ConvertedModel:
    """A model of NequIP 0.5 or 0.6, written as a current one.

    Args:
        architecture: of the current model
        state: parameters and buffers of the model built from it, by name
        changes: what was done besides rewriting, in words
    """

    architecture: Architecture
    state: dict[str, torch.Tensor]
    changes: tuple[str, ...]


def load_old_model(path: str | Path) -> ConvertedModel:
    """Read a model of NequIP 0.5 or 0.6 and write it as a current one.

    Args:
        path: of a training folder, or of a file that ``nequip-deploy build`` made

    Raises:
        FileNotFoundError: if there is no such folder or file
        ValueError: if it cannot be read, or has a part without counterpart today
    """
    arch.initialize_nequip()
    old = read_old_model(path)
    check_builders(old)
    state = energy_network(old)
    options = read_options(old, len({name.partition(".")[0] for name in state if name.startswith("layer")}))
    _check_tensors(old, options, state)
    layers = weights.old_layers(options, state)
    _check_layers(old, layers)
    architecture = _architecture(old, options, state)
    model = arch.build(architecture)
    convolutions = [model.model.func.get_submodule(f"layer{i}_convnet.conv") for i in range(options.n_layers)]
    signs = path_signs(old, state, [momenta_of(conv.tp_scatter.tp) for conv in convolutions])
    try:
        converted = weights.convert(options, state, layers, signs, model)
    except ValueError as error:
        raise ValueError(f"the weights of source {old.path!r} do not fit its configuration: {error}.") from error
    _set_parameters(model, converted)
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return ConvertedModel(architecture, state, changes(signs))


def _check_tensors(old: OldModel, options: OldOptions, state: Mapping[str, torch.Tensor]) -> None:
    if _ROOTS not in state:
        raise ValueError(
            f"source {old.path!r} has another radial basis than Bessel's (no tensor {_ROOTS!r}). {TRAIN_AGAIN}"
        )
    parts = ("linear_1", "fc.layer0", "linear_2", *(["sc"] if weights.has_self_connections(state) else []))
    needed = [f"layer{i}_convnet.conv.{part}.weight" for i in range(max(1, options.n_layers)) for part in parts]
    needed += ["conv_to_output_hidden.linear.weight", "output_hidden_to_scalar.linear.weight"]
    missing = [name for name in needed if name not in state]
    if missing:
        raise ValueError(f"source {old.path!r} has no tensors {', '.join(missing)}: its file of weights is incomplete.")
    if state[_CHEMICAL].numel() % len(options.type_names):
        raise ValueError(f"source {old.path!r} has not the types {', '.join(options.type_names)} of its configuration.")
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ValueError(
            f"source {old.path!r} holds numbers that are not finite, in {bad[0]!r}: its training diverged."
        )
    unknown = [n for n, t in state.items() if t.numel() and not _KNOWN.fullmatch(n) and not _DERIVED.fullmatch(n)]
    if unknown:
        raise ValueError(
            f"source {old.path!r} has parts that are not read: the tensors {', '.join(unknown)}. {TRAIN_AGAIN}"
        )


def _check_layers(old: OldModel, layers: Sequence[ConvNetLayer]) -> None:
    if any(layer.resnet for layer in layers):
        raise ValueError(
            f"source {old.path!r} has `resnet`: true, but today's last layer does not add the features of the layer "
            f"before it. {TRAIN_AGAIN}"
        )
    for layer in layers:
        kinds = [ir for _, ir in layer.irreps_out[AtomicDataDict.NODE_FEATURES_KEY]]
        if len(kinds) != len(set(kinds)):
            raise ValueError(
                f"source {old.path!r} has abs for odd scalars in `nonlinearity_scalars`, which makes even ones of "
                f"them, and today's readout takes one kind only. {TRAIN_AGAIN}"
            )


def _architecture(old: OldModel, options: OldOptions, state: Mapping[str, torch.Tensor]) -> Architecture:
    n_layers, n_types = options.n_layers, len(options.type_names)
    radial = [weights.radial_shape(state, i) for i in range(n_layers)]
    n_scalars = sum(mul for mul, ir in options.feature_irreps_hidden if ir == Irrep("0e"))
    scales, shifts = _energies(old, options, state)
    return {
        "_target_": "nequip.model.FullNequIPGNNModel",
        "seed": 0,
        "model_dtype": options.model_dtype,
        "type_names": list(options.type_names),
        "r_max": options.r_max,
        "irreps_edge_sh": str(options.irreps_edge_sh),
        # the last layer's other irreps are read by nothing
        "feature_irreps_hidden": [str(options.feature_irreps_hidden)] * (n_layers - 1) + [f"{n_scalars}x0e"],
        # orthogonal rows need as many columns
        "type_embed_num_features": max(n_types, weights.chemical_embedding(options, state).shape[1]),
        "radial_mlp_depth": [depth for depth, _ in radial],
        "radial_mlp_width": [width for _, width in radial],
        "num_bessels": len(state[_ROOTS]),
        "bessel_trainable": options.bessel_trainable or not _are_multiples_of_pi(state[_ROOTS]),
        "polynomial_cutoff_p": options.p,
        "avg_num_neighbors": 1.0 if options.avg_num_neighbors is None else options.avg_num_neighbors,
        "per_type_energy_scales": scales,
        "per_type_energy_shifts": shifts,
        "per_type_energy_scales_trainable": options.scales_trainable,
        "per_type_energy_shifts_trainable": options.shifts_trainable,
        "pair_potential": _pair_potential(old, options, state),
        "convnet_sc": weights.has_self_connections(state),
        # today's name for a self-connection in the first layer
        "learnable_shift": weights.has_self_connections(state),
        "convnet_nonlinearity_type": options.nonlinearity_type,
        "convnet_nonlinearity_scalars": options.nonlinearity_scalars,
        "convnet_nonlinearity_gates": options.nonlinearity_gates,
    }


def _are_multiples_of_pi(roots: torch.Tensor) -> bool:
    return torch.allclose(roots.double(), torch.pi * torch.arange(1.0, len(roots) + 1, dtype=torch.float64), rtol=1e-6)


def _energies(
    old: OldModel, options: OldOptions, state: Mapping[str, torch.Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """Energy scales and shifts (eV) of the types, ``σ_t = g s_t`` and ``μ_t = g m_t``.

    g is the global scale; s_t and m_t are stored per type, in units of it.
    """
    if state.get("shift_by", torch.empty(0)).any():
        raise ValueError(
            f"source {old.path!r} has `global_rescale_shift`, {state['shift_by'].item():g} eV for any number of atoms, "
            f"and today's models have energies of atoms only. {TRAIN_AGAIN}"
        )
    scale = _value(state, "scale_by", 1.0)

    def by_type(stored: torch.Tensor) -> dict[str, float]:
        return dict(zip(options.type_names, (scale * stored).expand(len(options.type_names)).tolist()))

    scales, shifts = (
        _value(state, f"per_species_rescale.{name}", one) for name, one in (("scales", 1.0), ("shifts", 0.0))
    )
    return by_type(scales), by_type(shifts)


def _value(state: Mapping[str, torch.Tensor], name: str, default: float) -> torch.Tensor:
    """A tensor in float64, or a number in place of one that is not used: it is empty or left out."""
    if name in state and state[name].numel():
        return state[name].double()
    return torch.tensor(default, dtype=torch.float64)


def _pair_potential(old: OldModel, options: OldOptions, state: Mapping[str, torch.Tensor]) -> dict[str, Any] | None:
    if (options.zbl_units is not None) != (_ZBL_CHARGES in state):
        raise ValueError(f"source {old.path!r} has a pair potential in its configuration or its weights, but not both.")
    if options.zbl_units is None:
        return None
    constant = (state[_ZBL_CONSTANT] * _value(state, "scale_by", 1.0)).item()
    if abs(constant / _ZBL_CONSTANTS[options.zbl_units] - 1) > 1e-6:
        raise ValueError(f"source {old.path!r} has a ZBL constant of {constant:g}, which is not that of its units.")
    return {
        "_target_": "nequip.nn.pair_potential.ZBL",
        "chemical_species": [chemical_symbols[int(charge)] for charge in state[_ZBL_CHARGES]],
        "units": options.zbl_units,
        "polynomial_cutoff_p": options.p,
    }


def _set_parameters(model: torch.nn.Module, values: Mapping[str, torch.Tensor]) -> None:
    """Set all parameters that are not options."""
    parameters = {n: p for n, p in model.named_parameters() if ".per_type_energy_scale_shift." not in n}
    buffers = {name for name, _ in model.named_buffers()}  # roots that are not trained are what they were
    if set(values) - buffers != set(parameters):
        raise ValueError(f"not all weights were converted: {sorted(set(parameters) ^ (set(values) - buffers))}.")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name].reshape(parameter.shape))
