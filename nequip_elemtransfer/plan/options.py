"""What a plan is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nequip_elemtransfer.config import TypeStart
from nequip_elemtransfer.structures.options import DataOptions
from nequip_elemtransfer.transfer.structures import MAX_SEARCH_FRAMES


@dataclass(frozen=True)
class PlanOptions:
    """What a plan is asked besides the source and the structures.

    Args:
        elements: target type -> start, as in the key; types that are left out get a proposal
        chemical_species: chemical symbol of types that are not named after their element
        kept_types: ``frozen`` or ``fit``, as in the key
        source_data: structures the source was trained on; a checkpoint's own training file if left out
        crystal: of the source's elements, as ``diamond:Si:5.43``, whose properties are compared with references
        references: name -> value of properties of the crystal beside its lattice constant
        lattice_ratio: of the target's to the source's lattice constant, to mark it among the λ
        compare: name -> YAML file of an ASE calculator, whose errors and cost are set beside the start's
        max_structures: evenly spaced, that are run through the model; by default those that the key searches λ on
        held_back: structures that the training sets aside to validate on; None for :func:`.n_validation`
        seed: of the folds
        data: how the files of structures are to be read
        progress: show progress bars

    Raises:
        ValueError: if a number is out of range
    """

    elements: Mapping[str, TypeStart] = field(default_factory=dict)
    chemical_species: Mapping[str, str] = field(default_factory=dict)
    kept_types: str = "frozen"
    source_data: str | Path | None = None
    crystal: str | None = None
    references: Mapping[str, float] = field(default_factory=dict)
    lattice_ratio: float | None = None
    compare: Mapping[str, str | Path] = field(default_factory=dict)
    max_structures: int = MAX_SEARCH_FRAMES
    held_back: int | None = None
    seed: int = 0
    data: DataOptions = field(default_factory=DataOptions)
    progress: bool = False

    def __post_init__(self) -> None:
        if self.max_structures < 1:
            raise ValueError(f"max_structures must be at least 1, found {self.max_structures}.")
        if self.lattice_ratio is not None and not 0 < self.lattice_ratio < np.inf:
            raise ValueError(f"lattice_ratio must be positive, found {self.lattice_ratio}.")
