"""Cubic crystals and the cells in which their properties are computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, gcd, inf

import numpy as np
from ase import Atoms
from ase.build import bulk, surface
from ase.neighborlist import neighbor_list

STRUCTURES = ("sc", "fcc", "bcc", "diamond", "zincblende", "rocksalt", "cesiumchloride", "fluorite")


@dataclass(frozen=True)
class Crystal:
    """A cubic crystal whose atoms all lie on sites that symmetry fixes, so that its cell has one parameter.

    .. code-block:: python

        Crystal("diamond", "Ge", 5.66).slab((1, 1, 1))
        Crystal("zincblende", "GaAs", 5.65).supercell(2)

    Args:
        structure: name in :func:`ase.build.bulk`: sc, fcc, bcc, diamond, zincblende, rocksalt, cesiumchloride or
            fluorite
        formula: one formula unit, in ASE's order of the sites: ``Ge``, ``GaAs``, ``CaF2``
        a: lattice constant of the conventional cell, Å

    Raises:
        ValueError: if the structure is not one of these, the formula does not fit it, or a is not positive
    """

    structure: str
    formula: str
    a: float

    def __post_init__(self) -> None:
        if self.structure not in STRUCTURES:
            raise ValueError(f"unknown cubic structure {self.structure!r}; choose from {', '.join(STRUCTURES)}")
        if not 0 < self.a < inf:
            raise ValueError(f"the lattice constant of {self.formula} must be a positive length in Å, found {self.a}")
        try:
            self.primitive_cell()
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"no {self.structure} crystal of formula {self.formula!r}: give one formula unit, such as 'Si' for "
                "diamond, 'GaAs' for zincblende or 'CaF2' for fluorite"
            ) from error

    def unit_cell(self) -> Atoms:
        """Conventional cubic cell, its edges along x, y and z."""
        return bulk(self.formula, self.structure, a=self.a, cubic=True)

    def primitive_cell(self) -> Atoms:
        """Smallest cell, in the orientation of :meth:`unit_cell`."""
        return bulk(self.formula, self.structure, a=self.a)

    def supercell(self, n: int) -> Atoms:
        """n × n × n conventional cells.

        Raises:
            ValueError: if n is less than 1
        """
        if n < 1:
            raise ValueError(f"a supercell needs at least 1 cell along each edge, found {n}")
        return self.unit_cell() * n

    def vacancy(self, n: int) -> Atoms:
        """:meth:`supercell` without its first atom, the others in their places."""
        return self.supercell(n)[1:]

    def slab(self, miller: Sequence[int], thickness: float = 15.0, vacuum: float = 10.0) -> Atoms:
        """Slab with two surfaces, its atoms in their places in the crystal.

        The crystal is cut where its atomic planes are farthest apart: (111) of diamond breaks one bond per surface
        atom, not three. The slab holds whole formula units, and its two surfaces are equivalent in an elemental
        crystal.

        Args:
            miller: indices (h, k, l) of the surface in the conventional cell, without a common factor
            thickness: least distance of the outermost atomic planes, Å
            vacuum: from the topmost plane to the lowest one of the next image, Å

        Returns:
            atoms with the surface normal along z, periodic in all three directions

        Raises:
            ValueError: if the indices are not three integers without a common factor, or a length is not positive
        """
        indices = _check_miller(miller)
        if not (thickness > 0 and vacuum > 0):
            raise ValueError(
                f"thickness and vacuum of a slab must be positive lengths in Å, found {thickness} and {vacuum}"
            )
        repeat = self.a / np.linalg.norm(indices)  # distance after which the planes repeat
        normal = np.array(indices) / np.linalg.norm(indices)
        cell = self.unit_cell()
        bottom, gap = (quarters * repeat / 4 for quarters in _widest_gap(cell, indices))
        # `surface` cuts at height 0: put the middle of the gap there
        cell.translate(-(bottom + gap / 2) * normal)
        slab = surface(cell, indices, layers=ceil((thickness + gap) / repeat), vacuum=vacuum / 2)
        slab.pbc = True
        return slab

    @property
    def nearest_neighbor(self) -> float:
        """Distance of nearest neighbors, Å."""
        # the farthest nearest neighbors are those of sc, at a
        return float(neighbor_list("d", self.primitive_cell(), 1.01 * self.a).min())

    @property
    def is_elemental(self) -> bool:
        """Whether all atoms are of one element."""
        return len(set(self.primitive_cell().symbols)) == 1

    def with_a(self, a: float) -> "Crystal":
        """The same crystal with another lattice constant, in Å."""
        return replace(self, a=a)


def _check_miller(miller: Sequence[int]) -> tuple[int, int, int]:
    indices = np.asarray(miller)
    if indices.shape != (3,) or not np.issubdtype(indices.dtype, np.integer) or gcd(*indices.tolist()) != 1:
        raise ValueError(f"a surface needs three integers without a common factor, such as (1, 1, 0); found {miller}")
    return tuple(indices.tolist())


def _widest_gap(cell: Atoms, miller: tuple[int, int, int]) -> tuple[int, int]:
    """Lower edge and width of the widest gap between atomic planes, the first of several; a repeat is 4 long."""
    sites = np.rint(4 * cell.get_scaled_positions()).astype(int)  # (n_atoms, 3); all structures have them at a/4
    planes = np.unique(sites @ miller % 4)  # in whole numbers, where equal gaps are equal
    gaps = np.diff(planes, append=planes[0] + 4)
    widest = int(np.argmax(gaps))
    return int(planes[widest]), int(gaps[widest])


def parse_crystal(text: str) -> Crystal:
    """``diamond:Si:5.43``: structure, formula and lattice constant in Å, in the method of the reference.

    Raises:
        ValueError: if it is no crystal that ASE knows
    """
    parts = text.split(":")
    if len(parts) != 3:
        raise ValueError(f"a crystal is written as structure:formula:lattice constant, diamond:Si:5.43, not {text!r}.")
    try:
        constant = float(parts[2])
    except ValueError:
        raise ValueError(f"the lattice constant {parts[2]!r} in {text!r} is no number of Å.") from None
    return Crystal(parts[0], parts[1], constant)
