"""``Stages``, which unfreezes roles or changes their factors while a model is trained."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from nequip.utils.logger import RankedLogger
from torch.optim.lr_scheduler import LRScheduler

from nequip_elemtransfer.train.groups import describe_groups, groups_by_role, set_frozen
from nequip_elemtransfer.train.roles import Place, RoleSetting, parse_settings, plain_settings

logger = RankedLogger(__name__, rank_zero_only=True)


class Stages(Callback):
    """Change the settings of roles at given steps.

    .. code-block:: yaml

        callbacks:
          - _target_: nequip_elemtransfer.Stages
            stages:
              200: {interactions: 0.3}                        # unfreezes them if they were frozen
              400: {interactions: 1.0, type_rows: frozen}

    Settings are those of :func:`nequip_elemtransfer.ParameterGroups`, which the optimizer needs. A role that a stage
    does not name stays as it is. Learning-rate schedulers go on as they were, with the new factor. Which stages were
    passed is saved in the checkpoint, and the settings with the optimizer's state.

    Args:
        stages: optimizer steps done -> settings by role

    Raises:
        ValueError: for a step that is no number of steps; when training starts, for bad settings, or if a stage would
            freeze everything or does not agree with what the checkpoint has passed
    """

    def __init__(self, stages: Mapping[int, Mapping[str, Any]]) -> None:
        self._stages = _by_step(plain_settings(stages))
        self._settings: dict[int, dict[str, RoleSetting]] = {}
        self._passed: dict[int, Mapping[str, Any]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        groups = groups_by_role(trainer.optimizers[0], "nequip_elemtransfer.Stages")
        places = [Place(group["role"], group["layer"]) for group in groups]
        self._settings = {step: parse_settings(s, f"stages.{step}", places) for step, s in self._stages.items()}
        self._check_passed(trainer.global_step)
        self._refuse_all_frozen(groups)
        for group in groups:  # on a restart it comes with the optimizer's state
            set_frozen(group, group["frozen"])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """"""
        step = trainer.global_step
        if step not in self._settings or step in self._passed:
            return
        groups = trainer.optimizers[0].param_groups
        n_layers = len({group["layer"] for group in groups} - {None})
        for index, group in enumerate(groups):
            if group["role"] in self._settings[step]:
                _set(trainer, index, self._settings[step][group["role"]], n_layers)
        self._passed[step] = self._stages[step]
        logger.info(f"Stage at step {step}: {self._stages[step]}\n\n{describe_groups(groups)}\n")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """"""
        missed = sorted(set(self._stages) - set(self._passed))
        if missed:
            logger.warning(
                f"Training ended after {trainer.global_step} steps, before the stages at {', '.join(map(str, missed))}."
            )

    def state_dict(self) -> dict[str, Any]:
        """"""
        return {"passed": dict(self._passed)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """"""
        self._passed = dict(state_dict["passed"])

    def _check_passed(self, step: int) -> None:
        due = {s: self._stages[s] for s in self._stages if s < step}
        before = {s: settings for s, settings in self._passed.items() if s < step}
        if due != before:
            raise ValueError(
                f"up to step {step} the checkpoint has passed the stages {before}, and the config has {due}: a restart "
                "may change later stages only."
            )

    def _refuse_all_frozen(self, groups: list[dict[str, Any]]) -> None:
        frozen = {Place(group["role"], group["layer"]): group["frozen"] for group in groups}
        n_layers = len({place.layer for place in frozen} - {None})
        for step in sorted(set(self._settings) - set(self._passed)):
            for place in frozen:
                factor = self._settings[step].get(place.role, RoleSetting()).lr_factor(place.layer, n_layers)
                frozen[place] = frozen[place] if factor is None else factor == 0
            if all(frozen.values()):
                raise ValueError(
                    f"`stages.{step}` leaves every parameter frozen: leave at least one role to be trained."
                )


def _by_step(stages: Any) -> dict[int, Mapping[str, Any]]:
    if not isinstance(stages, Mapping) or not stages:
        raise ValueError(f"`stages` must map steps to settings, as in `{{200: {{readout: 1.0}}}}`, found {stages!r}.")
    for step in stages:
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ValueError(
                f"`stages` has {step!r} where a number of optimizer steps is expected: a whole number from 0."
            )
    return dict(sorted(stages.items()))


def _set(trainer: Trainer, index: int, setting: RoleSetting, n_layers: int) -> None:
    """Apply a setting to one of the optimizer's groups."""
    group = trainer.optimizers[0].param_groups[index]
    factor = setting.lr_factor(group["layer"], n_layers)
    if factor:
        _scale_learning_rate(trainer, index, factor / group["lr_factor"])
        group["lr_factor"] = factor
    if factor is not None:
        set_frozen(group, factor == 0)
    if setting.weight_decay is not None:
        group["weight_decay"] = setting.weight_decay


def _scale_learning_rate(trainer: Trainer, index: int, ratio: float) -> None:
    """Multiply a group's learning rate, and what schedulers know of it."""
    group = trainer.optimizers[0].param_groups[index]
    for name in ("lr", "initial_lr", "max_lr", "min_lr"):
        if name in group.keys():
            group[name] *= ratio
    for config in trainer.lr_scheduler_configs:
        for scheduler in _nested(config.scheduler):
            if isinstance(scheduler, LRScheduler) and hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs[index] *= ratio


def _nested(scheduler: Any) -> Iterator[Any]:
    """A scheduler and those inside it."""
    yield scheduler
    for inner in getattr(scheduler, "_schedulers", ()):
        yield from _nested(inner)
