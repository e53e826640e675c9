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
from pathlib import Path
from typing import Any

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.output.atomic import require_folder

from .files import divide, part_names, write_files
from .split import Stratum

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


def _places(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name, folder / f"{name}.gz"


def check_names(names: Sequence[str], choices: Sequence[str], source: str) -> None:
    """Raise ValueError if one of ``names`` is not a set of ``source``."""
    for name in names:
        if name not in choices:
            raise ValueError(f"no {source} data of {name!r} here; choose from {', '.join(choices)}")


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


def prepare_published(
    out: Path,
    names: Sequence[str],
    load: Callable[[str, str], list[Atoms]],
    has_test: Callable[[str], bool],
    stratum: Callable[[Atoms], Stratum],
    family: Callable[[Atoms], Hashable],
    *,
    sizes: Sequence[int],
    seed: int,
    subset_seed: int | None,
    force: bool,
) -> dict[str, list[Atoms]]:
    """Read each named set, split it, and write all files, or none.

    Args:
        names: of the sets; they start the file names.
        load: structures of a set, ``training`` or ``test``.
        has_test: whether the set has published test structures; they become ``{name}_published_test.xyz``.
        stratum, family: of a training structure, see :mod:`.split`.
        sizes, seed, subset_seed: see :func:`.files.divide`.
        force: replace files that exist.

    Returns:
        frames by file name, as written.

    Raises:
        ValueError: see :func:`.files.divide`.
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`.
    """
    for name in names:
        require_folder(out, [*part_names(name, sizes), _test_name(name)], force=force)
    files: dict[str, list[Atoms]] = {}
    for name in names:
        frames = load(name, "training")
        strata = [stratum(atoms) for atoms in frames]
        families = [family(atoms) for atoms in frames]
        files |= divide(name, frames, strata, families, sizes=sizes, seed=seed, subset_seed=subset_seed)
        if has_test(name):
            files[_test_name(name)] = load(name, "test")
    write_files(out, files, force=force)
    return files


def _test_name(name: str) -> str:
    return f"{name}_published_test.xyz"
