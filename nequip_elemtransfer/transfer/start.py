"""A transfer before there are labels: the element map and λ as they are given, nothing fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.architecture.builders import set_energies
from nequip_elemtransfer.config import Setting, Start, TransferConfig
from nequip_elemtransfer.energies.contributions import Frames
from nequip_elemtransfer.lengths import scales as lengths
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.transfer.target import TargetBuilder


@dataclass(frozen=True)
class UnlabelledStart:
    """The target model at given lengths.

    Args:
        config: names the target types and their species
        target: builds models of them
        scales: λ of each target type, shape (n_types,)
    """

    config: TransferConfig
    target: TargetBuilder
    scales: np.ndarray

    @classmethod
    def of(
        cls,
        source: SourceModel,
        elements: Mapping[str, Start],
        length_scale: Setting = "covalent_radii",
        chemical_species: Mapping[str, str] | None = None,
    ) -> "UnlabelledStart":
        """The start that a key with these entries asks for.

        Raises:
            ValueError: an entry cannot be, or does not go with the source
        """
        config = unlabelled_config(source.path, elements, length_scale, chemical_species)
        element_map = ElementMap.from_elements(config.elements, source.type_names, config.species)
        return cls(config, TargetBuilder(source, element_map), given_scales(config, element_map))

    def frames(self, structures: Sequence[Atoms], cutoff: float) -> Frames:
        """NequIP's form of structures, with neighbour lists of a cutoff in Å.

        Raises:
            ValueError: a structure holds an element that no type covers, or lacks a field that the model reads
        """
        types = self.config.type_names
        frames = to_frames(structures, types, self.config.species(types), self.target.source.embedded_fields)
        return [with_neighbors(frame, cutoff) for frame in frames]

    def calculator(self, energy_scale: float = 1.0) -> Calculator:
        """The target model for ASE, on a GPU if there is one.

        Args:
            energy_scale: α of all types

        Raises:
            ValueError: the model reads more of a structure than its geometry
        """
        if fields := self.target.source.embedded_fields:
            names = [field["field"] for field in fields]
            raise ValueError(f"the model reads {', '.join(names)} of each structure, which structures made here lack.")
        model, cutoff = self.target.model_at(self.scales)
        set_energies(model, energy_scale * self.target.start_scales, self.target.start_shifts)
        types = self.config.type_names
        species = dict(zip(self.config.species(types), types))
        transforms = [ChemicalSpeciesToAtomTypeMapper(types, species), NeighborListTransform(cutoff)]
        return NequIPCalculator(model, "cuda" if torch.cuda.is_available() else "cpu", transforms=transforms)


def unlabelled_config(
    source: str,
    elements: Mapping[str, Start],
    length_scale: Setting,
    chemical_species: Mapping[str, str] | None = None,
) -> TransferConfig:
    """The parsed key of a transfer that fits no length.

    Raises:
        ValueError: an entry cannot be, or λ is to be fitted
    """
    if length_scale == "fit":
        raise ValueError(
            "--length-scale fit needs labels: give λ as a number, covalent_radii or none; "
            "`nequip-elemtransfer plan` finds λ from the first labelled structures."
        )
    key = {"source": source, "elements": dict(elements), "length_scale": length_scale}
    return TransferConfig.from_mapping(key | {"chemical_species": dict(chemical_species or {})})


def given_scales(config: TransferConfig, element_map: ElementMap) -> np.ndarray:
    """λ of each target type, shape (n_types,); types that keep their name keep their lengths.

    Raises:
        ValueError: λ is asked from covalent radii, and a type has none
    """
    return lengths.per_type_scales(config.length_scale, element_map, element_map.kept)
