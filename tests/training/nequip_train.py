"""``nequip-train`` inside the test's own process, from a config and overrides as on its command line."""

from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from nequip.scripts._workflow_utils import set_workflow_state
from nequip.scripts.train import main
from omegaconf import OmegaConf, open_dict


def nequip_train(folder: Path, config: dict, *overrides: str) -> None:
    """Compose the config as Hydra does and run what ``nequip-train`` runs; outputs go to ``folder/out``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    try:
        with initialize_config_dir(str(folder), version_base=None):
            job = compose("config", list(overrides), return_hydra_config=True)
            with open_dict(job):
                job.hydra.runtime.output_dir = str(folder / "out")
            HydraConfig.instance().set_config(job)
            with open_dict(job):
                task = job.copy()
                del task["hydra"]
            main.__wrapped__(task)
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None
        set_workflow_state(None)
        OmegaConf.clear_resolver("training_data_stats")  # registered once for each training
