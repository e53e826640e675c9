"""The structures a source was trained on, where they can be found."""

from pathlib import Path

from ase import Atoms

from nequip_elemtransfer.source import training_file
from nequip_elemtransfer.structures.checks import UnusableStructure
from nequip_elemtransfer.structures.files import UnreadableFile, read_structures


def source_structures(source: str, given: str | Path | None) -> tuple[list[Atoms], str]:
    """Structures the source was trained on, and where they are from.

    Args:
        source: as given to :func:`nequip_elemtransfer.source.load_source`
        given: a file of them; else the training file that a checkpoint names, if it is still there

    Returns:
        an empty list and the reason if there are none

    Raises:
        FileNotFoundError, UnreadableFile, UnusableStructure: if ``given`` cannot be read or used
    """
    if given is not None:
        return read_structures(given), str(given)
    named = training_file(source)
    if named is None:
        return [], "the source names no file of training structures; give --source-data FILE"
    if not Path(named).is_file():
        return [], f"the source's training file {named!r} is not there; give --source-data FILE"
    try:
        return read_structures(named), f"{named}, which the checkpoint names"
    except (UnreadableFile, UnusableStructure) as error:  # nobody asked for that file, so it stops nothing
        return [], f"{error} Give --source-data FILE"
