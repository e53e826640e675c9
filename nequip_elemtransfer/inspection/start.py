"""The start of a transferred model, made again from its source and the record that the model carries."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nequip_elemtransfer.architecture.builders import set_energies
from nequip_elemtransfer.checkpoints.gate import sha256_of
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.checkpoints.stored_model import is_package
from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.mapping.element_map import RANDOM, ElementMap
from nequip_elemtransfer.output.refusal import RefusedFile
from nequip_elemtransfer.source import SourceModel, load_source
from nequip_elemtransfer.transfer.provenance import state_digest
from nequip_elemtransfer.transfer.target import TargetBuilder, with_energies


class NoStart(Exception):
    """The start cannot be made again; the message says why."""


def rebuilt_start(record: TransferRecord, source: Path | None = None) -> SourceModel:
    """The model as it was before any training, to the last bit: its weights have the digest that the record holds.

    Args:
        record: of the transfer
        source: where the source is now; by default the path in the record. A package is only read where it is named
            here, since that runs the code in it.

    Raises:
        NoStart: if the source is gone or another file, or what it gives is not the start
        ValueError: if ``source`` is another file
        FileNotFoundError, RefusedFile: if ``source`` cannot be read
    """
    path = _source_file(record, source)
    random = [target for target, start in record.elements.items() if start == RANDOM]
    if random:
        raise NoStart(f"{', '.join(random)} began with random rows, which are not in the record.")
    try:
        model = load_source(str(path), record.sha256)
    except RefusedFile as error:
        if source is not None:
            raise
        raise NoStart(str(error)) from error
    config = TransferConfig("", dict(record.elements), chemical_species=dict(record.chemical_species))
    element_map = ElementMap.from_elements(config.elements, model.type_names, config.species)
    target = TargetBuilder(model, element_map, "eager")
    types = list(record.elements)
    scaled = target.scaled_architecture(_by_type(record.length_scale.per_type, types))
    built, _ = target.build(scaled)
    scales = target.start_scales * _by_type(record.energy_scale.per_type, types)
    shifts = _by_type(record.energy_shifts.per_type, types)
    set_energies(built, scales, shifts)
    state = {name: tensor.detach().clone() for name, tensor in built.state_dict().items()}
    if state_digest(state) != record.weights:
        raise NoStart(
            f"{path} gives other weights than the start had: another version of NequIP or of this package made it."
        )
    return SourceModel("the start", record.weights, with_energies(scaled, scales, shifts), state)


def _source_file(record: TransferRecord, given: Path | None) -> Path:
    path = given or Path(record.source)
    if given is None and not path.exists():
        raise NoStart(f"its source {path} is not there (any more): `--source FILE` says where it is now.")
    if path.is_file() and (found := sha256_of(path)) != record.sha256:
        other = (
            f"{path} is not the source of this model: its SHA-256 is {found[:12]}…, the record's {record.sha256[:12]}…"
        )
        if given is None:
            raise NoStart(f"{other}. `--source FILE` says where the source is now.")
        raise ValueError(f"--source: {other}.")
    if given is None and is_package(path):
        raise NoStart(f"its source {path} is a package, whose code would run: `--source {path}` allows that.")
    return path


def _by_type(values: Mapping[str, Any], types: list[str]) -> np.ndarray:
    return np.array([values[t] for t in types])
