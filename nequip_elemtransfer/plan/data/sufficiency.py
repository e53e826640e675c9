"""Are the labelled structures enough, and are they clean? Everything that is counted, compared and found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from nequip_elemtransfer.plan.data.counts import composition
from nequip_elemtransfer.plan.data.coverage import coverage
from nequip_elemtransfer.plan.data.findings import Facts, Finding, findings_of
from nequip_elemtransfer.plan.data.outliers import force_outliers, isolated_energies, lone_atoms
from nequip_elemtransfer.structures.copies import copies_in, duplicate_families
from nequip_elemtransfer.structures.environments import MAX_ENVIRONMENTS, descriptor_environments
from nequip_elemtransfer.structures.labels import energy_of, forces_of

_LISTED = 50


@dataclass(frozen=True)
class Sufficiency(Facts):
    """What labelled structures can determine; ``dataclasses.asdict`` makes it plain data.

    Args:
        findings: in words
    """

    findings: tuple[Finding, ...]


def assess(
    structures: Sequence[Atoms],
    cutoff: float,
    species: Sequence[str] | None = None,
    n_parameters: int | None = None,
    limit: int = MAX_ENVIRONMENTS,
    task: str = "",
) -> Sufficiency:
    """Count, compare and search labelled structures.

    Args:
        structures: with energies (eV) and forces (eV/Å) in their calculators, some or all
        cutoff: of the target model, Å
        species: chemical symbol of each target type; None for those found
        n_parameters: of the network
        limit: of environments for the coverage
        task: what a progress bar calls it; no bar if empty

    Raises:
        ValueError: if there are no structures, or one holds a species that is not among ``species``
        ModuleNotFoundError: without the libraries of the extra ``plan``
    """
    if not structures:
        raise ValueError("there are no structures to assess: give at least one.")
    periodic = np.array([int(atoms.pbc.sum()) for atoms in structures])
    forces = [forces_of(atoms) for atoms in structures]
    composed = composition(structures, species)
    families = duplicate_families(structures, cutoff, task)
    outliers, isolated = force_outliers(structures), lone_atoms(structures, cutoff)
    n_types = len(composed.counts)
    facts = {
        "n_structures": len(structures),
        "n_atoms": sum(len(atoms) for atoms in structures),
        "n_periodic": int((periodic == 3).sum()),
        "n_molecular": int((periodic == 0).sum()),
        "n_partly_periodic": int(((periodic > 0) & (periodic < 3)).sum()),
        "n_with_energies": sum(energy_of(atoms) is not None for atoms in structures),
        "n_with_forces": sum(f is not None for f in forces),
        "n_force_components": sum(f.size for f in forces if f is not None),
        "n_fitted": {"length_scale": 1, "energy_scale": n_types, "energy_shifts": n_types},
        "n_parameters": n_parameters,
        "composition": composed,
        "coverage": coverage(descriptor_environments(structures, cutoff, limit=limit, task=task), families),
        "duplicates": copies_in(families),
        "families": tuple(families),
        "force_outliers": outliers,
        "n_force_outliers": len(outliers),
        "isolated_atoms": isolated,
        "n_isolated_atoms": len(isolated),
        "isolated_energies": isolated_energies(isolated),
    }
    found = Sufficiency(**facts, findings=())
    return replace(
        found, findings=findings_of(found), force_outliers=outliers[:_LISTED], isolated_atoms=isolated[:_LISTED]
    )
