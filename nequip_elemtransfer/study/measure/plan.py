"""What ``nequip-elemtransfer plan`` says of a transfer of the study."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nequip_elemtransfer.study.run.training_configs import GROUP, PRIMARY


def plan_of(out: Path, run: str, source_data: str | None) -> dict[str, Any]:
    """What ``nequip-elemtransfer plan`` says of the transfer of a run, given the run's own training set, and as
    ``rescales`` whether the run has a length scale."""
    from nequip_elemtransfer.plan import plan  # here, since other evaluations do without its libraries

    config = OmegaConf.load(out / PRIMARY / GROUP / f"{run}.yaml")
    key = OmegaConf.to_container(config.element_transfer, resolve=True)
    found = plan(
        key["source"],
        config.data.train_file_path,
        elements=key.get("elements", {}),
        chemical_species=key.get("chemical_species", {}),
        source_data=source_data,
    )
    return {"rescales": key.get("length_scale") != "none", **found.to_dict()}
