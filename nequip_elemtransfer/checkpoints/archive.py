"""Zip archives as PyTorch writes them: checkpoints, packages and deployed models. Is one whole?"""

import errno
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.output.refusal import first_line

# of zipfile for what it does not understand, an encrypted part among them, and of PyTorch's reader
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError)

_LONGEST_DESCRIPTION = 100_000_000  # bytes; of 89 types with all cutoffs and a transfer's report it is far below


class Damaged(Exception):
    """An archive that is not as it was written."""


def names_in(path: str | Path) -> list[str]:
    """The names in an archive's table of contents; nothing else is looked at.

    Raises:
        Damaged: if it has none that can be read
    """
    with _damage_is_named(), zipfile.ZipFile(path) as archive:
        return archive.namelist()


def read(path: str | Path, wanted: Callable[[str], bool]) -> tuple[list[str], dict[str, bytes]]:
    """The names in an archive and the contents of some, once all have the CRC-32 that the archive holds for them.

    Raises:
        Damaged: if that is not so, a name comes twice, a wanted part is absurdly long, or it is no archive
    """
    with _damage_is_named(), zipfile.ZipFile(path) as archive:
        _require_distinct_names(archive)
        if damaged := archive.testzip():
            raise Damaged(f"its part {damaged!r} fails its checksum")
        members = [info for info in archive.infolist() if wanted(info.filename)]
        for info in members:
            if info.file_size > _LONGEST_DESCRIPTION:
                raise Damaged(f"its part {info.filename!r} has {info.file_size / 1e6:.0f} MB")
        return archive.namelist(), {info.filename: archive.read(info) for info in members}


def check_as_pytorch_reads(path: str | Path) -> None:
    """Compare the CRC-32 of each member with its bytes as PyTorch finds them.

    PyTorch does not look at checksums, and finds a member by its own reading of the archive.

    Raises:
        Damaged: if one differs, is compressed, which ``torch.save`` never does, or is known to only one of the two
    """
    with _damage_is_named():
        with zipfile.ZipFile(path) as archive:
            _require_distinct_names(archive)
            members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        reader = imported("torch._C.PyTorchFileReader")(str(path))
        if set(reader.get_all_records()) != set(members):
            raise Damaged("its parts are not those of its table of contents")
        size = Path(path).stat().st_size
        for info in members.values():  # before any is read into memory
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
                raise Damaged(f"its part {info.filename!r} is not stored as it is")
        for name, info in members.items():
            if zlib.crc32(reader.get_record(name)) != info.CRC:
                raise Damaged(f"its part {info.filename!r} fails its checksum")


@contextmanager
def _damage_is_named() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise Damaged(first_line(error)) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a table of contents that points before the file's beginning
            raise
        raise Damaged("its table of contents does not belong to it") from error


def _require_distinct_names(archive: zipfile.ZipFile) -> None:
    name, count = max(Counter(archive.namelist()).items(), key=lambda item: item[1], default=("", 1))
    if count > 1:
        raise Damaged(f"it holds {name!r} {count} times")
