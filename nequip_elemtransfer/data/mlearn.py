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

``info`` of a structure has its ``group``, ``description`` and row ``mlearn_index`` as published, and ``temperature``
(K) for AIMD or ``phase`` for Vacancy.
"""

import re
from collections.abc import Callable
from typing import Any

from ase import Atoms

from nequip_elemtransfer.data.published import PublishedFiles, PublishedSet, checksums, labelled_structure
from nequip_elemtransfer.data.split import Stratum

COMMIT = "10c427a5480c6281c15c64efaf869b03be04818f"
FILES = PublishedFiles(
    base_url=f"https://raw.githubusercontent.com/materialsvirtuallab/mlearn/{COMMIT}/data",
    sha256=checksums("mlearn"),
    folder="Si/training.json and Ge/training.json (test.json beside them is optional)",
)
ELEMENTS = ("Si", "Ge")

# of the entry "Ground state crystal", eV/atom
GROUND_STATE_ENERGY = {"Si": -347.22070254 / 64, "Ge": -287.52156178 / 64}
# above the ground state; crystals with a vacancy lie near 0.1, melts above 0.5 eV/atom
MELT_EXCESS_ENERGY = 0.3


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


def family(atoms: Atoms) -> tuple[Any, ...]:
    """Equal for structures that a rotation or reflection of the crystal maps to each other."""
    strained = re.search(r"mode (\d), strain (\S+)", atoms.info["description"])
    if strained is None:
        return atoms.info["description"], atoms.info["mlearn_index"]
    mode, strain = int(strained[1]), float(strained[2])
    return ("axial", strain) if mode < 3 else ("shear", abs(strain))


def _atoms(entry: dict[str, Any], index: int) -> Atoms:
    outputs = entry["outputs"]
    atoms = labelled_structure(entry["structure"], outputs, outputs["virial_stress"])
    atoms.info = {"group": entry["group"], "description": entry["description"]}
    atoms.info["mlearn_index"] = index
    if entry["group"] == "AIMD-NVT":
        atoms.info["temperature"] = int(re.findall(r"at (\d+) K", entry["description"])[0])
    if entry["group"] == "Vacancy":
        excess = outputs["energy"] / len(atoms) - GROUND_STATE_ENERGY[entry["element"]]
        atoms.info["phase"] = "melt" if excess > MELT_EXCESS_ENERGY else "crystal"
    return atoms


def _read(element: str, half: str, entries: Callable[[str], list[dict[str, Any]]]) -> list[Atoms]:
    return [_atoms(entry, index) for index, entry in enumerate(entries(f"{element}/{half}.json"))]


MLEARN = PublishedSet(
    source="mlearn",
    systems=ELEMENTS,
    default=ELEMENTS,
    files=FILES,
    test_file=lambda element: f"{element}/test.json",
    read=_read,
    stratum=stratum,
    family=family,
)
