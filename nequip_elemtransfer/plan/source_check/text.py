"""A source check as tables."""

from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.plan.errors import milli_text
from nequip_elemtransfer.plan.source_check.check import SourceCheck
from nequip_elemtransfer.plan.source_check.crystal import PROPERTY_UNITS, Property


def source_text(check: SourceCheck) -> str:
    """Errors by group and properties of the crystal, for the terminal; faults are left to the caller."""
    parts = []
    if check.errors is not None:
        parts.append(_groups(check))
    if check.crystal is not None:
        parts.append(_crystal(check))
    return "\n\n".join(parts)


def property_cells(found: Property) -> list[str]:
    """Name, unit, value, reference, what the data ask for, and the deviation from the first of these that there is."""
    reference = found.reference if found.reference is not None else found.data
    known = [found.value, found.reference, found.data]
    off = f"{found.value / reference - 1:+.1%}" if reference else "–"
    numbers = ["–" if value is None else f"{value:.4g}" for value in known]
    return [found.name.replace("_", " "), PROPERTY_UNITS[found.name], *numbers, off]


def _groups(check: SourceCheck) -> str:
    rows = [
        [
            g.group,
            str(g.n_structures),
            *map(milli_text, (g.force_mae, g.energy_mae, g.energy_mae_refitted, g.stress_mae)),
        ]
        for g in check.errors.groups
    ]
    header = ["source on its own", "structures", "force MAE", "energy MAE", "energy MAE, shifts refitted", "stress MAE"]
    units = ["", "", "meV/Å", "meV/atom", "meV/atom", "meV/Å³"]
    return table(header, [units, *rows], [False, *[True] * 5])


def _crystal(check: SourceCheck) -> str:
    crystal = check.crystal
    header = [f"{crystal.structure} {crystal.formula}", "unit", "source", "reference", "its data", "off by"]
    lines = [table(header, [property_cells(p) for p in crystal.properties], [False, False, *[True] * 4])]
    lines += [f"No {name.replace('_', ' ')}: {reason}" for name, reason in crystal.failed.items()]
    return "\n".join(lines)
