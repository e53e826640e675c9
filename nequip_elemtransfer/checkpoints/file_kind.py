"""What a file is that was given for a checkpoint and is none."""

import sys
from pathlib import Path

from torch.serialization import get_unsafe_globals_in_checkpoint

from nequip_elemtransfer.checkpoints import archive
from nequip_elemtransfer.output.refusal import shortened

_ADVICE = "give a .ckpt file written by `nequip-train`"

# extra files in TorchScript of NequIP 0.5 and 0.6, and of 0.7 and later
_DEPLOYED, _COMPILED = {"config", "nequip_version"}, {"r_max", "type_names"}
_OF_PACKAGE = "model/package_metadata.txt"
_MLIAP_CLASS = "NequIPLAMMPSMLIAPWrapper"

# packages whose objects are in files of any program
_EVERYWHERE = {"torch", "numpy", *sys.stdlib_module_names}


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
    except Exception:  # of many kinds, if it is malformed
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
