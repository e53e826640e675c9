"""The public mlearn DFT structures of silicon and germanium.

Zuo et al., *A Performance and Cost Assessment of Machine Learning Interatomic Potentials*,
J. Phys. Chem. A 124, 731 (2020), arXiv:1906.08888, repository ``materialsvirtuallab/mlearn``
(BSD 3-Clause). The published training halves are divided into train, validation and test
here; the published test halves (25 structures each) are kept apart as they are.

What the files do not say:

- The six elastic modes are three axial and three shear strains of a cubic crystal, so modes
  0 to 2 at one strain are copies of each other under rotation, and so are modes 3 to 5 at plus
  and minus one strain. They stay in one part of the split. The published test half has such
  copies: its shears by -0.06 are the training half's shears by +0.06.
- The temperature in a Vacancy description is not the temperature of the structure. Its energy
  says whether it is crystalline or molten, and that is what the split is stratified by.
"""

import hashlib
import http.client
import json
import re
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from nequip_elemtransfer.output.atomic import require_folder

from . import DEFAULT_SIZES
from .files import divide, part_names, write_files
from .split import Stratum

COMMIT = "10c427a5480c6281c15c64efaf869b03be04818f"
BASE_URL = f"https://raw.githubusercontent.com/materialsvirtuallab/mlearn/{COMMIT}/data"
SHA256 = {
    "Si/training.json": "ae6d4b0a65b00e0fcf7ba0a6fad366716710d2f0d21d70199203089c6866b500",
    "Ge/training.json": "43dee02009a5167f94c7aafce19051222bcfc328c46181750cc2a2018187ca00",
    "Si/test.json": "d452b30a89f23bff76f7cc529b7b6c2d159ea81ccd5a4599fb1a18207654fa91",
    "Ge/test.json": "737ea6159c9dd27ebee7fb8ffae22f15e20466884927771248ca4f5b2cd3f093",
}
ELEMENTS = ("Si", "Ge")

KBAR = 0.1 * ase.units.GPa  # eV/Å³
# mlearn: xx yy zz xy yz zx; ASE: xx yy zz yz xz xy
TO_ASE_VOIGT = [0, 1, 2, 4, 5, 3]
# of the entry "Ground state crystal", eV/atom
GROUND_STATE_ENERGY = {"Si": -347.22070254 / 64, "Ge": -287.52156178 / 64}
# above the ground state; crystals with a vacancy lie near 0.1, melts above 0.5 eV/atom
MELT_EXCESS_ENERGY = 0.3


def prepare(
    out: Path,
    *,
    folder: Path | None = None,
    elements: Sequence[str] = ELEMENTS,
    sizes: Sequence[int] = DEFAULT_SIZES,
    seed: int = 0,
    subset_seed: int | None = None,
    force: bool = False,
) -> dict[str, list[Atoms]]:
    """Get the data and write the extxyz files of :mod:`.files` into ``out``.

    The published test half, where there is one, becomes ``{El}_published_test.xyz``.

    Args:
        out: folder for the extxyz files, made if need be.
        folder: local copy with ``Si/training.json`` and so on; None downloads.
        elements: of ``Si`` and ``Ge``.
        sizes, seed, subset_seed: see :func:`.files.divide`.
        force: replace files that exist.

    Returns:
        frames by file name, as written.

    Raises:
        ValueError: unknown element, impossible size, or a file with another SHA-256.
        FileNotFoundError: ``folder`` lacks a training file.
        NotADirectoryError, FileExistsError: see :func:`.atomic.require_folder`.
        ConnectionError: a download failed.
    """
    _check_elements(elements)
    for element in elements:
        names = [*part_names(element, sizes), f"{element}_published_test.xyz"]
        require_folder(out, names, force=force)
    files: dict[str, list[Atoms]] = {}
    for element in elements:
        frames = load(element, "training", folder)
        strata = [stratum(atoms) for atoms in frames]
        families = [family(atoms) for atoms in frames]
        files |= divide(element, frames, strata, families, sizes=sizes, seed=seed, subset_seed=subset_seed)
        if folder is None or (folder / element / "test.json").exists():
            files[f"{element}_published_test.xyz"] = load(element, "test", folder)
    write_files(out, files, force=force)
    return files


def load(element: str, half: str = "training", folder: Path | None = None) -> list[Atoms]:
    """Labelled structures of one published file, in its order.

    Args:
        element: ``Si`` or ``Ge``.
        half: ``training`` or ``test``, the published halves.
        folder: local copy; None downloads.

    Returns:
        structures with energy (eV), forces (n, 3) in eV/Å and stress (6,) in eV/Å³ in a
        SinglePointCalculator, and in ``info`` the ``group``, the ``description``, the row
        ``mlearn_index``, and ``temperature`` (K) for AIMD or ``phase`` for Vacancy.

    Raises:
        ValueError, FileNotFoundError, ConnectionError: as in :func:`prepare`.
    """
    name = f"{element}/{half}.json"
    if name not in SHA256:
        raise ValueError(f"mlearn has no {name} here; choose from {', '.join(SHA256)}")
    content = _download(name) if folder is None else _read(folder, name)
    _check_sha256(content, name)
    entries = json.loads(content)
    return [_atoms(entry, index) for index, entry in enumerate(entries)]


def stress_from_virial(virial_kbar: Sequence[float]) -> np.ndarray:
    """ASE stress (6,) in eV/Å³ from mlearn's ``virial_stress`` (6,) in kbar.

    mlearn stores VASP's: xx yy zz xy yz zx, positive under compression. ASE wants
    xx yy zz yz xz xy, positive under tension.
    """
    return -KBAR * np.asarray(virial_kbar)[TO_ASE_VOIGT]


def stratum(atoms: Atoms) -> Stratum:
    """Group and what divides it: temperature, phase, kind of strain, or nothing."""
    group = atoms.info["group"]
    if group == "AIMD-NVT":
        return group, f"{atoms.info['temperature']} K"
    if group == "Vacancy":
        return group, atoms.info["phase"]
    if group == "Elastic":
        return group, family(atoms)[0]
    return group, ""


def family(atoms: Atoms) -> tuple:
    """Equal for structures that a rotation or reflection of the crystal maps to each other."""
    strained = re.search(r"mode (\d), strain (\S+)", atoms.info["description"])
    if strained is None:
        return atoms.info["description"], atoms.info["mlearn_index"]
    mode, strain = int(strained[1]), float(strained[2])
    return ("axial", strain) if mode < 3 else ("shear", abs(strain))


def _atoms(entry: dict, index: int) -> Atoms:
    structure, outputs = entry["structure"], entry["outputs"]
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
        stress=stress_from_virial(outputs["virial_stress"]),
    )
    atoms.info = {"group": entry["group"], "description": entry["description"]}
    atoms.info["mlearn_index"] = index
    if entry["group"] == "AIMD-NVT":
        atoms.info["temperature"] = int(re.search(r"at (\d+) K", entry["description"])[1])
    if entry["group"] == "Vacancy":
        excess = outputs["energy"] / len(atoms) - GROUND_STATE_ENERGY[entry["element"]]
        atoms.info["phase"] = "melt" if excess > MELT_EXCESS_ENERGY else "crystal"
    return atoms


def _download(name: str) -> bytes:
    url = f"{BASE_URL}/{name}"
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.read()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(
            f"{url} could not be downloaded ({reason}); get it elsewhere and pass --from DIR"
        ) from error


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; --from needs a folder with Si/training.json and "
            "Ge/training.json (test.json beside them is optional)"
        )
    return path.read_bytes()


def _check_sha256(content: bytes, name: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise ValueError(f"{name} is not the published file: expected SHA-256 {SHA256[name]}, found {found}")


def _check_elements(elements: Sequence[str]) -> None:
    for element in elements:
        if element not in ELEMENTS:
            raise ValueError(f"no mlearn data of {element!r} here; choose from {', '.join(ELEMENTS)}")
