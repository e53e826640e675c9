"""The start of a training: element map, λ, α and μ, given by the key or fitted to labelled structures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.architecture.builders import set_energies
from nequip_elemtransfer.config import Setting, TransferConfig, TypeStart
from nequip_elemtransfer.energies import choice as energies
from nequip_elemtransfer.energies.contributions import Frames, NetworkParts
from nequip_elemtransfer.energies.fit import EnergyScaleFit, EnergyShiftFit
from nequip_elemtransfer.lengths.choice import LengthChoice, choice, given_lengths, guessed_lengths, longest_lengths
from nequip_elemtransfer.lengths.search import COARSE_FACTORS, LengthSearch
from nequip_elemtransfer.mapping.element_map import ElementMap
from nequip_elemtransfer.source import SourceModel
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.structures.frames import with_neighbors
from nequip_elemtransfer.structures.labels import Labels, labels_of
from nequip_elemtransfer.transfer.structures import MAX_SEARCH_FRAMES, TargetStructures
from nequip_elemtransfer.transfer.target import TargetBuilder


class Start:
    """The target model before any training; each part is computed when it is first asked for.

    Args:
        config: the parsed key
        target: builds models of the target types
        structures: that λ, α and μ are fitted to, as far as the key does not give them
    """

    def __init__(self, config: TransferConfig, target: TargetBuilder, structures: TargetStructures) -> None:
        self.config, self.target, self.structures = config, target, structures
        self.frozen = frozen_types(config, target.element_map)

    @classmethod
    def of(
        cls,
        config: TransferConfig,
        source: SourceModel,
        load: Callable[[float], Frames] | None = None,
        device: torch.device | str = "cpu",
        most_searched: int = MAX_SEARCH_FRAMES,
    ) -> "Start":
        """The start that a key asks for.

        Args:
            load: gives the labelled structures, see :class:`.structures.TargetStructures`; None if nothing is fitted
            device: where the fits run the model
            most_searched: structures among which λ is searched

        Raises:
            ValueError: the key does not go with the source
        """
        element_map = ElementMap.from_elements(config.elements, source.type_names, config.species)
        target = TargetBuilder(source, element_map, config.compile_mode, device)
        reach = partial(_reach, config, target)
        return cls(config, target, TargetStructures(load or _no_structures, reach, target, most_searched))

    def remapped(self, elements: Mapping[str, TypeStart]) -> "Start":
        """Another element map of the same types on the same structures and labels; its λ, α and μ are found anew."""
        source_types = self.target.source.type_names
        element_map = ElementMap.from_elements(elements, source_types, self.config.species)
        config = replace(self.config, elements=dict(elements))
        return Start(config, self.target.retargeted(element_map), self.structures)

    @cached_property
    def search(self) -> LengthSearch:
        """The start at many λ, on the structures among which λ is searched."""
        frames, labels = self.structures.searched()
        guess = guessed_lengths(self.target.element_map, self.frozen)
        parts_at = partial(self.target.parts_at, frames=frames)
        return LengthSearch(parts_at, labels, guess, self.frozen, self.config.fit_weights)

    @property
    def searchable(self) -> bool:
        """Whether there is a λ to be found: labels to go by, and a type that is not frozen."""
        return bool(not self.frozen.all() and self.structures.searched()[1].kinds)

    def scan(self, coarse: np.ndarray = COARSE_FACTORS, task: str = "") -> None:
        """Evaluate the start over a range of λ, if there is one to be found; see :meth:`.LengthSearch.scan`."""
        if self.searchable:
            self.search.scan(coarse, task)

    @cached_property
    def lengths(self) -> LengthChoice:
        """λ of each target type, and what decided it; a fit scans the range unless that is done."""
        if self.config.length_scale != "fit":
            return given_lengths(self.config, self.target.element_map, self.frozen)
        if not len(self.search.factors):
            self.scan()
        return choice(self.search, self.target.element_map)

    @property
    def scales(self) -> np.ndarray:
        """λ of each target type, shape (n_types,)."""
        return self.lengths.scales

    def energy_scales(self, parts: NetworkParts, labels: Labels) -> EnergyScaleFit:
        """α of each target type, given or fitted to predictions and labels of any structures.

        Raises:
            NoResemblance, ValueError: see :func:`.energies.energy_scales`; or no structure has bonds
        """
        if self.config.energy_scale == "fit" and not labels.kinds:
            self.structures.require_bonds()
        return energies.energy_scales(self.config, parts, labels, self.frozen)

    def energy_shifts(self, parts: NetworkParts, labels: Labels, alpha: np.ndarray) -> EnergyShiftFit:
        """μ of each target type, given, fitted to predictions and labels of any structures, or of isolated atoms.

        Args:
            alpha: energy scales, shape (n_types,)

        Raises:
            ValueError: see :func:`.energies.energy_shifts`
        """
        config, start = self.config, self.target.start_shifts
        references = config.isolated_atom_energies
        if references is None:
            return energies.energy_shifts(config, parts, labels, alpha, start, self.frozen)
        if not references:
            found, counts = labels_of(self.structures.frames).energies, self.structures.counts
            references = energies.references_in(found, counts, self.structures.isolated, config.type_names)
        alone = self.target.parts_at(self.scales, energies.isolated_frames(len(alpha)))
        predicted = alone.predicted(alpha, np.zeros(len(alpha)))
        return energies.shifts_of_isolated_atoms(config, references, predicted, start, self.frozen)

    def frames(self, structures: Sequence[Atoms], cutoff: float) -> Frames:
        """NequIP's form of structures, with neighbour lists of a cutoff in Å.

        Raises:
            ValueError: a structure holds an element that no type covers, or lacks a field that the model reads
        """
        types = self.config.type_names
        frames = to_frames(structures, types, self.config.species(types), self.target.source.embedded_fields)
        return [with_neighbors(frame, cutoff) for frame in frames]

    def calculator(self, energy_scale: float = 1.0) -> Calculator:
        """The target model for ASE at λ and the source's energy shifts, on a GPU if there is one.

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


def frozen_types(config: TransferConfig, element_map: ElementMap) -> np.ndarray:
    """Types whose lengths and energies stay as they are in the source, shape (n_types,)."""
    return element_map.kept & (config.kept_types == "frozen")


def given_scales(config: TransferConfig, element_map: ElementMap) -> np.ndarray:
    """λ of each target type for any ``length_scale`` but ``fit``, before there is a model, shape (n_types,).

    Raises:
        ValueError: λ is asked from covalent radii, and a type has none
    """
    return given_lengths(config, element_map, frozen_types(config, element_map)).scales


def unlabelled_config(
    source: str,
    elements: Mapping[str, TypeStart],
    length_scale: Setting = "covalent_radii",
    chemical_species: Mapping[str, str] | None = None,
) -> TransferConfig:
    """The parsed key of a start before there are labels: nothing is fitted.

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


def _reach(config: TransferConfig, target: TargetBuilder) -> float:
    """The longest cutoff in Å that the target may get; where λ is fitted, the longest that the search may ask for."""
    frozen = frozen_types(config, target.element_map)
    return target.longest_cutoff(longest_lengths(config, target.element_map, frozen))


def _no_structures(r_max: float) -> Frames:
    raise ValueError("this start has no labelled structures to be fitted to.")
