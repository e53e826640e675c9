"""Are the labelled structures enough, and are they clean? All that is counted, compared and found, and what to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from nequip_elemtransfer.plan.likeness.data_facts import (
    UNUSUAL,
    Composition,
    Coverage,
    ForceOutlier,
    IsolatedAtom,
    composition,
    coverage,
    force_outliers,
    isolated_energies,
    lone_atoms,
)
from nequip_elemtransfer.structures.copies import copies_in, duplicate_families
from nequip_elemtransfer.structures.environments import MAX_ENVIRONMENTS, descriptor_environments
from nequip_elemtransfer.structures.labels import energy_of, forces_of
from nequip_elemtransfer.structures.words import counted, listed

# Below this many force components for each fitted number, the fits are guesses.
_FEW = 30
_LISTED = 50


@dataclass(frozen=True)
class Finding:
    """One thing to know about the data.

    Args:
        subject: the part of :class:`Sufficiency` it is about
        level: ``note`` or ``caution``
        sentence: with its numbers
    """

    subject: str
    level: str
    sentence: str


@dataclass(frozen=True)
class Sufficiency:
    """What labelled structures can determine; ``dataclasses.asdict`` makes it plain data.

    Args:
        n_structures, n_atoms: in all
        n_periodic, n_molecular, n_partly_periodic: structures periodic in three directions, none, one or two
        n_with_energies, n_with_forces: structures that have finite ones
        n_force_components: labelled
        n_fitted: numbers that a transfer fits before training, λ and α to forces and μ to energies
        n_parameters: of the network, None if not told
        composition: what the energies say about the shifts
        coverage: None with fewer than three structures
        duplicates: groups of copies
        families: number of each structure's group of copies, its own if it has none
        force_outliers: the largest first, at most 50
        n_force_outliers: how many there are
        isolated_atoms: at most 50
        n_isolated_atoms: how many there are
        isolated_energies: mean energy of single atoms by species, eV: possible energy shifts
        findings: in words
    """

    n_structures: int
    n_atoms: int
    n_periodic: int
    n_molecular: int
    n_partly_periodic: int
    n_with_energies: int
    n_with_forces: int
    n_force_components: int
    n_fitted: dict[str, int]
    n_parameters: int | None
    composition: Composition
    coverage: Coverage | None
    duplicates: tuple[tuple[int, ...], ...]
    families: tuple[int, ...]
    force_outliers: tuple[ForceOutlier, ...]
    n_force_outliers: int
    isolated_atoms: tuple[IsolatedAtom, ...]
    n_isolated_atoms: int
    isolated_energies: dict[str, float]
    findings: tuple[Finding, ...] = ()


def assess(
    structures: Sequence[Atoms],
    cutoff: float,
    species: Sequence[str] | None = None,
    n_parameters: int | None = None,
    limit: int = MAX_ENVIRONMENTS,
) -> Sufficiency:
    """Count, compare and search labelled structures.

    Args:
        structures: with energies (eV) and forces (eV/Å) in their calculators, some or all
        cutoff: of the target model, Å
        species: chemical symbol of each target type; None for those found
        n_parameters: of the network
        limit: of environments for the coverage

    Raises:
        ValueError: if there are no structures, or one holds a species that is not among ``species``
        ModuleNotFoundError: without the libraries of the extra ``plan``
    """
    if not structures:
        raise ValueError("there are no structures to assess: give at least one.")
    periodic = np.array([int(atoms.pbc.sum()) for atoms in structures])
    forces = [forces_of(atoms) for atoms in structures]
    composed = composition(structures, species)
    families = duplicate_families(structures, cutoff)
    outliers, isolated = force_outliers(structures), lone_atoms(structures, cutoff)
    n_types = len(composed.counts)
    found = Sufficiency(
        n_structures=len(structures),
        n_atoms=sum(len(atoms) for atoms in structures),
        n_periodic=int((periodic == 3).sum()),
        n_molecular=int((periodic == 0).sum()),
        n_partly_periodic=int(((periodic > 0) & (periodic < 3)).sum()),
        n_with_energies=sum(energy_of(atoms) is not None for atoms in structures),
        n_with_forces=sum(f is not None for f in forces),
        n_force_components=sum(f.size for f in forces if f is not None),
        n_fitted={"length_scale": 1, "energy_scale": n_types, "energy_shifts": n_types},
        n_parameters=n_parameters,
        composition=composed,
        coverage=coverage(descriptor_environments(structures, cutoff, limit=limit), families),
        duplicates=copies_in(families),
        families=tuple(families),
        force_outliers=outliers,
        n_force_outliers=len(outliers),
        isolated_atoms=isolated,
        n_isolated_atoms=len(isolated),
        isolated_energies=isolated_energies(isolated),
    )
    return replace(
        found, findings=_findings(found), force_outliers=outliers[:_LISTED], isolated_atoms=isolated[:_LISTED]
    )


def _findings(facts: Sufficiency) -> tuple[Finding, ...]:
    """All of them, by subject."""
    parts = [_label_findings, _composition_findings, _kind_findings, _coverage_findings, _cleanness_findings]
    return tuple(finding for part in parts for finding in part(facts))


def _label_findings(facts: Sufficiency) -> list[Finding]:
    found, n = [], facts.n_structures
    for name, labelled in (("energies", facts.n_with_energies), ("forces", facts.n_with_forces)):
        if labelled < n:
            sentence = f"{_of(n - labelled, n, 'structure')} {'has' if n - labelled == 1 else 'have'} no {name}."
            found.append(Finding("labels", "caution", sentence))
    fitted = facts.n_fitted["length_scale"] + facts.n_fitted["energy_scale"]
    if facts.n_force_components:
        ratio = facts.n_force_components / fitted
        network = "" if facts.n_parameters is None else f"; the network has {facts.n_parameters} parameters"
        sentence = f"{facts.n_force_components} force components for {fitted} numbers fitted to them, λ and α{network}."
        found.append(Finding("labels", "caution" if ratio < _FEW else "note", sentence))
    return found


def _composition_findings(facts: Sufficiency) -> list[Finding]:
    composed, n_types = facts.composition, facts.n_fitted["energy_shifts"]
    if facts.n_with_energies == 0:
        return []  # said already, of the labels
    if not composed.directions:
        sentence = (
            f"The energies of {counted(facts.n_with_energies, 'structure')} determine the energy "
            f"shift{'s' if n_types > 1 else ''} of {', '.join(composed.counts)}."
        )
        return [Finding("composition", "note", sentence)]
    changes = "; ".join(_direction(direction) for direction in composed.directions)
    sentence = (
        f"The compositions have rank {composed.rank} for {n_types} energy shifts, so no energy changes with "
        f"{changes}: add structures of other compositions, or give the shifts."
    )
    return [Finding("composition", "caution", sentence)]


def _kind_findings(facts: Sufficiency) -> list[Finding]:
    kinds = {
        "periodic": facts.n_periodic,
        "partly periodic": facts.n_partly_periodic,
        "molecular": facts.n_molecular,
    }
    present = [f"{number} {name}" for name, number in kinds.items() if number]
    if len(present) < 2:
        return []
    sentence = (
        f"{', '.join(present[:-1])} and {present[-1]} structures are mixed: their energies must come from the same "
        "settings."
    )
    return [Finding("kinds", "caution", sentence)]


def _coverage_findings(facts: Sufficiency) -> list[Finding]:
    covered = facts.coverage
    if covered is None:
        independent = len(set(facts.families))
        sentence = (
            f"There {'is' if independent == 1 else 'are'} {counted(independent, 'independent structure')}, too few to "
            "ask whether they cover each other."
        )
        return [Finding("coverage", "caution", sentence)]
    alone = [row.structure for row in covered.structures if row.uncovered > 0.5]
    sentence = (
        f"{covered.uncovered:.1%} of {covered.n_environments} environments lie farther from every other structure than "
        f"99 % of neighbouring environments are apart"
    )
    if alone:
        sentence += f", and so does most of {counted(len(alone), 'structure')} ({listed(alone)})"
    many = len(alone) > 0.1 * facts.n_structures
    return [Finding("coverage", "caution" if many else "note", sentence + ".")]


def _cleanness_findings(facts: Sufficiency) -> list[Finding]:
    found = []
    if facts.duplicates:
        copies = sum(len(group) - 1 for group in facts.duplicates)
        sentence = (
            f"{_of(copies, facts.n_structures, 'structure')} {'is a copy' if copies == 1 else 'are copies'} of another "
            f"(for instance {listed(facts.duplicates[0])}): keep copies out of validation and test sets."
        )
        found.append(Finding("duplicates", "caution" if copies > 0.1 * facts.n_structures else "note", sentence))
    if facts.force_outliers:
        worst, n = facts.force_outliers[0], facts.n_force_outliers
        sentence = (
            f"{counted(n, 'force')} {'is' if n == 1 else 'are'} more than {UNUSUAL:.0f} robust standard deviations "
            f"above the median of the element, the worst {worst.force:.1f} eV/Å on {worst.species} (structure "
            f"{worst.structure}, atom {worst.atom}): look for atoms too close together, or a calculation that did not "
            "converge."
        )
        found.append(Finding("force outliers", "caution", sentence))
    if facts.isolated_energies:
        energies = ", ".join(f"{symbol} {energy:.4f} eV" for symbol, energy in facts.isolated_energies.items())
        sentence = f"Isolated atoms have energies that may serve as energy shifts: {energies}."
        found.append(Finding("isolated atoms", "note", sentence))
    if others := facts.n_isolated_atoms - sum(a.energy is not None for a in facts.isolated_atoms):
        first = next(a for a in facts.isolated_atoms if a.energy is None)
        sentence = (
            f"{counted(others, 'atom')} {'has' if others == 1 else 'have'} no neighbour inside the cutoff (for "
            f"instance atom {first.atom} of structure {first.structure}), where a model predicts nothing but the "
            "energy shift."
        )
        found.append(Finding("isolated atoms", "caution", sentence))
    return found


def _of(number: int, total: int, noun: str) -> str:
    return f"{number} of {counted(total, noun)}"


def _direction(direction: Mapping[str, float]) -> str:
    return " with ".join(f"{symbol} {change:+.3g}" for symbol, change in direction.items())
