"""What ``nequip-elemtransfer plan`` says of a transfer of the study."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nequip_elemtransfer.study.run.training_configs import config_of


def plan_of(out: Path, run: str, source_data: str | None) -> dict[str, Any]:
    """What ``plan`` says, given the run's own training set, and as ``rescales`` whether the run has a length scale."""
    from nequip_elemtransfer.plan import PlanOptions, plan  # here, since other evaluations do without its libraries

    config = OmegaConf.load(config_of(out, run))
    key: Any = OmegaConf.to_container(config.element_transfer, resolve=True)
    options = PlanOptions(
        elements=key.get("elements", {}), chemical_species=key.get("chemical_species", {}), source_data=source_data
    )
    found = plan(key["source"], config.data.train_file_path, options)
    return {"rescales": key.get("length_scale") != "none", **found.to_dict()}


def source_of(out: Path, run: str) -> Path | None:
    """The source that a run starts from; None if its config does not say."""
    file = config_of(out, run)
    try:
        source = OmegaConf.select(OmegaConf.load(file), "element_transfer.source") if file.is_file() else None
    except OmegaConfBaseException:
        return None  # an interpolation that has no value here; the plan itself says so
    return None if source is None else Path(source)
