"""Sets of DFT structures that others have published: fetched, checked, read and written in parts.

The files are JSON lists of entries with a pymatgen structure and the results of VASP. They come from a fixed commit of
a GitHub repository or from a local copy, and have to be the published ones to the last bit.
"""

import gzip
import hashlib
import http.client
import json
import urllib.request
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.data.split import DEFAULT_DIVISION, Division, Stratum, write_files
from nequip_elemtransfer.output.atomic import require_folder

KBAR = 0.1 * ase.units.GPa  # eV/Å³
# VASP: xx yy zz xy yz zx; ASE: xx yy zz yz xz xy
TO_ASE_VOIGT = [0, 1, 2, 4, 5, 3]


@dataclass(frozen=True)
class PublishedFiles:
    """Files of one commit of a repository.

    Args:
        base_url: folder of the files, without the last slash.
        sha256: of each file, uncompressed, by its name under ``base_url``.
        folder: what a local copy has to hold, in words.
    """

    base_url: str
    sha256: Mapping[str, str]
    folder: str

    def entries(self, name: str, folder: Path | None = None) -> list[dict[str, Any]]:
        """The entries of one file.

        Args:
            name: a key of ``sha256``.
            folder: local copy, which may be compressed (``name`` with ``.gz`` behind it); None downloads.

        Raises:
            ValueError: another SHA-256 than the published one, or a damaged ``.gz``.
            FileNotFoundError: ``folder`` lacks the file.
            ConnectionError: the download failed.
        """
        content = self._download(name) if folder is None else self._read(folder, name)
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256[name]:
            raise ValueError(f"{name} is not the published file: expected SHA-256 {self.sha256[name]}, found {found}")
        return json.loads(content)

    def has(self, name: str, folder: Path | None = None) -> bool:
        """Whether there is such a file: every published one can be downloaded, a folder may lack it."""
        return folder is None or any(path.is_file() for path in _places(folder, name))

    def _download(self, name: str) -> bytes:
        url = f"{self.base_url}/{name}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return response.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ConnectionError(
                f"{url} could not be downloaded ({reason}); get it elsewhere and pass --from DIR"
            ) from error

    def _read(self, folder: Path, name: str) -> bytes:
        plain, compressed = _places(folder, name)
        if plain.is_file():
            return plain.read_bytes()
        if not compressed.is_file():
            raise FileNotFoundError(f"{plain} does not exist; --from needs a folder with {self.folder}")
        try:
            return gzip.decompress(compressed.read_bytes())
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{compressed} cannot be decompressed ({error}); get it again") from error


def checksums(name: str) -> dict[str, str]:
    """SHA-256 of each file of a publication by its name, as ``checksums/NAME.sha256`` lists them for ``sha256sum``."""
    lines = files(__package__).joinpath("checksums", f"{name}.sha256").read_text(encoding="utf-8").splitlines()
    return {file: digest for digest, file in map(str.split, lines)}


def _places(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name, folder / f"{name}.gz"


def labelled_structure(structure: Mapping[str, Any], outputs: Mapping[str, Any], stress_kbar: Sequence[float]) -> Atoms:
    """A structure of an entry with its labels.

    Args:
        structure: pymatgen's dictionary, lengths in Å.
        outputs: ``energy`` (eV, of the whole cell) and ``forces`` (n, 3) in eV/Å.
        stress_kbar: (6,) as VASP gives it.

    Returns:
        periodic structure with energy (eV), forces (n, 3) in eV/Å and stress (6,) in eV/Å³ in a SinglePointCalculator.
    """
    atoms = Atoms(
        symbols=[site["species"][0]["element"] for site in structure["sites"]],
        positions=[site["xyz"] for site in structure["sites"]],
        cell=structure["lattice"]["matrix"],
        pbc=True,
    )
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=outputs["energy"],
        forces=np.asarray(outputs["forces"]),
        stress=stress_from_vasp(stress_kbar),
    )
    return atoms


def stress_from_vasp(stress_kbar: Sequence[float]) -> np.ndarray:
    """ASE's stress (6,) in eV/Å³ from VASP's (6,) in kbar.

    VASP prints xx yy zz xy yz zx, positive under compression. ASE wants xx yy zz yz xz xy, positive under tension.
    """
    return -KBAR * np.asarray(stress_kbar)[TO_ASE_VOIGT]


@dataclass(frozen=True)
class PublishedSet:
    """Sets of one publication, read, split and written alike.

    Args:
        source: name of the command's source.
        systems: the sets there are; their names start the file names.
        default: those prepared where none are named.
        files: where they come from.
        test_file: name of the published test structures of a system, which may be missing in a local copy.
        read: structures of a system, ``training`` or ``test``, by a function that gives the entries of a file.
        stratum, family: of a training structure, see :mod:`.split`.
    """

    source: str
    systems: Sequence[str]
    default: Sequence[str]
    files: PublishedFiles
    test_file: Callable[[str], str]
    read: Callable[[str, str, Callable[[str], list[dict[str, Any]]]], list[Atoms]]
    stratum: Callable[[Atoms], Stratum]
    family: Callable[[Atoms], Hashable]

    def prepare(
        self,
        out: Path,
        *,
        folder: Path | None = None,
        systems: Sequence[str] | None = None,
        division: Division = DEFAULT_DIVISION,
        force: bool = False,
    ) -> dict[str, list[Atoms]]:
        """Get the data and write the extxyz files of :mod:`.split` into ``out``, all or none.

        Published test structures, where there are any, become ``{system}_published_test.xyz``.

        Args:
            out: folder for the extxyz files, made if need be.
            folder: local copy; None downloads.
            systems: of :attr:`systems`, each a data set of its own; None takes :attr:`default`.
            division: of each set into parts.
            force: replace files that exist.

        Returns:
            frames by file name, as written.

        Raises:
            ValueError: unknown system, impossible size, or a file with another SHA-256.
            FileNotFoundError: ``folder`` lacks a training file.
            NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`.
            ConnectionError: a download failed.
        """
        systems = self.default if systems is None else systems
        self.check(systems)
        for name in systems:
            require_folder(out, [*division.names(name), _test_name(name)], force=force)
        written: dict[str, list[Atoms]] = {}
        for name in systems:
            frames = self.load(name, "training", folder)
            strata = [self.stratum(atoms) for atoms in frames]
            families = [self.family(atoms) for atoms in frames]
            written |= division.files(name, frames, strata, families)
            if self.files.has(self.test_file(name), folder):
                written[_test_name(name)] = self.load(name, "test", folder)
        write_files(out, written, force=force)
        return written

    def load(self, system: str, half: str = "training", folder: Path | None = None) -> list[Atoms]:
        """Labelled structures of one system, in the order of its files.

        Args:
            system: of :attr:`systems`.
            half: ``training`` or ``test``, as published.
            folder: local copy; None downloads.

        Returns:
            structures with energy (eV), forces (n, 3) in eV/Å and stress (6,) in eV/Å³ in a SinglePointCalculator, and
            in ``info`` what the module says.

        Raises:
            ValueError, FileNotFoundError, ConnectionError: as in :meth:`prepare`.
        """
        self.check([system])
        if half not in ("training", "test"):
            raise ValueError(f"{self.source} has no half {half!r}; choose from training, test")
        return self.read(system, half, partial(self.files.entries, folder=folder))

    def check(self, systems: Sequence[str]) -> None:
        """Raise ValueError if one of ``systems`` is not there."""
        for name in systems:
            if name not in self.systems:
                raise ValueError(f"no {self.source} data of {name!r} here; choose from {', '.join(self.systems)}")


def _test_name(name: str) -> str:
    return f"{name}_published_test.xyz"
