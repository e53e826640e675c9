"""The plan itself: from a source model and labelled structures of the target to everything the report says."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nequip_elemtransfer.config import Start
from nequip_elemtransfer.materials.crystal import parse_crystal
from nequip_elemtransfer.plan.compared import named_calculators
from nequip_elemtransfer.plan.outcome import Plan
from nequip_elemtransfer.plan.planner import MAX_STRUCTURES, Planner
from nequip_elemtransfer.plan.source_check.crystal import check_references
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.files import read_structures


def plan(
    source: str,
    data: str | Path,
    *,
    elements: Mapping[str, Start] | None = None,
    chemical_species: Mapping[str, str] | None = None,
    source_data: str | Path | None = None,
    crystal: str | None = None,
    references: Mapping[str, float] | None = None,
    lattice_ratio: float | None = None,
    compare: Mapping[str, str | Path] | None = None,
    max_structures: int = MAX_STRUCTURES,
    seed: int = 0,
    progress: bool = False,
) -> Plan:
    """Find out what a transfer will do, before any training.

    Args:
        source: ``.ckpt`` or ``.nequip.zip`` file, or ``nequip.net:group/model:version``
        data: labelled structures of the target, any format of ASE
        elements: target type -> start, as in the key; types that are left out get a proposal
        chemical_species: chemical symbol of types that are not named after their element
        source_data: structures the source was trained on; a checkpoint's own training file if left out
        crystal: of the source's elements, as ``diamond:Si:5.43``, whose properties are compared with references
        references: name -> value of properties of the crystal beside its lattice constant
        lattice_ratio: of the target's to the source's lattice constant, to mark it among the λ
        compare: name -> YAML file of an ASE calculator, whose errors and cost are set beside the start's
        max_structures: evenly spaced, that are run through the model
        seed: of the folds
        progress: show progress bars

    Raises:
        FileNotFoundError: if a file is missing
        ValueError: if source, data, elements and calculators do not go together
        UnusableStructure, NoLabels, WrongUnit: naming a structure that is damaged, or what is wrong with the labels
        ModuleNotFoundError: naming the extra, if scikit-learn or the descriptor library is not installed
    """
    if max_structures < 1:
        raise ValueError(f"max_structures must be at least 1, found {max_structures}.")
    if lattice_ratio is not None and not 0 < lattice_ratio < np.inf:
        raise ValueError(f"lattice_ratio must be positive, found {lattice_ratio}.")
    named = None if crystal is None else parse_crystal(crystal)
    check_references(references or {}, named)
    planner = Planner(
        model=load_source(source),
        structures=read_structures(data),
        elements=dict(elements or {}),
        chemical_species=dict(chemical_species or {}),
        source_data=source_data,
        crystal=named,
        references=dict(references or {}),
        lattice_ratio=lattice_ratio,
        calculators=named_calculators(compare or {}),
        max_structures=max_structures,
        seed=seed,
        progress=progress,
    )
    return planner.plan(str(data))
