"""The public DFT structures of niobium, molybdenum, tantalum, tungsten and the alloys MoW and NbTa.

Li et al., *Complex strengthening mechanisms in the NbMoTaW multi-principal element alloy*,
npj Comput. Mater. 6, 70 (2020), repository ``materialsvirtuallab/snap`` (BSD 3-Clause). The published training files
are divided into train, validation and test here; the published test files are kept apart as they are.

What the files do not say:

- The elastic modes are three axial and three shear strains of the cubic crystal, so modes 1 to 3 at one strain are
  copies of each other under rotation, and so are modes 4 to 6 at plus and minus one strain. They stay in one part.
- Each alloy configuration is there twice, before and after its relaxation, which moves atoms by 0.011 Å at most: nearly
  a copy. Both stay in one part. No two configurations are copies under the symmetry of the lattice.

``info`` of a structure has its ``group`` (``AIMD``, ``Elastic``, ``Surface``, ``SS`` or ``Test``), ``tag`` and
``description`` as published, the row ``nbmotaw_index`` in the group's file, and ``temperature`` (K) for AIMD.
"""

import re
from collections.abc import Callable
from typing import Any

from ase import Atoms

from nequip_elemtransfer.data.published import PublishedFiles, PublishedSet, checksums, labelled_structure
from nequip_elemtransfer.data.split import Stratum

COMMIT = "5fc2251b45c72dea0c9799d7aad3e3261a077a5b"
FILES = PublishedFiles(
    base_url=f"https://raw.githubusercontent.com/materialsvirtuallab/snap/{COMMIT}/NbMoTaW/training",
    sha256=checksums("nbmotaw"),
    folder="Mo_AIMD.json, Mo_Elastic.json, Mo_Surface.json and so on, or MoW_SS.json, as they are or as .json.gz "
    "(Mo_Test.json beside them is optional)",
)
METAL_GROUPS, ALLOY_GROUPS = ("AIMD", "Elastic", "Surface"), ("SS",)
GROUPS_OF = dict.fromkeys(("Mo", "W", "Nb", "Ta"), METAL_GROUPS) | dict.fromkeys(("MoW", "NbTa"), ALLOY_GROUPS)


def stratum(atoms: Atoms) -> Stratum:
    """Group and what divides it: volume and temperature, kind of strain, composition, or nothing."""
    group = atoms.info["group"]
    if group == "AIMD":
        return group, f"{atoms.info['tag']} {atoms.info['temperature']} K"
    if group == "Elastic":
        return group, family(atoms)[0]
    if group == "SS":
        return group, atoms.get_chemical_formula()
    return group, ""


def family(atoms: Atoms) -> tuple[Any, ...]:
    """Equal for structures that a rotation or reflection of the crystal, or a tiny relaxation, maps to each other."""
    group, description = atoms.info["group"], atoms.info["description"]
    if group == "SS":
        return group, description.split()[-1]
    if group != "Elastic":
        return group, atoms.info["nbmotaw_index"]
    mode, strain = _strain(description)
    if strain == 0:
        return "crystal", 0.0
    return ("axial", strain) if mode <= 3 else ("shear", abs(strain))


def _strain(description: str) -> tuple[int, float]:
    """Mode and strain of an elastic structure: of ``Strain 4---0.0900`` 4 and -0.09."""
    mode, strain = re.findall(r"(\d)--(\S+)$", description)[0]
    return int(mode), float(strain)


def _atoms(entry: dict[str, Any], group: str, index: int) -> Atoms:
    atoms = labelled_structure(entry["structure"], entry["outputs"], entry["outputs"]["stress"])
    tags = entry["tags"]
    tag = tags if isinstance(tags, str) else tags[0]  # the surfaces of Mo have no list, and no notes
    description = " ".join([tag, *entry.get("notes", {}).values()])
    atoms.info = {"group": group, "tag": tag, "description": description, "nbmotaw_index": index}
    if group == "AIMD":
        # "Md 300-37" is snapshot 37 at 300 K; Mo has one series with a stray dash, "Md_90 -300-37"
        atoms.info["temperature"] = int(re.findall(r"(\d+)-\d+$", description)[0])
    return atoms


def _read(system: str, half: str, entries: Callable[[str], list[dict[str, Any]]]) -> list[Atoms]:
    groups = GROUPS_OF[system] if half == "training" else ("Test",)
    return [
        _atoms(entry, group, index) for group in groups for index, entry in enumerate(entries(f"{system}_{group}.json"))
    ]


NBMOTAW = PublishedSet(
    source="nbmotaw",
    systems=tuple(GROUPS_OF),
    default=("Mo", "W"),
    files=FILES,
    test_file=lambda system: f"{system}_Test.json",
    read=_read,
    stratum=stratum,
    family=family,
)
