"""What a source gets wrong, what of it a transfer inherits, and both in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ase import Atoms

from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.plan.errors import milli_lines
from nequip_elemtransfer.plan.source_check.crystal import (
    BULK_MODULUS,
    ELASTIC,
    HIGHEST_PHONON,
    LATTICE_CONSTANT,
    LOWEST_PHONON,
    PROPERTY_UNITS,
    VACANCY_ENERGY,
    CrystalCheck,
    Property,
    check_crystal,
)
from nequip_elemtransfer.plan.source_check.group_errors import SourceErrors, evaluate, source_errors
from nequip_elemtransfer.source import SourceModel

# Relative errors above these are faults; of a frequency that should not be imaginary, THz.
TOLERANCES = {
    LATTICE_CONSTANT: 0.01,
    **dict.fromkeys((BULK_MODULUS, *ELASTIC), 0.2),
    VACANCY_ENERGY: 0.2,
    HIGHEST_PHONON: 0.1,
}
_IMAGINARY = -0.3

# A source that leaves more than this part of the variance of its own stresses was hardly trained on them.
_UNLEARNED = 0.3

# Structures with stresses from which labels can right a volume.
_ENOUGH_STRESSES = 3

# What mends a property: stresses, or structures that show it.
_SHOWN_BY = {
    **dict.fromkeys((BULK_MODULUS, *ELASTIC), "strained cells with stresses"),
    VACANCY_ENERGY: "vacancies",
    HIGHEST_PHONON: "displaced atoms in the crystal",
    LOWEST_PHONON: "displaced atoms in the crystal",
}


@dataclass(frozen=True)
class Fault:
    """Something the source gets wrong.

    Args:
        sentence: with its numbers, without a full stop
        mended_by_stresses: whether stresses in the target's labels can mend it
        shown_by: the structures that would show a training what is right; empty where stresses do
    """

    sentence: str
    mended_by_stresses: bool
    shown_by: str = ""


@dataclass(frozen=True)
class SourceCheck:
    """What is known of a source's own errors.

    Args:
        errors: on labelled structures; None without any
        crystal: properties; None if none was named
        faults: what is wrong, the gravest first
    """

    errors: SourceErrors | None
    crystal: CrystalCheck | None
    faults: list[Fault]


def check_source(
    model: SourceModel,
    species: Sequence[str],
    structures: Sequence[Atoms],
    crystal: Crystal | None,
    references: Mapping[str, float],
    task: str = "",
) -> SourceCheck | None:
    """Compare a source with labelled structures of its own elements and with a crystal; None if there is neither.

    Args:
        species: chemical symbol of each type of the source
        structures: labelled; empty if there are none
        crystal: at the lattice constant of the reference
        references: name -> value of its other properties
        task: name for a progress bar

    Raises:
        ValueError: if source, structures and crystal do not go together
    """
    if not structures and crystal is None:
        return None
    evaluated = evaluate(model, species, structures, task) if structures else None
    errors = None if evaluated is None else source_errors(evaluated)
    found = None if crystal is None else check_crystal(model, list(species), crystal, references, evaluated)
    return SourceCheck(errors, found, faults_of(errors, found))


def faults_of(errors: SourceErrors | None, crystal: CrystalCheck | None, who: str = "The source") -> list[Fault]:
    """What lies beyond the tolerances.

    Args:
        who: is at fault, the first words of the sentences
    """
    found = [fault for p in crystal.properties if (fault := _fault(p, crystal, who))] if crystal else []
    if crystal is not None and LATTICE_CONSTANT in crystal.failed:
        found.append(Fault(f"{who} has {crystal.failed[LATTICE_CONSTANT].rstrip('.')}", True))
    left = errors.unexplained.get("stress", 0.0) if errors else 0.0
    if left > _UNLEARNED:
        found.append(Fault(f"{who} leaves {left:.0%} of the variance of its own structures' stresses", True))
    return found


def inherited(faults: Sequence[Fault], kinds: Sequence[LabelKind], n_stresses: int) -> tuple[list[str], list[str]]:
    """What a transfer inherits, because the target's labels cannot mend it, and what they can.

    Args:
        kinds: of labels that the target has
        n_stresses: of its structures that have a stress
    """
    warnings, notes = [], []
    enough = "stress" in kinds and n_stresses >= _ENOUGH_STRESSES
    for fault in faults:
        if fault.shown_by:
            warnings.append(f"{fault.sentence}: a transfer inherits it, unless its structures show {fault.shown_by}.")
        elif enough:
            notes.append(f"{fault.sentence}: the stresses of {n_stresses} structures can mend it in training.")
        else:
            few = f"only {n_stresses} of the target's structures have stresses" if n_stresses else "no stresses"
            warnings.append(f"{fault.sentence}: a transfer inherits it, for there are {few} to mend it.")
    return warnings, notes


def _fault(found: Property, crystal: CrystalCheck, who: str) -> Fault | None:
    shown_by = _SHOWN_BY.get(found.name, "")
    name, unit = found.name.replace("_", " "), PROPERTY_UNITS[found.name]
    of = f"{who}'s {name} of {crystal.structure} {crystal.formula} is {found.value:.4g} {unit}"
    if found.name == LOWEST_PHONON:
        return Fault(f"{of}, so the crystal is unstable", False, shown_by) if found.value < _IMAGINARY else None
    against = {"the reference": found.reference, "what its data's stresses ask for": found.data}
    for whose, value in against.items():
        if value and abs(found.value / value - 1) > TOLERANCES[found.name]:
            off = f"{found.value / value - 1:+.1%} from {whose}, {value:.4g} {unit}"
            return Fault(f"{of}, {off}", not shown_by, shown_by)
    return None


def source_text(check: SourceCheck) -> str:
    """Errors by group and properties of the crystal, for the terminal; faults are left to the caller."""
    parts = [_groups(check.errors)] if check.errors else []
    return "\n\n".join([*parts, _crystal(check.crystal)] if check.crystal else parts)


def property_cells(found: Property) -> list[str]:
    """Name, unit, value, reference, what the data ask for, and the deviation from the first of these that there is."""
    reference = found.reference if found.reference is not None else found.data
    known = [found.value, found.reference, found.data]
    off = f"{found.value / reference - 1:+.1%}" if reference else "–"
    numbers = ["–" if value is None else f"{value:.4g}" for value in known]
    return [found.name.replace("_", " "), PROPERTY_UNITS[found.name], *numbers, off]


def _groups(errors: SourceErrors) -> str:
    rows = [
        [
            g.group,
            str(g.n_structures),
            *map(milli_lines, (g.force_mae, g.energy_mae, g.energy_mae_refitted, g.stress_mae)),
        ]
        for g in errors.groups
    ]
    header = ["source on its own", "structures", "force MAE", "energy MAE", "shifts refitted", "stress MAE"]
    units = ["", "", "meV/Å", "meV/atom", "meV/atom", "meV/Å³"]
    return table(header, [units, *rows], [False, *[True] * 5])


def _crystal(crystal: CrystalCheck) -> str:
    header = [f"{crystal.structure} {crystal.formula}", "unit", "source", "reference", "its data", "off by"]
    lines = [table(header, [property_cells(p) for p in crystal.properties], [False, False, *[True] * 4])]
    lines += [f"No {name.replace('_', ' ')}: {reason}" for name, reason in crystal.failed.items()]
    return "\n".join(lines)
