"""What the user is told of a transfer and of a source, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from nequip_elemtransfer.element_map import start_text
from nequip_elemtransfer.refusal import printable
from nequip_elemtransfer.source import SourceModel


def receipt(provenance: Mapping[str, Any]) -> str:
    """The tensor table, λ, α, μ and the zero-shot errors of a transfer, for the log."""
    return "\n\n".join(
        [_headline(provenance), _tensors(provenance), _scales(provenance), _zero_shot(provenance)]
    )


def describe(source: SourceModel) -> str:
    """What a trained model offers as a source: its types, cutoff, options and history."""
    options = {name: value for name, value in source.architecture.items() if value is not None}
    title = printable(f"{source.path} (sha256 {source.sha256})")
    lines = [title, "", yaml.safe_dump(options, sort_keys=False).rstrip()]
    lines.append(f"\n{sum(t.numel() for t in source.build().parameters())} parameters")
    if source.provenance is not None:
        lines += ["", "made by a transfer:", "", receipt(source.provenance)]
    return "\n".join(lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Aligned columns, numbers to the right."""
    rows = [[printable(cell) for cell in row] for row in rows]  # they may come from a file
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _headline(provenance: Mapping) -> str:
    starts = "; ".join(f"{t} from {start_text(s)}" for t, s in provenance["elements"].items())
    source = f"source {provenance['source']} (sha256 {provenance['sha256'][:12]}...)"
    return f"Element transfer: {printable(starts)}\n{printable(source)}"


def _tensors(provenance: Mapping) -> str:
    rows = [[t["name"], str(tuple(t["shape"])), t["action"]] for t in provenance["tensors"]]
    return table(["tensor", "shape", "what was done"], rows, [False] * 3)


def _scales(provenance: Mapping) -> str:
    length, energy, shift = (provenance[k] for k in ("length_scale", "energy_scale", "energy_shifts"))
    rows = [
        [t, f"{length['per_type'][t]:.4f}", f"{energy['per_type'][t]:.4f}", f"{shift['per_type'][t]:.4f}"]
        for t in provenance["elements"]
    ]
    settings = ["", *(f"({_setting(s['setting'])})" for s in (length, energy, shift))]
    radii = length["r_max"]
    header = ["type", "length scale λ", "energy scale α", "energy shift μ (eV)"]
    notes = [f"cutoff radius {radii['source']:.4f} Å -> {radii['target']:.4f} Å"]
    if len(energy["common_to"]) > 1:
        notes.append(f"one α for {', '.join(energy['common_to'])}: the forces do not tell theirs apart")
    if shift["undetermined_types"]:
        notes.append(
            f"the compositions (rank {shift['rank']} of {len(shift['fitted_types'])}) do not determine the shifts of "
            f"{', '.join(shift['undetermined_types'])} one by one: theirs change as little as fits"
        )
    return "\n".join([table(header, [settings, *rows], [False] + [True] * 3), *map(printable, notes)])


def _setting(setting: Any) -> str:
    return setting if isinstance(setting, str) else "given"


def _zero_shot(provenance: Mapping) -> str:
    rows = [
        [
            row["step"],
            _milli(row["force_mae"]),
            _milli(row["force_rmse"]),
            _milli(row["energy_mae"]),
            _milli(row["energy_mae_refitted"]),
        ]
        for row in provenance["zero_shot"]
    ]
    header = ["initialisation", "force MAE", "force RMSE", "energy MAE", "energy MAE, shifts refitted"]
    units = ["", "meV/Å", "meV/Å", "meV/atom", "meV/atom"]
    title = f"Errors on the {provenance['n_frames']} training structures before any training:\n"
    return title + table(header, [units, *rows], [False] + [True] * 4)


def _milli(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f}"
