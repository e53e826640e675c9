"""``ParameterGroups``, which gives the parameters of each role their own learning rate and weight decay."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.builders import build
from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.mapping.per_type import type_axes
from nequip_elemtransfer.model import architecture_of
from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.train.roles import Place, RoleSetting, find_roles, not_negative, parse_settings, plain_settings

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")

logger = RankedLogger(__name__, rank_zero_only=True)


class ParameterGroup(dict):
    """One place's parameters and options, as PyTorch's optimizers take them.

    Besides ``params``, ``lr`` and perhaps ``weight_decay`` it holds ``name`` (the place, which Lightning's
    LearningRateMonitor shows), ``role``, ``layer``, ``lr_factor`` and ``frozen``. An optimizer's state saves them.
    """

    def __contains__(self, key: object) -> bool:
        # NequIP's MuonWithAuxAdam looks for this key first, and fails with no message where it is not
        if key == "use_muon":
            raise ValueError(
                "nequip_elemtransfer.ParameterGroups does not serve Muon, whose groups follow the shapes of the "
                "weights: use `nequip.model.MuonParamGroups` with it, or another optimizer here."
            )
        return super().__contains__(key)


def ParameterGroups(
    model: torch.nn.ModuleDict,
    lr: float,
    roles: Mapping[str, Any] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> list[ParameterGroup]:
    """Group a transferred model's parameters by what they are for.

    .. code-block:: yaml

        optimizer:
          _target_: torch.optim.AdamW
          param_groups:
            _target_: nequip_elemtransfer.ParameterGroups
            lr: 0.01
            roles:
              type_rows: 2.0                                   # twice the learning rate
              radial_networks: frozen
              interactions: {lr_factor: 1.0, depth_decay: 0.5} # the last layer in full, the one before at half
              readout: {weight_decay: 0.01}

    The roles are ``type_rows``, ``radial_networks``, ``interactions``, ``readout``, ``energy_scales``,
    ``energy_shifts`` and ``pair_potential``, as far as the model has parameters of them. One that is not named is
    trained with the learning rate itself.

    Args:
        model: what NequIP hands over
        lr: learning rate that the factors multiply; that of the optimizer is not used
        roles: role -> a factor of at least 0, ``frozen``, or a mapping with ``lr_factor``, ``depth_decay`` and
            ``weight_decay``; for interactions also a list, one factor a layer from the input on
        parameters: name or pattern of parameters -> role, for those whose role the architecture does not tell

    Raises:
        ValueError: for a role that does not exist, a negative number, everything frozen, or a model that no transfer
            made
    """
    places = _places(model, plain_settings(parameters))
    settings = parse_settings(plain_settings(roles) or {}, "param_groups.roles", places.values())
    rate = not_negative(lr, "param_groups.lr")
    named = dict(model[_SOLE_MODEL_KEY].named_parameters())
    n_layers = len({place.layer for place in places.values()} - {None})
    groups = []
    for place in sorted(set(places.values()), key=list(places.values()).index):
        members = [named[name] for name, other in places.items() if other == place]
        groups.append(_group(place, members, rate, settings.get(place.role, RoleSetting()), n_layers))
    refuse_all_frozen(groups, "param_groups.roles")
    logger.info(f"Parameters by role:\n\n{describe_groups(groups)}\n")
    return groups


def groups_by_role(optimizer: torch.optim.Optimizer, who: str) -> list[dict[str, Any]]:
    """The groups of an optimizer.

    Args:
        who: needs them, the first words of a sentence

    Raises:
        ValueError: if they are not those of :func:`ParameterGroups`
    """
    if any("role" not in group.keys() for group in optimizer.param_groups):
        raise ValueError(
            f"{who} needs parameters grouped by role, which those of {type(optimizer).__name__} are not: give the "
            "optimizer `param_groups: {_target_: nequip_elemtransfer.ParameterGroups, lr: ...}`."
        )
    return optimizer.param_groups


def refuse_schedule_free(optimizer: torch.optim.Optimizer, who: str) -> None:
    """Refuse an optimizer that evaluates other weights than it trains, and knows no others than its own steps.

    Args:
        who: cannot work with it, the first words of a sentence

    Raises:
        ValueError: if the optimizer is one of the schedulefree package
    """
    if type(optimizer).__module__.split(".")[0] == "schedulefree":
        raise ValueError(
            f"{who} cannot be combined with {type(optimizer).__name__}, which averages its own steps and would not "
            "see these: use Adam or AdamW."
        )


def refuse_all_frozen(groups: Sequence[Mapping[str, Any]], where: str) -> None:
    """Refuse groups none of which is trained.

    Raises:
        ValueError: naming ``where``
    """
    if all(group["frozen"] for group in groups):
        raise ValueError(f"`{where}` freezes every parameter: leave at least one role to be trained.")


def set_frozen(group: dict[str, Any], frozen: bool) -> None:
    """Freeze or unfreeze a group: its parameters get no gradients, and optimizers pass over those."""
    group["frozen"] = frozen
    for parameter in group["params"]:
        parameter.requires_grad_(not frozen)
        if frozen:
            parameter.grad = None


def describe_groups(groups: Sequence[Mapping[str, Any]]) -> str:
    """A table of the groups, for the log."""
    rows = [
        [
            group["name"],
            str(len(group["params"])),
            str(sum(p.numel() for p in group["params"])),
            "frozen" if group["frozen"] else f"{group['lr_factor']:g}",
            "frozen" if group["frozen"] else f"{group['lr']:.3g}",
            f"{group['weight_decay']:g}" if "weight_decay" in group.keys() else "the optimizer's",
        ]
        for group in groups
    ]
    header = ["role", "tensors", "numbers", "factor", "learning rate", "weight decay"]
    return table(header, rows, [False] + [True] * 5)


def _places(model: torch.nn.ModuleDict, assigned: Mapping[str, str] | None) -> dict[str, Place]:
    if list(model) != [_SOLE_MODEL_KEY]:
        raise ValueError(f"nequip_elemtransfer.ParameterGroups takes one model, found {', '.join(model)}.")
    sole = model[_SOLE_MODEL_KEY]
    architecture = architecture_of(sole)
    places = find_roles(sole, type_axes(build(architecture), architecture), assigned)
    fixed = {name for name, parameter in sole.named_parameters() if _fixed(name, parameter, places)}
    return {name: place for name, place in places.items() if name not in fixed}


def _fixed(name: str, parameter: torch.nn.Parameter, places: Mapping[str, Place]) -> bool:
    """NequIP makes constants of a Lennard-Jones potential parameters without a gradient."""
    return places[name].role == "pair_potential" and not parameter.requires_grad


def _group(
    place: Place, members: list[torch.nn.Parameter], lr: float, setting: RoleSetting, n_layers: int
) -> ParameterGroup:
    factor = setting.lr_factor(place.layer, n_layers)
    factor = 1.0 if factor is None else factor
    group = ParameterGroup(params=members, name=str(place), role=place.role, layer=place.layer)
    # a frozen group keeps a learning rate: schedulers multiply it, and a stage may unfreeze it
    group |= {"lr_factor": factor or 1.0, "lr": lr * (factor or 1.0)}
    if setting.weight_decay is not None:
        group["weight_decay"] = setting.weight_decay
    set_frozen(group, factor == 0)
    return group
