"""A source looked at before it is used: ``inspect SOURCE --data FILE --crystal diamond:Si:5.43``."""

from collections.abc import Mapping
from pathlib import Path

from nequip_elemtransfer.materials.crystal import parse_crystal
from nequip_elemtransfer.plan.source_check.check import check_source
from nequip_elemtransfer.plan.source_check.crystal import check_references
from nequip_elemtransfer.plan.source_check.text import source_text
from nequip_elemtransfer.source import SourceModel, load_source
from nequip_elemtransfer.structures.files import read_structures


def inspection(
    source: str, data: str | Path | None, crystal: str | None, references: Mapping[str, float]
) -> tuple[str, SourceModel]:
    """What a source gets wrong, as text, and the source.

    Args:
        source: as for :func:`nequip_elemtransfer.source.load_source`
        data: labelled structures of the source's elements
        crystal: as ``diamond:Si:5.43``
        references: name -> value of properties of the crystal

    Raises:
        FileNotFoundError: if a file is missing
        ValueError: if they do not go together
    """
    named = None if crystal is None else parse_crystal(crystal)
    check_references(references, named)
    structures = [] if data is None else read_structures(data)
    model = load_source(source)
    check = check_source(model, model.type_names, structures, named, references)
    if check is None:
        return "", model
    warnings = [f"Warning: {fault.sentence}." for fault in check.faults]
    return "\n\n".join([source_text(check), *warnings]), model
