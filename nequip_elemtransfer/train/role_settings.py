"""What a config says of a role: its learning-rate factor, its weight decay, or that it is frozen."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from nequip_elemtransfer.config import suggest
from nequip_elemtransfer.train.roles import Place, check_role

FROZEN = "frozen"
_ENTRIES = ("lr_factor", "depth_decay", "weight_decay")


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
