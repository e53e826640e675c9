"""The tensors and extra files of a TorchScript archive, without running its code.

An archive is a ZIP file: a pickle of the module tree in ``data.pkl``, tensors in ``data/``, code in ``code/``, and what
its maker added in ``extra/``. PyTorch's own inert reader of that pickle makes a placeholder of every object and imports
nothing that the file names.
"""

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.show_pickle import DumpUnpickler, FakeClass, FakeObject

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
