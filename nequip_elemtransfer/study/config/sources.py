"""Several independently trained sources of one study, each of which the transfers start from."""

from collections.abc import Mapping, Sequence
from typing import Any

from nequip_elemtransfer.study.config.entries import hydra_overrides, named, text
from nequip_elemtransfer.study.config.starts import Arm

Sources = Mapping[str, str | tuple[str, ...]]


def read_sources(value: Any, source: Any, *, trained: bool, arms: Sequence[Arm]) -> Sources:
    """The entry ``sources``.

    Args:
        value: of the entry; None for the one source of the entry ``source``
        source: the entry ``source``
        trained: whether that is a config that the study trains
        arms: the starts

    Returns:
        name -> a trained model, or Hydra overrides of the config that trains it; empty if the entry is not given

    Raises:
        ValueError: a sentence on what is wrong
    """
    if value is None:
        return {}
    if source is not None and not trained:
        raise ValueError(
            f"`source` names one trained model, {source!r}, and `sources` several: leave `source` out, or let it name "
            "the config that trains them."
        )
    if not any(arm.needs_source for arm in arms):
        raise ValueError("`sources` are given, but no start has a source: all begin with random weights.")
    return named("sources", value, hydra_overrides if trained else _trained_model)


def _trained_model(key: str, value: Any) -> str:
    if isinstance(value, list):
        raise ValueError(f"`{key}` lists overrides of a training, for which `source` must name its config.")
    return text(key, value)
