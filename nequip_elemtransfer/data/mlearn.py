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

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ase import Atoms

from . import DEFAULT_SIZES
from .published import PublishedFiles, check_names, labelled_structure, prepare_published
from .split import Stratum

COMMIT = "10c427a5480c6281c15c64efaf869b03be04818f"
PUBLISHED = PublishedFiles(
    base_url=f"https://raw.githubusercontent.com/materialsvirtuallab/mlearn/{COMMIT}/data",
    sha256={
        "Si/training.json": "ae6d4b0a65b00e0fcf7ba0a6fad366716710d2f0d21d70199203089c6866b500",
        "Ge/training.json": "43dee02009a5167f94c7aafce19051222bcfc328c46181750cc2a2018187ca00",
        "Si/test.json": "d452b30a89f23bff76f7cc529b7b6c2d159ea81ccd5a4599fb1a18207654fa91",
        "Ge/test.json": "737ea6159c9dd27ebee7fb8ffae22f15e20466884927771248ca4f5b2cd3f093",
    },
    folder="Si/training.json and Ge/training.json (test.json beside them is optional)",
)
ELEMENTS = ("Si", "Ge")

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
    check_names(elements, ELEMENTS, "mlearn")
    return prepare_published(
        out,
        elements,
        partial(load, folder=folder),
        lambda element: PUBLISHED.has(f"{element}/test.json", folder),
        stratum,
        family,
        sizes=sizes,
        seed=seed,
        subset_seed=subset_seed,
        force=force,
    )


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
    if name not in PUBLISHED.sha256:
        raise ValueError(f"mlearn has no {name} here; choose from {', '.join(PUBLISHED.sha256)}")
    return [_atoms(entry, index) for index, entry in enumerate(PUBLISHED.entries(name, folder))]


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
    outputs = entry["outputs"]
    atoms = labelled_structure(entry["structure"], outputs, outputs["virial_stress"])
    atoms.info = {"group": entry["group"], "description": entry["description"]}
    atoms.info["mlearn_index"] = index
    if entry["group"] == "AIMD-NVT":
        atoms.info["temperature"] = int(re.search(r"at (\d+) K", entry["description"])[1])
    if entry["group"] == "Vacancy":
        excess = outputs["energy"] / len(atoms) - GROUND_STATE_ENERGY[entry["element"]]
        atoms.info["phase"] = "melt" if excess > MELT_EXCESS_ENERGY else "crystal"
    return atoms
