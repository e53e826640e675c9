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

from nequip_elemtransfer.data.published import PublishedFiles, PublishedSet, labelled_structure
from nequip_elemtransfer.data.split import Stratum

COMMIT = "5fc2251b45c72dea0c9799d7aad3e3261a077a5b"
FILES = PublishedFiles(
    base_url=f"https://raw.githubusercontent.com/materialsvirtuallab/snap/{COMMIT}/NbMoTaW/training",
    sha256={
        "Mo_AIMD.json": "212798385aacf71804aaab3c73a609bc99062d0dc2523e1de1d390632df20430",
        "Mo_Elastic.json": "71c9d48811e0df374e050e5738b99988a9093e1eccc4616659af16728e68036e",
        "Mo_Surface.json": "a31b6831a1cd9832cc4d7e163ab8330ee00cd5943776c9d549a7f0b14c7c88c5",
        "Mo_Test.json": "8014734810d3a288ddf62115a4eafbfb3366921b3d8863cc3c69cd88bbe19a8a",
        "W_AIMD.json": "55c6c5e3ea86716accc56a72a819ce4d53cde9f3566e2d84b698f3a59783ef43",
        "W_Elastic.json": "bcfe224205beb1e5164f2d24c8bd0cf8ce5a8d323c32e1c6538b15e1fdf2e359",
        "W_Surface.json": "87da3b6fd795f3afdc4679e13f691801f42fd8ec29bc3e279d0f1ce70d70e496",
        "W_Test.json": "eb0162def1f6124819aed0e1cf69a1549883379b7e839c3bef63da8a088ac089",
        "Nb_AIMD.json": "4eb7006ce74842e9c1ca91955e9ff3cc11f79b202db0107846146f0f2fcadb3e",
        "Nb_Elastic.json": "1eb982475d6714356ffd390639d410723b6b3f60de87857bf2445a5375213e56",
        "Nb_Surface.json": "97fa0d355ae144a10e8c61420b602c75ca62e1ed14bc73edb5b9c69713eb8f5b",
        "Nb_Test.json": "11d90df6fd8af8afe1348421ebce3f9901646c09e9fbbf366d0c4b71138a570d",
        "Ta_AIMD.json": "5f89e2b41a7e2451e335ed169451277280c67daca072e50ad2ede07152758857",
        "Ta_Elastic.json": "86b23c7bebc33d74d57733a010973107d480c6baec4f062efa537d7bed336ecd",
        "Ta_Surface.json": "80a8a6caeede61526261ed4873cd0b445e1ca2affb0fdc133cebfbdc5eefa2db",
        "Ta_Test.json": "706fc5aacf4704f0bdf349688801e559dd63e077a6c881cffc3791bcd4ff0db0",
        "MoW_SS.json": "2a4a8d45e704c85f39249cb8c6a15ef157ffd610729edc1a65c5e747d12bc953",
        "MoW_Test.json": "b7d2938b383e8679cdd79e1d987c1893c42ce45844a4887c5de9a7a55dd3db8a",
        "NbTa_SS.json": "aa41c1e341d7fcede07ce19656b5bd723e5fbb293f9b656ff06769264008ea43",
        "NbTa_Test.json": "12dd57ebc8446f51126e475b03e87c9dd50bd8558ca9e52fb088b148dc6834a0",
    },
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
