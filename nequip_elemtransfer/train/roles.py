"""What each parameter of a model is for, asked of its architecture, and what a config says of it.

A model of NequIP is a pipeline: embeddings of types and distances, interactions that sum over neighbors, a readout,
energy scales and shifts. The interactions are known by the norm of the sums they hold; what has a type axis is asked
by :func:`.per_type.type_axes`; the rest follows from its place in the pipeline. So this holds for Allegro and other
extensions as well, and what it does not cover is refused by name. Of each role a config may give a learning-rate
factor or a weight decay, or say that it is frozen.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from nequip.nn import GraphModel
from omegaconf import OmegaConf

from nequip_elemtransfer.architecture.nequip_names import (
    CONVOLUTION,
    ENERGIES,
    NEIGHBOR_NORM,
    PAIR_POTENTIAL,
    RADIAL_NETWORK,
)
from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.mapping.per_type import TypeAxes

ROLES = (
    "type_rows",
    "radial_networks",
    "interactions",
    "readout",
    "energy_scales",
    "energy_shifts",
    "pair_potential",
)

FROZEN = "frozen"
_ENTRIES = ("lr_factor", "depth_decay", "weight_decay")


class Place(NamedTuple):
    """A role, and for interactions the layer, counted from the input."""

    role: str
    layer: int | None = None

    def __str__(self) -> str:
        return self.role if self.layer is None else f"{self.role}.{self.layer}"


@dataclass(frozen=True)
class _Interaction:
    """A module that sums over neighbors.

    Args:
        name: of the module
        first_layer: number of its first layer
        layers: names of the lists it holds, one entry a layer, as in Allegro; without any it is one layer
    """

    name: str
    first_layer: int
    layers: tuple[str, ...]

    def place(self, parameter: str, radial: bool) -> Place:
        inside = parameter.removeprefix(f"{self.name}.").split(".")
        if radial and inside[0] == RADIAL_NETWORK:
            return Place("radial_networks")
        return Place("interactions", self.first_layer + (int(inside[1]) if inside[0] in self.layers else 0))


def find_roles(
    model: GraphModel, axes: Mapping[str, TypeAxes], assigned: Mapping[str, str] | None = None
) -> dict[str, Place]:
    """The role of each parameter.

    Args:
        model: its parameters are looked at, not their values
        axes: type axes of the tensors that have any
        assigned: roles that are given, by name of a parameter or a pattern with ``*``; ``interactions.1`` is a layer

    Raises:
        ValueError: naming the parameters that have no role, or what is wrong with ``assigned``
    """
    names = [name for name, _ in model.named_parameters()]
    given = _given(names, assigned or {})
    pipeline = _Pipeline(model)
    found = {name: given.get(name) or pipeline.place(name, bool(axes.get(name))) for name in names}
    places = {name: place for name, place in found.items() if place is not None}
    unknown = [name for name in names if name not in places]
    if unknown:
        raise ValueError(
            f"these parameters have no role that the architecture tells: {', '.join(unknown)}. Give them one, as in "
            f"`parameters: {{{unknown[0]}: readout}}`; the roles are {', '.join(ROLES)}."
        )
    return places


def check_role(role: Any, where: str, roles: Iterable[str] = ROLES) -> None:
    """Refuse a name that is none of the roles.

    Raises:
        ValueError: with the choices
    """
    if role not in roles:
        raise ValueError(f"`{where}` names {role!r}, which is no role here{suggest(role, roles)}.")


class _Pipeline:
    """The order of a model's modules, and where in it atoms interact."""

    def __init__(self, model: GraphModel):
        self.modules = dict(model.named_modules())
        self.order = {name: i for i, name in enumerate(self.modules)}
        self.interactions = _interactions(self.modules)
        inside = [i for name, i in self.order.items() if self._interaction(name)]
        self.begin, self.end = min(inside, default=0), max(inside, default=0)
        energies = [i for name, i in self.order.items() if type(self.modules[name]).__name__ == ENERGIES.name]
        self.energies = min(energies, default=len(self.order))

    def place(self, parameter: str, per_type: bool) -> Place | None:
        """The role of a parameter, None if there is none.

        Args:
            parameter: its name
            per_type: whether it has a type axis
        """
        owner, _, kind = parameter.rpartition(".")
        if type(self.modules[owner]).__name__ == ENERGIES.name:
            return Place(f"energy_{kind}")
        if PAIR_POTENTIAL in owner.split("."):
            return Place("pair_potential")
        if per_type:
            return Place("type_rows")
        interaction = self._interaction(owner)
        if interaction:
            return interaction.place(parameter, _is_convolution(self.modules[interaction.name]))
        if not self.interactions or isinstance(self.modules[owner], torch.nn.Embedding):
            return None
        if self.order[owner] < self.begin:  # before atoms interact, a network sees one distance
            return Place("radial_networks")
        return Place("readout") if self.end < self.order[owner] < self.energies else None

    def _interaction(self, module: str) -> _Interaction | None:
        return next((i for i in self.interactions if f"{module}.".startswith(f"{i.name}.")), None)


def _interactions(modules: Mapping[str, torch.nn.Module]) -> list[_Interaction]:
    """The modules that have parameters and norm a sum over neighbors."""
    found: list[_Interaction] = []
    n_layers = 0
    for name, module in modules.items():
        has_norm = any(type(child).__name__ == NEIGHBOR_NORM.name for child in module.children())
        if not has_norm or next(module.parameters(), None) is None:
            continue
        lists = {n: child for n, child in module.named_children() if isinstance(child, torch.nn.ModuleList)}
        found.append(_Interaction(name, n_layers, tuple(lists)))
        n_layers += max(map(len, lists.values()), default=1)
    return found


def _is_convolution(module: torch.nn.Module) -> bool:
    """NequIP's, or one that derives from it: its radial network is ``RADIAL_NETWORK``."""
    return any(base.__name__ == CONVOLUTION.name for base in type(module).__mro__)


def _given(names: list[str], assigned: Mapping[str, str]) -> dict[str, Place]:
    given: dict[str, Place] = {}
    for pattern, text in assigned.items():
        role, _, layer = str(text).partition(".")
        check_role(role, f"parameters.{pattern}")
        if layer and (role != "interactions" or not layer.isdigit()):
            raise ValueError(f"`parameters.{pattern}` is {text!r}: only interactions have layers, as `interactions.0`.")
        place = Place(role, int(layer or 0) if role == "interactions" else None)
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise ValueError(f"`parameters` names {pattern!r}, which the model does not have{suggest(pattern, names)}.")
        given |= dict.fromkeys(matching, place)
    return given


@dataclass(frozen=True)
class RoleSetting:
    """The setting of one role.

    Args:
        lr_factors: of the learning rate; one, or one for each layer of interactions; 0 is frozen; None where not given
        depth_decay: the last layer has the factor itself, each one before it that of the next times this
        weight_decay: None where not given
    """

    lr_factors: tuple[float, ...] | None = None
    depth_decay: float = 1.0
    weight_decay: float | None = None

    @classmethod
    def parse(cls, value: Any, where: str) -> "RoleSetting":
        """A factor, ``frozen``, a list with one for each layer, or a mapping with the entries of the class.

        Raises:
            ValueError: naming ``where``, which is a path in the config
        """
        if not isinstance(value, Mapping):
            return cls(_factors(value, where))
        for name in value:
            if name not in _ENTRIES:
                raise ValueError(f"`{where}` has no entry {name!r}{suggest(name, _ENTRIES)}.")
        factor, decay, weights = (value.get(name) for name in _ENTRIES)
        if decay is not None and factor is None:
            factor = 1.0
        return cls(
            None if factor is None else _factors(factor, f"{where}.lr_factor"),
            1.0 if decay is None else not_negative(decay, f"{where}.depth_decay"),
            None if weights is None else not_negative(weights, f"{where}.weight_decay"),
        )

    def check(self, places: Iterable[Place], where: str) -> None:
        """Refuse numbers for each layer where there are no layers, or others.

        Args:
            places: of the role in the model
        """
        n = len({place.layer for place in places if place.layer is not None})
        if self.depth_decay != 1.0 and not n:
            raise ValueError(f"`{where}` has a `depth_decay`, but only interactions have a depth.")
        if self.lr_factors is not None and len(self.lr_factors) not in (1, n):
            wanted = f"one number, or one for each of the {n} layers" if n else "one number, having no layers"
            raise ValueError(f"`{where}` has {len(self.lr_factors)} learning-rate factors: it takes {wanted}.")

    def lr_factor(self, layer: int | None, n_layers: int) -> float | None:
        """The factor of a layer, None where not given."""
        if self.lr_factors is None:
            return None
        if layer is None:
            return self.lr_factors[0]
        factor = self.lr_factors[layer if len(self.lr_factors) > 1 else 0]
        return factor * self.depth_decay ** (n_layers - 1 - layer)


def parse_settings(value: Any, where: str, places: Iterable[Place]) -> dict[str, RoleSetting]:
    """The settings of the roles that a config names.

    Args:
        value: role -> setting
        where: of the config it stands, for messages
        places: those of the model; a role that has no parameters there cannot be set

    Raises:
        ValueError: for what cannot be
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"`{where}` must map roles to settings, as in `{{readout: 0.5}}`, found {value!r}.")
    places, settings = list(places), {}
    for role, setting in value.items():
        check_role(role, where, dict.fromkeys(place.role for place in places))
        settings[role] = RoleSetting.parse(setting, f"{where}.{role}")
        settings[role].check([place for place in places if place.role == role], f"{where}.{role}")
    return settings


def plain_settings(value: Any) -> Any:
    """What Hydra hands over as OmegaConf's containers, as plain ones."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def not_negative(value: Any, where: str) -> float:
    """A finite number of at least zero.

    Raises:
        ValueError: naming ``where``, which is a path in the config
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"`{where}` must be a number of at least 0, found {value!r}.")
    return float(value)


def _factors(value: Any, where: str) -> tuple[float, ...]:
    if value == FROZEN:
        return (0.0,)
    if isinstance(value, (list, tuple)) and value:
        return tuple(0.0 if v == FROZEN else not_negative(v, where) for v in value)
    if isinstance(value, str):
        raise ValueError(f"`{where}` must be a number of at least 0 or `{FROZEN}`, found {value!r}.")
    return (not_negative(value, where),)
