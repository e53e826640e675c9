"""Names of units, and their sizes in eV and Å."""

import re
from dataclasses import dataclass

from ase import units

from nequip_elemtransfer.config import LabelKind

# in eV, Å and eV/Å³
ENERGIES = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.Hartree,
    "Rydberg": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
LENGTHS = {"Å": 1.0, "Bohr": units.Bohr, "nm": 10.0}
PRESSURES = {"Pa": units.Pascal, "bar": units.bar, "kbar": 1e3 * units.bar, "MPa": 1e6 * units.Pascal, "GPa": units.GPa}

ALIASES = {
    "ev": "eV", "mev": "meV", "hartree": "Hartree", "ha": "Hartree", "eh": "Hartree", "rydberg": "Rydberg",
    "ry": "Rydberg", "kcal/mol": "kcal/mol", "kj/mol": "kJ/mol", "å": "Å", "a": "Å", "ang": "Å", "angstrom": "Å",
    "ångström": "Å", "bohr": "Bohr", "a0": "Bohr", "nm": "nm", "pa": "Pa", "bar": "bar", "kbar": "kbar", "kb": "kbar",
    "mpa": "MPa", "gpa": "GPa",
}  # fmt: skip
_CHOICES: dict[LabelKind, str] = {
    "energy": f"{', '.join(ENERGIES)}, each also with /atom",
    "forces": f"{', '.join(ENERGIES)}, each over {', '.join(LENGTHS)}, such as Hartree/Bohr",
    "stress": f"{', '.join(PRESSURES)}, eV/Å^3, Hartree/Bohr^3 and the like, with - in front of what is positive under "
    "compression, such as -kbar",
}
_ATOMIC: dict[LabelKind, str] = {"energy": "hartree", "forces": "hartree/bohr", "stress": "hartree/bohr^3"}


@dataclass(frozen=True)
class Unit:
    """A unit of one kind of label.

    Args:
        name: as it is written here
        size: in NequIP's unit; negative for stresses that are positive under compression
        per_atom: whether energies are divided by the number of atoms
    """

    name: str
    size: float
    per_atom: bool = False


def parse_unit(text: str, kind: LabelKind, where: str) -> Unit:
    """The unit that a text names.

    Args:
        text: such as ``kcal/mol``, ``Hartree/Bohr``, ``kbar`` or ``-kbar``
        where: it was named, for a message

    Raises:
        ValueError: with those that are known
    """
    name = re.sub(r"\s+|\*\*|\^|\(|\)", "", str(text)).replace("³", "3").lower()
    sign, name = (-1.0, name[1:]) if name.startswith("-") and kind == "stress" else (1.0, name)
    name = _ATOMIC[kind].replace("^", "") if name in ("au", "a.u.") else name
    per_atom = kind == "energy" and name.endswith("/atom")
    name = name.removesuffix("/atom") if per_atom else name
    power = {"energy": 0, "forces": 1, "stress": 3}[kind]
    if kind == "stress" and ALIASES.get(name) in PRESSURES:
        return Unit(("-" if sign < 0 else "") + ALIASES[name], sign * PRESSURES[ALIASES[name]])
    energy, _, length = (name, "", "") if power == 0 else name.rpartition("/")
    length = ALIASES.get(length.removesuffix("3") if power == 3 else length, "")
    energy = ALIASES.get(energy, "")
    if energy not in ENERGIES or (power and length not in LENGTHS):
        raise ValueError(f"{where} is {text!r}, which is no known unit of {kind}; choose from {_CHOICES[kind]}.")
    written = energy + {0: "/atom" if per_atom else "", 1: f"/{length}", 3: f"/{length}³"}[power]
    size = ENERGIES[energy] / (LENGTHS[length] ** power if power else 1.0)
    return Unit(("-" if sign < 0 else "") + written, sign * size, per_atom)
