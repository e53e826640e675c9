"""The configuration of a NequIP 0.5 or 0.6 training: what it says of the network, and the same as an architecture.

Those versions filled in the arguments of each module from the configuration: by the argument's name, or by that with a
name of the module before it, which counts more (``p``, ``PolynomialCutoff_p``, ``radial_basis_cutoff_p``).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e3nn.o3 import Irreps

from nequip_elemtransfer.checkpoints.legacy.reading import TRAIN_AGAIN, OldModel, Unread

# What these builders make is converted.
_BUILDERS = {
    "SimpleIrrepsConfig",
    "EnergyModel",
    "PerSpeciesRescale",
    "PairPotentialTerm",
    "ForceOutput",
    "StressForceOutput",
    "PartialForceOutput",
    "RescaleEnergyEtc",
    "initialize_from_state",
    "load_model_state",
    "uniform_initialize_FCs",
}
# Keys by which another basis, envelope or convolution could be asked for, or arguments be given in a group.
_RADIAL, _LAYER = r"RadialBasisEdgeEncoding|radial_basis", r"ConvNetLayer|layer\d+_convnet"
_PART = re.compile(rf"(({_RADIAL})_)?(basis|cutoff)|(({_LAYER})_)?convolution")
_GROUP = re.compile(
    rf"({_RADIAL}|{_LAYER}|BesselBasis|PolynomialCutoff|SphericalHarmonicEdgeAttrs|spharm_edges|InteractionBlock|"
    r"convolution|basis|cutoff)(_\w+)?_(kwargs|params)"
)
_NONLINEARITIES = ("silu", "tanh", "abs", "ssp")


@dataclass(frozen=True)
class OldOptions:
    """What a configuration says of its network and the shapes of the weights do not.

    Args:
        type_names: in the order of the types
        n_layers: number of convolutions
        model_dtype: ``float32`` or ``float64``
        r_max: cutoff radius in Å
        p: exponent of the polynomial envelope
        avg_num_neighbors: constant under the sums over neighbours, None for none
        irreps_edge_sh: of the spherical harmonics
        feature_irreps_hidden: what each convolution is asked for
        resnet: whether features are added to those of the layer before, where they have the same irreps
        nonlinearity_type: ``gate`` or ``norm``
        nonlinearity_scalars, nonlinearity_gates: of even (``e``) and odd (``o``) scalars and gates
        bessel_trainable, scales_trainable, shifts_trainable: what was trained
        zbl_units: of a ZBL potential, None without one
    """

    type_names: tuple[str, ...]
    n_layers: int
    model_dtype: str
    r_max: float
    p: float
    avg_num_neighbors: float | None
    irreps_edge_sh: Irreps
    feature_irreps_hidden: Irreps
    resnet: bool
    nonlinearity_type: str
    nonlinearity_scalars: dict[str, str]
    nonlinearity_gates: dict[str, str]
    bessel_trainable: bool
    scales_trainable: bool
    shifts_trainable: bool
    zbl_units: str | None


def check_builders(old: OldModel) -> None:
    """Refuse a model that other builders than those of NequIP's energy models made.

    Raises:
        ValueError: with the builder's name
    """
    names, known = _builders(_Lookup(old)), _BUILDERS
    for builder in names:
        if builder not in known:
            raise ValueError(
                f"source {old.path!r} was made by the model builder {builder!r}: only NequIP's own energy models of "
                f"0.5 and 0.6 are read, Allegro 0.2 and other extensions are not. {TRAIN_AGAIN}"
            )
    if {"PairPotentialTerm", "PerSpeciesRescale"} <= set(names):
        if names.index("PairPotentialTerm") < names.index("PerSpeciesRescale"):
            raise ValueError(
                f"source {old.path!r} has PairPotentialTerm before PerSpeciesRescale in `model_builders`, so its pair "
                f"potential is scaled and shifted: only one added after is read. {TRAIN_AGAIN}"
            )


def read_options(old: OldModel, n_layers: int) -> OldOptions:
    """The options of a model, refused by name where today's models have no counterpart.

    Args:
        old: the model
        n_layers: number of convolutions in its state

    Raises:
        ValueError: with the option, its value, and what to do
    """
    config = _Lookup(old)
    _check_parts(config)
    layer = _layer_options(config, n_layers)
    radial = ("RadialBasisEdgeEncoding", "radial_basis")
    basis, cutoff = _nested("BesselBasis", "basis", radial), _nested("PolynomialCutoff", "cutoff", radial)
    r_max = float(config.required("r_max"))
    for owner in (basis, cutoff):
        config.require("r_max", owner, r_max, (r_max,), "one cutoff radius is read")
    sh = ("SphericalHarmonicEdgeAttrs", "spharm_edges")
    config.require("edge_sh_normalization", sh, "component", ("component",), "component is what today's models have")
    config.require("edge_sh_normalize", sh, True, (True,), "true is what today's models have")
    rescale = ("PerSpeciesScaleShift", "per_species_rescale")
    return OldOptions(
        type_names=_type_names(config),
        n_layers=n_layers,
        model_dtype=_model_dtype(config),
        r_max=r_max,
        p=float(config.get("p", cutoff, 6.0)),
        irreps_edge_sh=_irreps(config, "irreps_edge_sh", sh),
        bessel_trainable=bool(config.get("trainable", basis, True)),
        scales_trainable=bool(config.get("scales_trainable", rescale, False)),
        shifts_trainable=bool(config.get("shifts_trainable", rescale, False)),
        zbl_units=_zbl_units(config),
        **layer,
    )


class _Lookup:
    """The arguments of modules, as NequIP 0.5 and 0.6 looked them up in a configuration."""

    def __init__(self, old: OldModel):
        self.config, self.path, self.version = old.config, old.path, old.version

    def get(self, name: str, owners: Sequence[str] = (), default: Any = None) -> Any:
        """The value of an argument.

        Args:
            name: of the argument
            owners: names of the module it belongs to, see :func:`_nested`
            default: the argument's
        """
        value = default
        for key in (name, *(f"{owner}_{name}" for owner in owners)):
            value = self.config.get(key, value)
            if isinstance(value, Unread):
                raise ValueError(self.problem(key, f"which is no plain data ({value.tag})"))
        return value

    def required(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise ValueError(f"the configuration of source {self.path!r} does not say `{name}`: it is incomplete.")
        return value

    def require(self, name: str, owners: Sequence[str], default: Any, accepted: Sequence, why: str) -> None:
        """Refuse any value of an argument but those that are accepted."""
        value = self.get(name, owners, default)
        if value not in accepted:
            raise ValueError(self.problem(name, f"{value!r}: {why}"))

    def problem(self, name: str, what: str) -> str:
        return f"source {self.path!r} has `{name}`: {what}. {TRAIN_AGAIN}"


def _nested(builder: str, argument: str, parents: Sequence[str]) -> tuple[str, ...]:
    """The names that an argument of a module inside another may have before it, the last counting most."""
    names = [builder, argument]
    for parent in parents:
        names += [parent, f"{parent}_{argument}"]
    return tuple(names)


def _builders(config: _Lookup) -> list[str]:
    return [str(builder).removeprefix("nequip.model.") for builder in config.required("model_builders")]


def _check_parts(config: _Lookup) -> None:
    for key, value in config.config.items():
        if value in (None, {}):
            continue
        if _PART.fullmatch(key):
            read = "the Bessel basis, the polynomial cutoff and NequIP's convolution are read"
            raise ValueError(config.problem(key, f"{value!r}: {read}"))
        if _GROUP.fullmatch(key):
            raise ValueError(config.problem(key, f"{value!r}: arguments are read by their own keys, not in a group"))


def _layer_options(config: _Lookup, n_layers: int) -> dict[str, Any]:
    """The options of the convolutions, which today's models have in common."""
    found = [_one_layer(config, i) for i in range(n_layers)]
    for name, value in found[0].items():
        if any(options[name] != value for options in found):
            raise ValueError(config.problem(name, "not the same in all layers, as today's models have it"))
    return found[0]


def _one_layer(config: _Lookup, i: int) -> dict[str, Any]:
    layer = ("ConvNetLayer", f"layer{i}_convnet")
    inside = _nested("InteractionBlock", "convolution", layer)
    # the defaults changed with 0.6.0
    even, gate_odd = ("silu", "tanh") if config.version >= (0, 6) else ("ssp", "abs")
    scalars = _nonlinearities(config, "nonlinearity_scalars", layer, {"e": even, "o": "tanh"})
    gates = _nonlinearities(config, "nonlinearity_gates", layer, {"e": even, "o": gate_odd})
    radial = _nonlinearities(config, "nonlinearity_scalars", inside, {"e": even})
    if radial["e"] != "silu":
        raise ValueError(
            config.problem(
                "nonlinearity_scalars",
                f"{radial['e']!r} for even scalars, which is the nonlinearity of the radial networks too, and today's "
                "models have silu there (NequIP 0.5 has ssp unless told otherwise)",
            )
        )
    neighbors = config.get("avg_num_neighbors", inside)
    if isinstance(neighbors, str):
        raise ValueError(config.problem("avg_num_neighbors", f"{neighbors!r}, a number that was never put in"))
    return {
        "feature_irreps_hidden": _irreps(config, "feature_irreps_hidden", layer),
        "resnet": bool(config.get("resnet", layer, False)),
        "nonlinearity_type": str(config.get("nonlinearity_type", layer, "gate")),
        "nonlinearity_scalars": scalars,
        "nonlinearity_gates": gates,
        "avg_num_neighbors": None if neighbors is None else float(neighbors),
    }


def _irreps(config: _Lookup, name: str, owners: Sequence[str]) -> Irreps:
    value = config.get(name, owners) or config.required(name)
    try:
        irreps = Irreps(value)
    except ValueError as error:
        raise ValueError(config.problem(name, f"{value!r}: {error}")) from error
    kinds = [ir for _, ir in irreps]
    if len(set(kinds)) != len(kinds):
        raise ValueError(config.problem(name, f"{irreps}: each irrep once is read"))
    return irreps


def _nonlinearities(config: _Lookup, name: str, owners: Sequence[str], default: dict) -> dict[str, str]:
    value = config.get(name, owners, default)
    if not isinstance(value, Mapping) or "e" not in value or not set(value.values()) <= set(_NONLINEARITIES):
        raise ValueError(config.problem(name, f"{value!r}: {{e: ..., o: ...}} of {', '.join(_NONLINEARITIES)} is read"))
    return dict(value)


def _type_names(config: _Lookup) -> tuple[str, ...]:
    names = config.required("type_names")
    if not all(isinstance(name, str) and name.isalnum() for name in names):
        raise ValueError(config.problem("type_names", f"{names!r}: today's names are letters and digits"))
    return tuple(names)


def _model_dtype(config: _Lookup) -> str:
    # NequIP 0.5 computes in the precision of its data
    value = config.get("model_dtype", default=config.get("default_dtype", default="float32"))
    if value not in ("float32", "float64"):
        raise ValueError(config.problem("model_dtype", f"{value!r}: float32 and float64 are read"))
    return value


def _zbl_units(config: _Lookup) -> str | None:
    if "PairPotentialTerm" not in _builders(config):
        return None
    config.require("pair_style", (), None, ("ZBL",), "of pair potentials, ZBL is read")
    units = config.get("units", ("ZBL", "pair_potential"))
    if units not in ("metal", "real"):
        raise ValueError(config.problem("units", f"{units!r}: ZBL has metal or real units"))
    return units
