"""What NequIP 0.5 and 0.6 wrote, read as tensors and plain data.

Of a deployed file, a TorchScript archive, tensors and extra files are read without running its code. An archive is a
ZIP file: a pickle of the module tree in ``data.pkl``, tensors in ``data/``, code in ``code/``, and what
its maker added in ``extra/``. PyTorch's own inert reader of that pickle makes a placeholder of every object and imports
nothing that the file names.
"""

import io
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.show_pickle import DumpUnpickler, FakeClass, FakeObject

from nequip_elemtransfer.checkpoints.gate import extra_files

CONFIG, WEIGHTS = "config.yaml", "best_model.pth"
TRAIN_AGAIN = "Train it again with a current NequIP."

# From 0.5.2, whose defaults are those of 0.5.6, to the last release before the models of today
_FIRST, _END = (0, 5, 2), (0, 7)
# the first e3nn with the normalisations of today
_FIRST_E3NN = (0, 4)

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
# what a ZIP file, the pickle in it, or the tensors it describes may be wrong with
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
)


@dataclass(frozen=True)
class OldModel:
    """A model of NequIP 0.5 or 0.6, as it was stored.

    Args:
        path: as given
        version: of NequIP, such as ``(0, 5, 6)``
        config: of its training; what is no plain data is an :class:`Unread`
        state: parameters and buffers by name
        e3nn_version: of the e3nn it was trained with; empty where it is not said
    """

    path: str
    version: tuple[int, ...]
    config: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    e3nn_version: tuple[int, ...] = ()


@dataclass(frozen=True)
class Unread:
    """A value in a configuration that only code could make, such as a tensor.

    Args:
        tag: what YAML calls it
    """

    tag: str


def is_old_model(path: str | Path) -> bool:
    """Whether a path is a training folder or a deployed file of NequIP 0.6 or older."""
    if os.path.isdir(path):
        return (Path(path) / WEIGHTS).is_file()
    return os.path.isfile(path) and "config" in (extra_files(path) or ())  # which today's compiled models do not hold


def weights_file(path: str | Path) -> Path:
    """The file that holds the weights.

    Raises:
        FileNotFoundError: if a training folder does not hold both of its files
    """
    path = Path(path)
    if not path.is_dir():
        return path
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"source {str(path)!r} is a folder without {name}: a training folder of NequIP 0.5 or 0.6 holds "
                f"{CONFIG} and {WEIGHTS}."
            )
    return path / WEIGHTS


def read_old_model(path: str | Path) -> OldModel:
    """Read a training folder or a file that ``nequip-deploy build`` of NequIP 0.5 or 0.6 made.

    Nothing that the files name is imported, and no code in them is run.

    Raises:
        FileNotFoundError: if there is no such folder or file
        ValueError: if it cannot be read, or another version of NequIP made it
    """
    file = weights_file(path)
    if Path(path).is_dir():
        config, state = _config((Path(path) / CONFIG).read_text(encoding="utf-8"), path), _state(file)
    else:
        archive = read_archive(file)
        config, state = _config(archive.extra["config"], path), archive.state
        config.setdefault("nequip_version", archive.extra.get("nequip_version", ""))
    return OldModel(str(path), _version(config, path), config, state, _e3nn_version(config, path))


def old_training_file(path: str | Path) -> str | None:
    """The file of structures that a model names in its configuration; None where it names none.

    Raises:
        FileNotFoundError, ValueError: as :func:`read_old_model`
    """
    named = read_old_model(path).config.get("dataset_file_name")
    return named if isinstance(named, str) else None


def _plain_sequence(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


class _PlainLoader(yaml.SafeLoader):
    """Plain data; a tuple is a list, and what only code could make is not read."""


_PlainLoader.add_constructor("tag:yaml.org,2002:python/tuple", _plain_sequence)
_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, tag, node: Unread(f"python/{tag}"))


def _config(text: str, path: str | Path) -> dict[str, Any]:
    try:
        config = yaml.load(text, Loader=_PlainLoader)  # noqa: S506, as safe as SafeLoader
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"the configuration of source {str(path)!r} is not plain data ({problem}).") from error
    if not isinstance(config, dict):
        raise ValueError(f"the configuration of source {str(path)!r} is no mapping of options to values.")
    return config


def _state(file: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{str(file)!r} holds more than tensors, and nothing else is unpickled.") from error
    except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{str(file)!r} is truncated or no file of weights ({type(error).__name__}).") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{str(file)!r} is no file of weights by name, as NequIP 0.5 and 0.6 wrote them.")
    return state


def _version(config: Mapping[str, Any], path: str | Path) -> tuple[int, ...]:
    version = _numbers(config.get("nequip_version"))
    if not _FIRST <= version < _END:
        raise ValueError(
            f"source {str(path)!r} is of NequIP {config.get('nequip_version') or '(not said)'}: models of 0.5.2 to 0.6 "
            f"are read. {TRAIN_AGAIN}"
        )
    return version


def _e3nn_version(config: Mapping[str, Any], path: str | Path) -> tuple[int, ...]:
    version = _numbers(config.get("e3nn_version"))
    if version and version < _FIRST_E3NN:
        raise ValueError(
            f"source {str(path)!r} was made with e3nn {config['e3nn_version']}, which normalised paths in another way: "
            f"models made with e3nn 0.4 or newer are read. {TRAIN_AGAIN}"
        )
    return version


def _numbers(version: Any) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", str(version or ""))
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def energy_network(old: OldModel) -> dict[str, torch.Tensor]:
    """The state without the names of the modules around the energy network.

    ``model.func.layer0_convnet.conv.sc.weight`` becomes ``layer0_convnet.conv.sc.weight``, and ``model.scale_by``
    becomes ``scale_by``.

    Raises:
        ValueError: if there is no such network, or more than one rescaling around it
    """
    mark = "chemical_embedding.linear.weight"
    starts = [name.removesuffix(mark) for name in old.state if name.endswith(mark)]
    if len(starts) != 1:
        raise ValueError(
            f"source {old.path!r} holds no tensor {mark!r}: either it is no message-passing model of NequIP, or its "
            "weights were frozen into the code of a TorchScript file. Give the training folder, or train again."
        )
    start, found = starts[0], {}
    for name, tensor in old.state.items():
        short = name.removeprefix(start) if name.startswith(start) else re.sub(r"^(model\.)+", "", name)
        if short in found:
            raise ValueError(f"source {old.path!r} holds two of {short!r}: one global rescaling is read, not several.")
        found[short] = tensor
    return found


@dataclass(frozen=True)
class Archive:
    """A TorchScript file, opened and read.

    Args:
        extra: extra files by name, such as ``config``
        state: tensors of the module tree by the dotted names of ``state_dict``
    """

    extra: dict[str, str]
    state: dict[str, torch.Tensor]


def read_archive(path: Path) -> Archive:
    """Read the extra files and tensors of a TorchScript file.

    Raises:
        ValueError: if it cannot be read
    """
    try:
        with zipfile.ZipFile(path) as file:
            root = file.namelist()[0].partition("/")[0]
            start = f"{root}/extra/"
            extra = {n[len(start) :]: file.read(n).decode() for n in file.namelist() if n.startswith(start)}
            tree = DumpUnpickler(io.BytesIO(file.read(f"{root}/data.pkl"))).load()
            state = {name: _tensor(value, file, root) for name, value in _tensors(tree, "")}
    except _DAMAGED as error:
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"{str(path)!r} is damaged or no TorchScript file ({problem}).") from error
    return Archive(extra, state)


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, FakeObject]]:
    """Attributes that are tensors, in the module and the modules inside it."""
    if not (isinstance(module, FakeObject) and isinstance(module.state, dict)):
        return
    for name, value in module.state.items():
        if not isinstance(value, FakeObject):
            continue
        if (value.module, value.name) == ("torch._utils", "_rebuild_tensor_v2"):
            yield f"{prefix}{name}", value
        else:
            yield from _tensors(value, f"{prefix}{name}.")


def _tensor(rebuild: FakeObject, file: zipfile.ZipFile, root: str) -> torch.Tensor:
    """The tensor that ``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`` stands for."""
    storage, offset, size, stride = rebuild.args[:4]
    kind, dtype_class, key, _, numel = storage.args[0]
    if kind != "storage" or not isinstance(dtype_class, FakeClass):
        raise ValueError(f"a tensor is stored as {kind!r}")
    dtype = _DTYPES[dtype_class.name]
    if numel == 0:
        return torch.empty(size, dtype=dtype)
    values = torch.frombuffer(bytearray(file.read(f"{root}/data/{key}")), dtype=dtype)
    return values.as_strided(size, stride, offset).clone()  # PyTorch refuses what lies outside of the values
