"""What the user is told of a transfer and of a source, as text."""

from collections.abc import Mapping
from typing import Any

import yaml

from nequip_elemtransfer.element_map import start_text
from nequip_elemtransfer.length_choice import NOTABLE_DISAGREEMENT
from nequip_elemtransfer.output.table import printable, table, with_error
from nequip_elemtransfer.source import SourceModel


def receipt(provenance: Mapping[str, Any]) -> str:
    """The tensor table, λ, α, μ and the zero-shot errors of a transfer, for the log."""
    return "\n\n".join([_headline(provenance), _tensors(provenance), _scales(provenance), _zero_shot(provenance)])


def describe_source(source: SourceModel) -> str:
    """What a trained model offers as a source: its types, cutoff, options and history."""
    options = {name: value for name, value in source.architecture.items() if value is not None}
    title = printable(f"{source.path} (sha256 {source.sha256})")
    lines = [title, "", yaml.safe_dump(options, sort_keys=False).rstrip()]
    lines.append(f"\n{sum(t.numel() for t in source.build().parameters())} parameters")
    if source.provenance is not None:
        lines += ["", "made by a transfer:", "", receipt(source.provenance)]
    return "\n".join(lines)


def _headline(provenance: Mapping) -> str:
    starts = "; ".join(f"{t} from {start_text(s)}" for t, s in provenance["elements"].items())
    source = f"source {provenance['source']} (sha256 {provenance['sha256'][:12]}...)"
    return f"Element transfer: {printable(starts)}\n{printable(source)}"


def _tensors(provenance: Mapping) -> str:
    rows = [[t["name"], str(tuple(t["shape"])), t["action"]] for t in provenance["tensors"]]
    return table(["tensor", "shape", "what was done"], rows, [False] * 3)


def _scales(provenance: Mapping) -> str:
    length, energy, shift = (provenance[k] for k in ("length_scale", "energy_scale", "energy_shifts"))
    fits = (length, energy, shift)
    rows = [
        [t, *(with_error(found["per_type"][t], found.get("errors", {}).get(t, 0.0)) for found in fits)]
        for t in provenance["elements"]
    ]
    settings = ["", *(f"({_setting(found['setting'])})" for found in fits)]
    header = ["type", "length scale λ", "energy scale α", "energy shift μ (eV)"]
    notes = [*_length_notes(provenance), *_energy_notes(provenance), *_label_notes(provenance)]
    return "\n".join([table(header, [settings, *rows], [False] + [True] * 3), *notes])


def _length_notes(provenance: Mapping) -> list[str]:
    """The cutoffs, what decided a fitted λ, and where labels and covalent radii disagree."""
    length = provenance["length_scale"]
    radii, by_kind = length["r_max"], length.get("by_kind") or {}
    notes = [f"cutoff radius {radii['source']:.4f} Å -> {radii['target']:.4f} Å"]
    decided_by = length.get("decided_by", "given")
    if decided_by in ("covalent radii", "nothing"):
        notes.append(
            "the labels do not tell one length scale from another, so λ is "
            + ("that of the covalent radii" if decided_by == "covalent radii" else "1")
        )
    for t in provenance["elements"]:
        asked = {kind: scales[t] for kind, scales in by_kind.items() if scales[t] != 1.0}
        if asked:
            notes.append(f"λ of {t} by " + ", ".join(f"{kind} alone {scale:.3f}" for kind, scale in asked.items()))
        guess = (length.get("covalent_radii") or {}).get(t)
        if decided_by == "labels" and guess and abs(length["per_type"][t] / guess - 1) > NOTABLE_DISAGREEMENT:
            notes.append(
                f"covalent radii would say {guess:.3f} for {t}, {abs(length['per_type'][t] / guess - 1):.1%} from what "
                "the labels ask for: the labels are followed"
            )
    return notes


def _energy_notes(provenance: Mapping) -> list[str]:
    """What the labels did not tell apart, and what was done with a pair potential."""
    energy, shift = provenance["energy_scale"], provenance["energy_shifts"]
    notes = []
    if len(energy["common_to"]) > 1:
        notes.append(f"one α for {', '.join(energy['common_to'])}: the labels do not tell theirs apart")
    if shift["undetermined_types"]:
        notes.append(
            f"the compositions (rank {shift['rank']} of {len(shift['fitted_types'])}) do not determine the shifts of "
            f"{', '.join(shift['undetermined_types'])} one by one: theirs change as little as fits"
        )
    if (potential := provenance.get("pair_potential")) is not None:
        notes.append(
            f"pair potential {potential}: neither λ nor α scales it, but its envelope ends at the target's cutoff; "
            "what is fitted of λ, α and μ is fitted to the labels less it"
        )
        if provenance["length_scale"].get("decided_by") in ("given", "covalent radii"):
            notes.append(
                "λ was not fitted: beside a pair potential it is that of the network alone, which ratios of lattice "
                "constants and of radii are not"
            )
    return notes


def _label_notes(provenance: Mapping) -> list[str]:
    """What the fits left out."""
    missing = [f"{n} without {kind}" for kind, n in provenance.get("missing_labels", {}).items() if n]
    notes = [f"of {provenance['n_frames']} structures, {', '.join(missing)}"] if missing else []
    if isolated := provenance.get("isolated_atoms"):
        numbers = ", ".join(map(str, isolated))
        notes.append(f"isolated atoms, which say nothing of bonds, are left out of the fits: structure {numbers}")
    return notes


def _setting(setting: Any) -> str:
    return setting if isinstance(setting, str) else "given"


def _zero_shot(provenance: Mapping) -> str:
    columns = {
        "force MAE": ("force_mae", "meV/Å"),
        "force RMSE": ("force_rmse", "meV/Å"),
        "energy MAE": ("energy_mae", "meV/atom"),
        "energy MAE, shifts refitted": ("energy_mae_refitted", "meV/atom"),
        "stress MAE": ("stress_mae", "meV/Å³"),
    }
    rows = [[row["step"], *(_milli(row.get(name)) for name, _ in columns.values())] for row in provenance["zero_shot"]]
    units = ["", *(unit for _, unit in columns.values())]
    title = f"Errors on the {provenance['n_frames']} training structures before any training:\n"
    return title + table(["initialisation", *columns], [units, *rows], [False] + [True] * len(columns))


def _milli(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f}"
