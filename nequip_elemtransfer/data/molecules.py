"""Molecules by SMILES: the lists that ship with the package, a user's own, and their geometries by RDKit."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from nequip_elemtransfer.optional_packages import extra

# In a SMILES of a list, the element that sets of different elements differ in.
PLACEHOLDER = "{X}"
HYDROCARBONS = "CH"  # the set of the molecules without such an element
SHIPPED = {
    "Si": "tetrel",
    "Ge": "tetrel",
    "S": "chalcogen",
    "Se": "chalcogen",
    "Cl": "halogen",
    "Br": "halogen",
    HYDROCARBONS: "hydrocarbon",
}
_LAST_ELEMENT = 86  # radon, the last one GFN2-xTB has parameters for
# A bond has broken when it is longer than this multiple of the sum of the covalent radii. At 1000 K a C-H bond reaches
# 1.3.
_BROKEN = 1.5
_WHO = "`nequip-elemtransfer data xtb`"


@dataclass(frozen=True)
class Molecule:
    """One molecule of a list.

    Args:
        smiles: with the element in place of the placeholder
        name: one word
        group: its functional group or skeleton, one word
        symbols: of all atoms, hydrogen included
        bonds: pairs of atoms, shape (n_bonds, 2)
    """

    smiles: str
    name: str
    group: str
    symbols: tuple[str, ...]
    bonds: np.ndarray

    def geometry(self, seed: int) -> Atoms:
        """A guess of its geometry by RDKit's distance geometry (ETKDG), the same for the same seed.

        Raises:
            ValueError: RDKit finds none
        """
        with extra("xtb", _WHO):
            from rdkit import Chem
            from rdkit.Chem import rdDistGeom
        molecule = Chem.AddHs(Chem.MolFromSmiles(self.smiles))
        if rdDistGeom.EmbedMolecule(molecule, randomSeed=seed) != 0:
            raise ValueError(
                f"RDKit finds no geometry of {self.title}: write the SMILES in another way, or leave it out of the "
                "list."
            )
        return Atoms(self.symbols, molecule.GetConformer().GetPositions())

    def broken_bond(self, positions: np.ndarray, radii: np.ndarray) -> str | None:
        """The first bond that is far longer than bonds are, as ``C0-H4``; None if there is none.

        Args:
            positions: in Å, shape (n_atoms, 3)
            radii: covalent radius of each atom in Å, shape (n_atoms,)
        """
        i, j = self.bonds.T
        lengths = np.linalg.norm(positions[i] - positions[j], axis=1)
        broken = np.flatnonzero(lengths > _BROKEN * (radii[i] + radii[j]))
        if not len(broken):
            return None
        return "-".join(f"{self.symbols[atom]}{atom}" for atom in self.bonds[broken[0]])

    @property
    def title(self) -> str:
        """Name and SMILES, for messages."""
        return f"{self.name} ({self.smiles})"


def molecules_of(system: str, path: Path | None = None) -> list[Molecule]:
    """The molecules of a set.

    Args:
        system: the element that stands for ``{X}`` in the list, or ``CH`` for the shipped hydrocarbons
        path: list of the user's, a line ``SMILES NAME GROUP`` for each molecule, ``#`` begins a comment; None takes the
            list that ships with the package

    Raises:
        FileNotFoundError: there is no such list
        ValueError: an element or a line that cannot be used, with the reason
    """
    if path is None:
        if system not in SHIPPED:
            raise ValueError(
                f"no molecules of {system!r} ship with this package; choose from {', '.join(SHIPPED)}, or give a list "
                "of your own (--smiles)."
            )
        where = f"{SHIPPED[system]}.smi"
        text = files("nequip_elemtransfer.data").joinpath("smiles", where).read_text(encoding="utf-8")
    else:
        if not 0 < atomic_numbers.get(system, 0) <= _LAST_ELEMENT:
            raise ValueError(
                f"{system!r} cannot stand for {PLACEHOLDER} in {path}: give the symbol of an element up to radon, for "
                "which GFN2-xTB has parameters."
            )
        if not path.is_file():
            raise FileNotFoundError(f"the list of molecules {str(path)!r} does not exist.")
        where, text = str(path), path.read_text(encoding="utf-8")
    return _parsed(text, where, system)


def _parsed(text: str, where: str, element: str) -> list[Molecule]:
    found: dict[str, Molecule] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        # in a SMILES `#` is a triple bond, so only a line of its own is a comment
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = line.split()
        place = f"line {number} of {where}"
        if len(fields) != 3:
            raise ValueError(
                f"{place} is {line.strip()!r}: write `SMILES NAME GROUP`, as in `CC[{PLACEHOLDER}H3] ethyl alkyl`."
            )
        smiles, name, group = fields
        if name in found:
            raise ValueError(f"{place} names a second molecule {name!r}: give each a name of its own.")
        found[name] = _molecule(smiles.replace(PLACEHOLDER, element), name, group, place)
    if not found:
        raise ValueError(f"{where} holds no molecule: write `SMILES NAME GROUP` in a line for each.")
    return list(found.values())


def _molecule(smiles: str, name: str, group: str, place: str) -> Molecule:
    with extra("xtb", _WHO):
        from rdkit import Chem, rdBase
    with rdBase.BlockLogs():  # RDKit writes its own lines on what it refuses
        read = Chem.MolFromSmiles(smiles)
    if read is None:
        raise ValueError(
            f"{place}: RDKit refuses the SMILES {smiles!r}: mend it; brackets hold the hydrogens, as in C[GeH3]."
        )
    molecule = Chem.AddHs(read)
    atoms = list(molecule.GetAtoms())
    reason = _unusable(atoms, len(Chem.GetMolFrags(molecule)))
    if reason:
        raise ValueError(f"{place}: {smiles!r} {reason}")
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return Molecule(smiles, name, group, tuple(atom.GetSymbol() for atom in atoms), np.array(bonds))


def _unusable(atoms: Sequence, fragments: int) -> str | None:
    """Why a molecule has no closed-shell, neutral ground state here that a potential of several atoms describes."""
    heavy = [atom.GetSymbol() for atom in atoms if not 0 < atom.GetAtomicNum() <= _LAST_ELEMENT]
    if heavy:
        return f"holds {heavy[0]!r}: GFN2-xTB has parameters for the elements up to radon."
    if charge := sum(atom.GetFormalCharge() for atom in atoms):
        return f"has the charge {charge:+d}: only neutral molecules are sampled, add or remove hydrogen."
    if unpaired := sum(atom.GetNumRadicalElectrons() for atom in atoms):
        return (
            f"is a radical, with {unpaired} unpaired electron{'s' if unpaired > 1 else ''}: only closed shells are "
            "sampled; add the hydrogens in the brackets, as in [GeH3]."
        )
    if len(atoms) == 1:
        return "is a single atom, which has no bond to learn from: leave it out."
    if fragments > 1:
        return "is several molecules: write each in a line of its own."
    return None
