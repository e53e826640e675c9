"""The structures a source was trained on, where they can be found."""

from pathlib import Path

from ase import Atoms
from nequip.model.saved_models.load_utils import _get_model_file_path

from nequip_elemtransfer.plan.structures import read_structures
from nequip_elemtransfer.source import read_checkpoint


def source_structures(source: str, given: str | Path | None) -> tuple[list[Atoms], str]:
    """Structures the source was trained on, and where they are from.

    Args:
        source: as given to :func:`nequip_elemtransfer.source.load_source`
        given: a file of them; else the training file that a checkpoint names, if it is still there

    Returns:
        an empty list and the reason if there are none

    Raises:
        FileNotFoundError, ValueError: if ``given`` cannot be read
    """
    if given is not None:
        return read_structures(given), str(given)
    with _get_model_file_path(source) as file:
        if str(file).endswith(".nequip.zip"):
            return [], "a package holds no training structures; give --source-data FILE"
        info = read_checkpoint(file)["hyper_parameters"].get("info_dict") or {}
    named = (info.get("data") or {}).get("train_file_path")
    if isinstance(named, str) and Path(named).is_file():
        return read_structures(named), f"{named}, which the checkpoint names"
    return [], f"the source's training file {named!r} is not there; give --source-data FILE"
