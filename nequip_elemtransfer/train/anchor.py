r"""``AnchorToStart``, a weight decay towards the start of a transfer instead of towards zero.

The penalty is the L2-SP of X. Li, Y. Grandvalet and F. Davoine, ICML 2018, arXiv:1802.01483, in the decoupled form that
I. Loshchilov and F. Hutter, arXiv:1711.05101, give weight decay.
"""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.model import architecture_of
from nequip_elemtransfer.train.groups import groups_by_role, refuse_schedule_free
from nequip_elemtransfer.train.roles import check_role, not_negative, plain_settings

_SOLE_MODEL_KEY = imported("nequip.train.lightning._SOLE_MODEL_KEY")

logger = RankedLogger(__name__, rank_zero_only=True)


class AnchorToStart(Callback):
    r"""Before each step, move the weights a little towards those they started from.

    .. math:: w \leftarrow w - \eta\, d\, (w - w_\mathrm{start})

    with the learning rate :math:`\eta` of the weights' group and their decay d. This is AdamW's weight decay about
    another point: after :math:`1 / (\eta d)` steps without gradients, the distance to the start has fallen to 1/e.

    .. code-block:: yaml

        callbacks:
          - _target_: nequip_elemtransfer.AnchorToStart
            decay: 0.1                                   # or by role: {interactions: 0.1, type_rows: 0}

    The start is saved in the checkpoint, with the callback's state; the model stays as it is. By role, the optimizer
    needs :func:`nequip_elemtransfer.ParameterGroups`; roles that are not named are not anchored.

    Args:
        decay: d, at least 0 and in units of one over the learning rate, for all weights or by role

    Raises:
        ValueError: for a bad decay; when training starts, without a transferred start, or with ScheduleFree
    """

    def __init__(self, decay: float | Mapping[str, float]) -> None:
        decay = plain_settings(decay)
        self._decay = (
            {role: not_negative(value, f"decay.{role}") for role, value in decay.items()}
            if isinstance(decay, Mapping)
            else not_negative(decay, "decay")
        )
        self._start: dict[str, torch.Tensor] = {}
        # index of a group, its decay, its weights and where they started
        self._anchored: list[tuple[int, float, list[torch.Tensor], list[torch.Tensor]]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        optimizer = trainer.optimizers[0]
        refuse_schedule_free(optimizer, "nequip_elemtransfer.AnchorToStart")
        model = pl_module.model[_SOLE_MODEL_KEY]
        architecture_of(model)  # a model that no transfer made has no start
        names = {parameter: name for name, parameter in model.named_parameters()}
        decays = self._decays(optimizer)
        if not self._start:
            weights = [w for index in decays for w in optimizer.param_groups[index]["params"]]
            self._start = {names[w]: w.detach().clone() for w in weights}
        self._anchored = []
        for index, decay in decays.items():
            weights = optimizer.param_groups[index]["params"]
            anchors = [self._start[names[w]].to(w.device) for w in weights]
            self._anchored.append((index, decay, weights, anchors))
        logger.info(f"{len(self._start)} tensors are anchored to where the transfer started them.")

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """"""
        with torch.no_grad():
            for index, decay, weights, anchors in self._anchored:
                group = optimizer.param_groups[index]
                if not group.get("frozen", False):
                    imported("torch._foreach_lerp_")(weights, anchors, weight=float(group["lr"]) * decay)

    def state_dict(self) -> dict[str, Any]:
        """"""
        return {"start": dict(self._start)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """"""
        if self.state_key not in checkpoint["callbacks"]:
            raise ValueError(
                f"{str(trainer.ckpt_path)!r} was trained without an anchor and does not say where it started: leave "
                "nequip_elemtransfer.AnchorToStart out, or begin a new training."
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """"""
        self._start = dict(state_dict["start"])

    def _decays(self, optimizer: torch.optim.Optimizer) -> dict[int, float]:
        """The decay of each group that has one, by its index."""
        groups = optimizer.param_groups
        if isinstance(self._decay, Mapping):
            groups = groups_by_role(optimizer, "`decay` by role of nequip_elemtransfer.AnchorToStart")
            for role in self._decay:
                check_role(role, "decay", dict.fromkeys(group["role"] for group in groups))
        decays = {
            i: self._decay.get(group["role"], 0.0) if isinstance(self._decay, Mapping) else self._decay
            for i, group in enumerate(groups)
        }
        for i, decay in decays.items():
            if decay and "rank" in groups[i].keys():
                raise ValueError(
                    f"{groups[i]['name']} has low-rank updates, where nequip_elemtransfer.AnchorToStart has nothing to "
                    "do: give the role a `weight_decay`, which draws them to zero, and name other roles in `decay`."
                )
            if decay * groups[i]["lr"] > 1:
                raise ValueError(
                    f"`decay` {decay:g} times the learning rate {groups[i]['lr']:g} is above 1, which would throw the "
                    "weights past their start: make it smaller."
                )
        return {i: decay for i, decay in decays.items() if decay > 0}
