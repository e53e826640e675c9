"""Does a ``.nequip.pt2`` file ask for an executable stack, which newer Linux systems do not give?

Its model is a shared object, whose program header ``GNU_STACK`` holds what rights its stack shall have. PyTorch links
its constants in such a way that these include execution.
"""

import struct
import zipfile
from pathlib import Path

GLIBC_ADVICE = (
    "asks for an executable stack, as PyTorch's compiler leaves it, and glibc from 2.41 on refuses to load such files "
    "('cannot enable executable stack'): set GLIBC_TUNABLES=glibc.rtld.execstack=2 in the environment of what loads it"
)

# of elf(5): a 64-bit, little-endian file, a program header's type, and the bit of its flags that allows execution
_ELF64, _GNU_STACK, _EXECUTE = b"\x7fELF\x02\x01", 0x6474E551, 1

# program headers come first in a file
_LONGEST_HEAD = 1_000_000


def asks_for_executable_stack(path: Path) -> bool:
    """Whether a shared object in an archive asks for an executable stack, by its own flags; nothing of it is run."""
    with zipfile.ZipFile(path) as archive:
        return any(_is_executable(archive.open(name).read(_LONGEST_HEAD)) for name in _libraries(archive))


def _libraries(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".so")]


def _is_executable(head: bytes) -> bool:
    if not head.startswith(_ELF64):
        return False
    try:
        (start,), (size, count) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        headers = [struct.unpack_from("<II", head, start + i * size) for i in range(count)]
    except struct.error:  # cut short; what loads it says so
        return False
    # where an object has no such header, the loader allows execution
    flags = [flag for kind, flag in headers if kind == _GNU_STACK] or [_EXECUTE]
    return bool(flags[0] & _EXECUTE)
