"""Structures of a source as those of a target in corresponding states: species swapped, lengths times λ."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from nequip_elemtransfer.config import TransferConfig
from nequip_elemtransfer.lengths.choice import given_lengths
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.structures.files import elements_in
from nequip_elemtransfer.transfer.start import frozen_types


class CorrespondingStates:
    """Makes target structures of source structures.

    Args:
        config: element map and λ
        structures: of the source, whose elements are its types

    Raises:
        ValueError: a target starts from an element that no structure has
    """

    def __init__(self, config: TransferConfig, structures: Sequence[Atoms]) -> None:
        types = elements_in(structures)
        self.element_map = ElementMap.from_elements(config.elements, types, config.species)
        self.scales = given_lengths(config, self.element_map, frozen_types(config, self.element_map)).scales

    def covers(self, atoms: Atoms) -> bool:
        """Whether some target type starts from each element of a structure."""
        return all(len(self._targets(symbol)) for symbol in set(atoms.symbols))

    def of(self, atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, float]:
        """A target structure and its λ: the mean over its atoms, since one number scales a cell.

        Where several target types start from one element, each atom of it becomes one of them at random.
        """
        drawn = np.array([rng.choice(self._targets(symbol)) for symbol in atoms.symbols])
        scale = float(self.scales[drawn].mean())
        species = [self.element_map.target_species[t] for t in drawn]
        return Atoms(species, scale * atoms.positions, cell=scale * np.asarray(atoms.cell), pbc=atoms.pbc), scale

    def _targets(self, symbol: str) -> np.ndarray:
        """Indices of the target types that start from an element."""
        types = self.element_map.source_types
        return np.flatnonzero(self.element_map.weights[:, types.index(symbol)]) if symbol in types else np.array([])
