"""The structures of a NequIP ``data:`` section, checked as raw ones before any transform or neighbour list."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from hydra.utils import instantiate
from nequip.data import AtomicDataDict
from nequip.data.ase import from_ase
from nequip.data.datamodule import NequIPDataModule
from nequip.data.dataset import ASEDataset, AtomicDataset
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer.architecture.nequip_names import untransformed
from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.structures.checks import check_atoms, check_distances, check_frame
from nequip_elemtransfer.structures.frames import MAX_FRAMES, atom_types, edge_lengths, evenly_spaced
from nequip_elemtransfer.structures.named_files import require_named_files
from nequip_elemtransfer.structures.names import FIELDS, Names, UnclearLabels, entries, options_of, own_label_difference
from nequip_elemtransfer.structures.options import NO_LABEL, VIRIAL, DataOptions
from nequip_elemtransfer.structures.placeholders import frames_without_placeholders
from nequip_elemtransfer.structures.reading import raw_structures
from nequip_elemtransfer.structures.units import require_nequip_units

# of the data sets that are checked
_ROLE_NAMES = {"train": "training", "val": "validation", "test": "test", "predict": "prediction"}
_KIND_OF_FIELD: dict[str, LabelKind] = {FIELDS[kind]: kind for kind in LABEL_KINDS} | {FIELDS[VIRIAL]: "stress"}

# What a loss, or metrics, ask of the structures of a role: field -> whether NaN is left out of it
Asked = Mapping[str, Mapping[str, bool]]

logger = RankedLogger(__name__, rank_zero_only=True)


class CheckedDataset(ASEDataset):
    """NequIP's data set of a file that ASE reads, whose structures were checked and are read once.

    Args:
        file_path, transforms, ase_args, include_keys, exclude_keys, key_mapping: NequIP's
    """

    def __init__(self, file_path: str, transforms: Sequence[Any] = (), **arguments: Any) -> None:
        AtomicDataset.__init__(self, transforms=[*transforms])
        self.file_path = file_path
        keys = {name: arguments.get(name) for name in ("key_mapping", "include_keys", "exclude_keys")}
        structures = _READ.get()[_key({"file_path": file_path, **arguments})]
        self.data_list = [from_ase(atoms, **keys) for atoms in structures]


_CHECKED = f"{CheckedDataset.__module__}.{CheckedDataset.__qualname__}"


# What the data sets of a config are made from
_READ: ContextVar[dict[str, list[Atoms]]] = ContextVar("_READ")


def _key(section: Mapping[str, Any]) -> str:
    parts = {
        name: section.get(name) for name in ("file_path", "ase_args", "key_mapping", "include_keys", "exclude_keys")
    }
    return json.dumps({name: value for name, value in parts.items() if value}, sort_keys=True, default=str)


def training_frames(data: dict, type_names: Sequence[str], asked: Asked | None = None) -> list[AtomicDataDict.Type]:
    """The training frames of a NequIP ``data:`` section, evenly spaced if there are more than ``MAX_FRAMES``.

    The structures of all its files are checked, those for validation and test as well, and each file is read once.

    Args:
        data: the section with all interpolations resolved
        type_names: of the target model
        asked: what the loss and the metrics ask of the structures of each role

    Raises:
        FileNotFoundError: if a file is not there
        UnusableStructure: if a structure is damaged
        UnclearLabels: if labels that are asked for are not where NequIP looks, or there twice
        ValueError: if there are none, a species is not mapped, or a label that is asked for is nowhere
    """
    with _set_up(data, type_names, asked or {}) as datamodule:
        dataset = datamodule.train_dataset[0]
        frames = _frames(dataset, type_names, MAX_FRAMES)
    if not frames:
        raise ValueError("the training set of `data` is empty: the start of a transfer is fitted to its structures.")
    if len(dataset) > MAX_FRAMES:
        logger.info(f"The start is fitted on {MAX_FRAMES} of {len(dataset)} training frames, evenly spaced.")
    frames, said = frames_without_placeholders(frames)
    for sentence in said:
        logger.warning(
            f"{sentence} The training itself takes them as they are: `nequip-elemtransfer plan SOURCE FILE --out DIR` "
            "writes copies without them, and a train.yaml that reads those."
        )
    return frames


def trained_and_validated(
    data: dict, type_names: Sequence[str], limit: int
) -> tuple[list[AtomicDataDict.Type], list[AtomicDataDict.Type]]:
    """The training frames of a NequIP ``data:`` section, and the frames of all its validation sets.

    Args:
        data, type_names: as for :func:`training_frames`
        limit: at most so many of each set, evenly spaced

    Raises:
        FileNotFoundError, ValueError: as of :func:`training_frames`
    """
    with _set_up(data, type_names, {}) as datamodule:
        trained = _frames(datamodule.train_dataset[0], type_names, limit)
        sets = [_frames(dataset, type_names, limit) for dataset in datamodule.val_dataset]
    return trained, [frame for frames in sets for frame in frames]


@contextmanager
def _set_up(data: dict, type_names: Sequence[str], asked: Asked) -> Iterator[NequIPDataModule]:
    """The datamodule of a section with its sets, all of which were checked."""
    require_named_files(data)
    datamodule = instantiate(data, _recursive_=False)
    if not isinstance(datamodule, NequIPDataModule):
        raise ValueError(f"`data._target_` is {data.get('_target_')!r}, which is no NequIP datamodule.")
    datamodule.prepare_data()
    try:
        with checked_reading(datamodule, asked):
            datamodule.setup(stage="fit")
            if datamodule.test_dataset_config:
                datamodule.setup(stage="test")
        for role in ("train", "val", "test"):
            for i, dataset in enumerate(getattr(datamodule, f"{role}_dataset", ())):
                section = getattr(datamodule, f"{role}_dataset_config")[i]
                _check_dataset(_Part(role, dataset, _file_of(section), _batched(data, role)), type_names, asked)
        yield datamodule
    finally:
        datamodule.teardown(stage="fit")
        datamodule.teardown(stage="test")


def _frames(dataset: Any, type_names: Sequence[str], limit: int) -> list[AtomicDataDict.Type]:
    return [_frame(dataset, int(i), type_names) for i in evenly_spaced(len(dataset), limit)]


@contextmanager
def checked_reading(datamodule: NequIPDataModule, asked: Asked) -> Iterator[None]:
    """While it is open, data sets that NequIP reads through ASE are set up from files that are checked and read once.

    Raises:
        UnreadableFile, UnusableStructure, UnclearLabels: see :func:`training_frames`
    """
    kinds = {_KIND_OF_FIELD[field] for fields in asked.values() for field in fields if field in _KIND_OF_FIELD}
    useful = tuple(kind for kind in LABEL_KINDS if not asked or kind in kinds)
    found: dict[str, list[Atoms]] = {}
    for section in _ase_sections(datamodule):
        if _key(section) not in found:
            found[_key(section)] = _raw_file(section, useful)
    token = _READ.set(found)
    try:
        yield
    finally:
        _READ.reset(token)


def _ase_sections(datamodule: NequIPDataModule) -> list[dict[str, Any]]:
    """The sections of all data sets that NequIP reads through ASE, which are turned to :class:`CheckedDataset`."""
    found = []

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            if str(value.get("_target_")).endswith(".ASEDataset"):
                value["_target_"] = _CHECKED
                found.append(value)
            for inner in value.values():
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)

    for role in ("train", "val", "test"):
        visit(getattr(datamodule, f"{role}_dataset_config"))
    return found


def _raw_file(section: Mapping[str, Any], useful: Sequence[LabelKind]) -> list[Atoms]:
    spec, options = section["file_path"], options_of(section)
    structures = raw_structures(spec, section.get("ase_args"))
    included = dict.fromkeys(section.get("include_keys") or (), NO_LABEL)  # the config knows of these
    names = Names({**included, **options.key_mapping})
    labels = {kind: kind for kind in (*LABEL_KINDS, VIRIAL) if kind not in options.key_mapping}
    labels |= {name: kind for name, kind in options.key_mapping.items() if kind != NO_LABEL}
    for i, atoms in enumerate(structures):
        if options.key_mapping:
            _require_mapping_wins(i, atoms, spec, options)
        names.look(i, atoms)
        check_atoms(atoms, f"structure {i} of {spec!r}", labels)
    names.refuse(spec, useful)
    require_nequip_units(structures, labels, str(spec))
    for sentence in names.said(spec, LABEL_KINDS):
        logger.warning(sentence)
    return structures


def _require_mapping_wins(index: int, atoms: Atoms, spec: str, options: DataOptions) -> None:
    """Refuse a mapping that NequIP overwrites with a label of its own name in the same structure.

    Raises:
        UnclearLabels: with the entry to exclude
    """
    held = entries(atoms)
    for name, kind in options.key_mapping.items():
        own = next((label for label in LABEL_KINDS if label == kind), None)
        if own is None or own == name or own in options.key_mapping or not {own, name} <= held.keys():
            continue
        if own_label_difference(own, held[own], name, held[name], atoms) is not None:
            raise UnclearLabels(
                f"structure {index} of {spec!r} has {own} beside {name}, with other values, and NequIP writes it over "
                f"what `key_mapping` reads: add `exclude_keys: [{own}]`, or take {name} out of `key_mapping`."
            )


@dataclass(frozen=True)
class _Part:
    """A data set in its role.

    Args:
        role: of ``DATA_ROLES``
        dataset: as NequIP makes it
        file: the file that it is of; empty if it is of none
        batched: whether several structures come together
    """

    role: str
    dataset: torch.utils.data.Dataset
    file: str
    batched: bool

    @property
    def base(self) -> tuple[AtomicDataset, np.ndarray]:
        """The data set that it is a part of, and the indices of its structures there."""
        base, indices = self.dataset, np.arange(len(self.dataset))
        while isinstance(base, torch.utils.data.Subset):
            base, indices = base.dataset, np.asarray(base.indices)[indices]
        return base, indices

    @property
    def name(self) -> str:
        """What a message calls it."""
        return f"the {_ROLE_NAMES[self.role]} set" + (f" ({self.file!r})" if self.file else "")


def _file_of(section: Mapping[str, Any]) -> str:
    inner = section.get("dataset")
    return str(section.get("file_path") or (inner.get("file_path") if isinstance(inner, Mapping) else "") or "")


def _batched(data: Mapping[str, Any], role: str) -> bool:
    loader = data.get(f"{role}_dataloader")
    return isinstance(loader, Mapping) and loader.get("batch_size", 1) != 1


def _check_dataset(part: _Part, type_names: Sequence[str], asked: Asked) -> None:
    """Refuse structures that a training would only stumble over later."""
    base, indices = part.base
    if not isinstance(base, AtomicDataset):
        return
    if not isinstance(base, CheckedDataset):
        indices = indices[evenly_spaced(len(indices), MAX_FRAMES)]
    raw = {int(i): untransformed(base, int(i)) for i in indices}
    if not isinstance(base, CheckedDataset):
        for i, frame in raw.items():
            check_frame(frame, f"structure {i} of {part.name}")
    _require_elements(part, base, raw, type_names)
    if asked.get(part.role):
        _require_labels(part, base, raw, asked[part.role])


def _require_elements(
    part: _Part, base: AtomicDataset, raw: Mapping[int, AtomicDataDict.Type], type_names: Sequence[str]
) -> None:
    """Refuse an element that the model has no type for.

    Raises:
        ValueError: with the structure and the elements
    """
    mapper = next((t for t in base.transforms if isinstance(t, ChemicalSpeciesToAtomTypeMapper)), None)
    if mapper is None:
        return
    table = mapper.lookup_table.numpy()
    for i, frame in raw.items():
        numbers = frame[AtomicDataDict.ATOMIC_NUMBERS_KEY].numpy().reshape(-1)
        if (unknown := numbers[table[numbers] < 0]).size:
            there, lacking = (", ".join(chemical_symbols[z] for z in np.unique(n)) for n in (numbers, unknown))
            raise ValueError(
                f"{_ROLE_NAMES[part.role]} structure {i} holds {there}, not all of them in `elements` "
                f"({', '.join(type_names)}) and known to the data's ChemicalSpeciesToAtomTypeMapper: add {lacking} to "
                f"`elements`, or leave the structure out of {part.name}."
            )


def _require_labels(
    part: _Part, base: AtomicDataset, raw: Mapping[int, AtomicDataDict.Type], asked: Mapping[str, bool]
) -> None:
    """Refuse structures without a label that is asked for, and structures that go into no batch together.

    Transforms may add labels, so one structure of each set of names is looked at as they leave it.

    Raises:
        ValueError: with the label and the way to go on without it
    """
    groups: dict[frozenset[str], int] = {}
    for i, frame in raw.items():
        groups.setdefault(frozenset(frame), i)
    after = {i: base[i] for i in groups.values()}
    entry = "`training_module.loss`" if part.role == "train" else f"`training_module.{part.role}_metrics`"
    for field in asked:
        if after and not any(field in frame for frame in after.values()):
            what = _KIND_OF_FIELD.get(field, field)
            raise ValueError(
                f"{entry} asks for {_plural(what)}, which no structure of {part.name} has: label them, or take a loss "
                f"and metrics without {_plural(what)}."
            )
    lacking = {name for frame in after.values() for name in after[next(iter(after))].keys() ^ frame.keys()}
    if lacking and part.batched:
        raise ValueError(_sentence_of_uneven(part, sorted(lacking), after, asked))
    for field in (field for field, ignored in asked.items() if not ignored):
        frames = (*raw.items(), *after.items())
        nan = next((i for i, frame in frames if field in frame and bool(torch.isnan(frame[field]).any())), None)
        if nan is not None:
            what = _plural(_KIND_OF_FIELD.get(field, field))
            raise ValueError(
                f"structure {nan} of {part.name} lacks {what} (NaN), and {entry} would be NaN with it: set "
                f"`ignore_nan: true` for {what} there (`ignore_nan: {{{field}: true}}` in nequip.train's "
                "EnergyForceStressLoss and EnergyForceStressMetrics), or leave the structure out."
            )


def _sentence_of_uneven(
    part: _Part, lacking: Sequence[str], after: Mapping[int, AtomicDataDict.Type], asked: Mapping[str, bool]
) -> str:
    field = next((name for name in lacking if name in asked), lacking[0])
    without = next(i for i, frame in after.items() if field not in frame)
    has = next(i for i, frame in after.items() if field in frame)
    if field == AtomicDataDict.STRESS_KEY:
        way = (
            "add `nequip.data.transforms.AddNaNStressTransform` to the data's transforms, and `ignore_nan: {stress: "
            "true}` to the loss and the metrics"
        )
    elif field in _KIND_OF_FIELD:
        way = (
            "write nan where a label is missing (`nequip-elemtransfer plan --out` writes such copies), and set "
            "`ignore_nan: true` in the loss and the metrics"
        )
    else:
        way = f"leave it out, `exclude_keys: [{field}]`"
    return (
        f"structure {has} of {part.name} has {_KIND_OF_FIELD.get(field, field)} and structure {without} has none, and "
        f"NequIP makes no batches of both: {way}."
    )


def _plural(what: str) -> str:
    return {"energy": "energies", "stress": "stresses"}.get(what, what)


def _frame(dataset: torch.utils.data.Dataset, index: int, type_names: Sequence[str]) -> AtomicDataDict.Type:
    frame = dataset[index]
    if AtomicDataDict.ATOM_TYPE_KEY not in frame or atom_types([frame]).max() >= len(type_names):
        raise ValueError(
            f"training structure {index} has atom types outside the {len(type_names)} of `elements`: add a "
            "ChemicalSpeciesToAtomTypeMapper with `model_type_names: ${element_transfer:type_names}` to `data`."
        )
    check_frame(frame, f"training structure {index}")
    if AtomicDataDict.EDGE_INDEX_KEY in frame:
        check_distances(
            edge_lengths(frame), frame[AtomicDataDict.EDGE_INDEX_KEY].numpy(), f"training structure {index}"
        )
    return frame
