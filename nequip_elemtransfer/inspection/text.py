"""A model that was looked at, as text of at most 80 columns."""

import textwrap

from nequip_elemtransfer.inspection.look import Look, Measured
from nequip_elemtransfer.output.table import printable, table
from nequip_elemtransfer.plan.errors import Estimate
from nequip_elemtransfer.plan.source_check.check import property_cells
from nequip_elemtransfer.plan.source_check.group_errors import EVERY, GroupErrors

COLUMNS = 80

# of each column: heading, unit, field of a group's errors
_ERRORS = (
    ("forces", "meV/Å", "force_mae"),
    ("energies", "meV/atom", "energy_mae"),
    ("refitted", "meV/atom", "energy_mae_refitted"),
    ("stresses", "meV/Å³", "stress_mae"),
)


def look_text(look: Look) -> str:
    """The model and its card, errors by kind of structure with the start's below them, the crystal, and warnings.

    Where nothing was measured, the model stands with all its options and, if it comes from a transfer, its receipt.
    """
    measured = look.now.errors is not None or look.now.crystal is not None
    parts = [_title(look) if measured else look.model.describe()]
    if look.card is not None:
        parts.append(look.card.text())
    parts += [wrapped(sentence) for sentence in look.said]
    if look.now.errors is not None:
        parts.append(_errors(look.now, look.start))
        parts.append(
            wrapped(
                "MAE; brackets: 95 % interval over structures. Refitted: energies with the shift of each type "
                "fitted to these structures."
            )
        )
    if look.now.crystal is not None:
        parts.append(_crystal(look))
    if look.no_start:
        parts.append(wrapped(f"The start is not shown beside it: {look.no_start}"))
        parts.append(recorded_start(look))
    parts += [wrapped(f"Warning: {fault.sentence}.") for fault in look.check.faults]
    return "\n\n".join(part for part in parts if part)


def _title(look: Look) -> str:
    """What the model is."""
    model, n = look.model, sum(tensor.numel() for tensor in look.model.build().parameters())
    return "\n".join(
        [
            printable(f"{look.file} (sha256 {model.sha256[:12]}...)"),
            wrapped(f"types {', '.join(model.type_names)}; cutoff {model.r_max:.4g} Å; {n} parameters"),
        ]
    )


def wrapped(sentence: str) -> str:
    """Lines of at most 80 columns."""
    return textwrap.fill(sentence, COLUMNS, break_long_words=False, break_on_hyphens=False)


def recorded_start(look: Look) -> str:
    """What the record says of the start, on the structures that it was fitted to."""
    if look.record is None or not look.record.zero_shot:
        return ""
    last = look.record.zero_shot[-1]
    values = {
        "forces MAE": (last.force_mae, "meV/Å"),
        "energy MAE": (last.energy_mae, "meV/atom"),
        "stress MAE": (last.stress_mae, "meV/Å³"),
    }
    told = ", ".join(f"{name} {1000 * v:.1f} {unit}" for name, (v, unit) in values.items() if v is not None)
    return wrapped(f"Its record has the start's errors on the {look.record.n_frames} training structures: {told}.")


def crystal_rows(look: Look) -> list[list[str]]:
    """Of each property its name, unit, value, the start's value, reference, what the data ask for, and deviation."""
    start = look.start.crystal if look.start is not None else None
    starts = {} if start is None else {found.name: f"{found.value:.4g}" for found in start.properties}
    rows = []
    for found in look.now.crystal.properties if look.now.crystal else ():
        name, unit, value, *others = property_cells(found)
        rows.append([name, unit, value, starts.get(found.name, "–"), *others])
    return rows


def crystal_failures(look: Look) -> list[str]:
    """Sentences on properties that could not be computed."""
    both = {"The model": look.now.crystal, "Its start": look.start.crystal if look.start else None}
    return [
        f"{who} has no {name.replace('_', ' ')}: {reason}"
        for who, crystal in both.items()
        for name, reason in (crystal.failed if crystal else {}).items()
    ]


def _crystal(look: Look) -> str:
    crystal, rows = look.now.crystal, crystal_rows(look)
    header = [f"{crystal.structure} {crystal.formula}" if crystal else "", "unit"]
    header += ["model", "its start", "reference", "its data", "off by"]
    lines = [table(header, rows, [False, False, *[True] * 5])] if rows else []
    return "\n".join([*lines, *map(wrapped, crystal_failures(look))])


def _errors(now: Measured, start: Measured | None) -> str:
    """Errors by group; those of the start below, and intervals where they are of all."""
    starts = {} if start is None or start.errors is None else {g.group: g for g in start.errors.groups}
    rows = []
    for group in now.errors.groups if now.errors else ():
        rows.append([group.group, str(group.n_structures), *(_milli(e) for e in _of(group))])
        if group.group == EVERY:
            rows.append(["", "", *(_interval(e) for e in _of(group))])
        if group.group in starts:
            rows.append(["  its start", "", *(_milli(e) for e in _of(starts[group.group]))])
    header = ["structures", "", *(name for name, _, _ in _ERRORS)]
    units = ["", "", *(unit for _, unit, _ in _ERRORS)]
    return table(header, [units, *rows], [False, *[True] * 5])


def _of(group: GroupErrors) -> list[Estimate | None]:
    return [getattr(group, name) for _, _, name in _ERRORS]


def _milli(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{1000 * estimate.value:.1f}"


def _interval(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"[{1000 * estimate.low:.1f}, {1000 * estimate.high:.1f}]"
