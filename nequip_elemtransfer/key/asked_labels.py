"""Which labels the loss and the metrics of a config ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from nequip.train import MetricsManager

# entry of a training module -> role of the structures that it asks something of
METRICS = {"loss": "train", "train_metrics": "train", "val_metrics": "val", "test_metrics": "test"}


def asked_labels(module: Mapping[str, Any], type_names: Sequence[str]) -> dict[str, dict[str, bool]]:
    """For each role, the fields that are asked of its structures, and whether NaN is left out of each.

    Args:
        module: the section ``training_module``, plain; a loss that cannot be made is left to NequIP's own words
        type_names: of the model
    """
    found: dict[str, dict[str, bool]] = {}
    for entry, role in METRICS.items():
        if not isinstance(module.get(entry), Mapping):
            continue
        try:
            manager = instantiate(module[entry], type_names=list(type_names))
        except InstantiationException:
            continue
        fields = found.setdefault(role, {})
        for metric in manager.entries.values() if isinstance(manager, MetricsManager) else ():
            name = getattr(metric.field, "field", None)
            if isinstance(name, str):
                ignored = metric.ignore_nan or metric.coeff is None
                fields[name] = ignored and fields.get(name, True)
    return found
