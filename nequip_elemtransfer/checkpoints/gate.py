"""Checkpoints of ``nequip-train``, read as data: the gate before every loader, which also says what else a file is."""

import hashlib
import pickle
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from nequip_elemtransfer.checkpoints import archive
from nequip_elemtransfer.checkpoints.archive import Damaged, check_as_pytorch_reads
from nequip_elemtransfer.checkpoints.named_calls import unlike_a_record
from nequip_elemtransfer.output.paths import existing_file
from nequip_elemtransfer.output.refusal import RefusedFile, first_line, shortened

_ADVICE = "give a .ckpt file written by `nequip-train`"

# what PyTorch meets in a pickle that no `torch.save` writes
_UNREADABLE = (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError, OSError)

# what a section must be where there is one
_SECTIONS = {
    "callbacks": Mapping,
    "global_step": int,
    "hyper_parameters.info_dict": Mapping,
    "hyper_parameters.info_dict.data": Mapping,
    "hyper_parameters.info_dict.training_module": Mapping,
}

# extra files in TorchScript of NequIP 0.5 and 0.6, and of 0.7 and later
_DEPLOYED, _COMPILED = {"config", "nequip_version"}, {"r_max", "type_names"}
_OF_PACKAGE = "model/package_metadata.txt"
_MLIAP_CLASS = "NequIPLAMMPSMLIAPWrapper"

# packages whose objects are in files of any program
_EVERYWHERE = {"torch", "numpy", *sys.stdlib_module_names}


def read_checkpoint(path: str | Path, what: str = "source") -> dict[str, Any]:
    """The contents of a NequIP checkpoint, tensors on the CPU.

    Its checksums are compared, it is unpickled with ``weights_only``, and what it holds must be the plain record of a
    training (:func:`.named_calls.unlike_a_record`). Every command reads a checkpoint here before anything else.

    Args:
        what: the file is to who gave it: the ``source`` of a transfer, a ``model`` to deploy, a ``checkpoint`` to go on
            from; for messages

    Raises:
        FileNotFoundError: if there is no such file
        RefusedFile: if it is not a checkpoint of ``nequip-train``, damaged or hostile
    """
    file = existing_file(path, what)
    if file.stat().st_size == 0:
        raise RefusedFile(f"{what} {str(path)!r} is empty: {_ADVICE}.")
    if other := other_kind(file):
        raise RefusedFile(f"{what} {str(path)!r} is {other}.")
    checkpoint = _unpickled(file, path, what)
    sections = ("state_dict", "hyper_parameters")
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(name), Mapping) for name in sections):
        raise RefusedFile(f"{what} {str(path)!r} is a PyTorch file but not a checkpoint of NequIP: {_ADVICE}.")
    if found := unlike_a_record(checkpoint):
        raise RefusedFile(f"{what} {str(path)!r} {found}.")
    _check_sections(checkpoint, path, what)
    return checkpoint


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _unpickled(file: Path, path: str | Path, what: str) -> Any:
    try:
        check_as_pytorch_reads(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Damaged as error:
        raise RefusedFile(
            f"{what} {str(path)!r} is damaged, truncated or not a checkpoint: {_ADVICE}, or copy it again. ({error})"
        ) from error
    except pickle.UnpicklingError as error:
        raise RefusedFile(f"{what} {str(path)!r} is {pickled(file)}.") from error
    except _UNREADABLE as error:
        raise RefusedFile(
            f"{what} {str(path)!r} is truncated or not a checkpoint: {_ADVICE}. ({first_line(error)})"
        ) from error


def _check_sections(checkpoint: Mapping, path: str | Path, what: str) -> None:
    for place, kind in _SECTIONS.items():
        section: Any = checkpoint
        for name in place.split("."):
            section = section.get(name)
            if section is None:
                break
        if section is not None and not isinstance(section, kind):
            raise RefusedFile(
                f"{what} {str(path)!r} holds {shortened(section)} as its `{place}`, which no checkpoint of NequIP "
                f"does: {_ADVICE}."
            )
    for name, tensor in checkpoint["state_dict"].items():
        if not isinstance(name, str) or not (name.endswith("._extra_state") or _is_plain(tensor)):
            raise RefusedFile(
                f"{what} {str(path)!r} holds something other than a tensor of plain numbers as the weight "
                f"{shortened(name)}: {_ADVICE}."
            )


def _is_plain(tensor: Any) -> bool:
    return (
        isinstance(tensor, torch.Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_complex()
    )


def other_kind(path: Path) -> str | None:
    """What a file is, as the end of a sentence with what to give instead; None if it may be a checkpoint.

    Only its first byte and the names in its table of contents are looked at.
    """
    with open(path, "rb") as file:
        if file.read(1) == b"\x80":
            return (
                f"a pickle and not a checkpoint of NequIP, and nothing but tensors and numbers is unpickled: {_ADVICE}"
            )
    try:
        names = archive.names_in(path)
    except archive.Damaged:
        return None  # whoever reads it says why
    extra = extra_files(path)
    if extra is not None:
        return _torchscript(extra)
    if any("/aotinductor/" in name for name in names):
        return _compiled("AOTInductor")
    if any(name.partition("/")[2] == _OF_PACKAGE for name in names):
        named = path.name.endswith(".nequip.zip")
        return "a package" + (f" and not a checkpoint: {_ADVICE}" if named else ": its name must end in .nequip.zip")
    return None


def extra_files(path: str | Path) -> set[str] | None:
    """Names of the extra files of a TorchScript file; None of any other file."""
    try:
        names = [name.partition("/")[2] for name in archive.names_in(path)]
    except archive.Damaged:  # or no archive at all; whoever reads it as what it should be says so
        return None
    if "data.pkl" not in names or not any(name.startswith("code/") for name in names):
        return None  # PyTorch's other files have no code
    return {name.removeprefix("extra/") for name in names if name.startswith("extra/")}


def pickled(path: Path) -> str:
    """What a file of ``torch.save`` is that holds more than tensors and numbers, as the end of a sentence.

    Its objects are named and not made.
    """
    try:
        objects = sorted(get_unsafe_globals_in_checkpoint(path))
    except (*_UNREADABLE, pickle.UnpicklingError, struct.error):  # malformed, which is not what is asked here
        objects = []
    if any(name.endswith(f".{_MLIAP_CLASS}") for name in objects):
        return _compiled("ML-IAP")
    telling = [name for name in objects if name.split(".")[0] not in _EVERYWHERE] or objects
    such = f" such as {shortened(telling[0])}" if telling else ""
    return (
        f"no checkpoint of NequIP: it cannot be read as plain tensors and numbers but holds other objects{such}, and "
        f"nothing else is unpickled. {_ADVICE.capitalize()}"
    )


def _torchscript(extra: set[str]) -> str:
    if extra >= _DEPLOYED:
        return (
            "a deployed model of NequIP 0.5 or 0.6, which this does not read: `nequip-elemtransfer import` writes it "
            "as a checkpoint"
        )
    return _compiled("TorchScript") if extra >= _COMPILED else f"TorchScript and no model of NequIP: {_ADVICE}"


def _compiled(kind: str) -> str:
    return (
        f"a compiled model ({kind}), which holds no architecture to start from: give the checkpoint or the package "
        "that it was compiled from"
    )
