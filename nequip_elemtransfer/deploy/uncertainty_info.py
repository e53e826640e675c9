"""What a deployed file says of its uncertainty, and the lines by which LAMMPS reads it."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from nequip_elemtransfer.output.refusal import RefusedFile, shortened
from nequip_elemtransfer.uncertainty.module import GRADE_KEY, UNCERTAINTY_KEY

_NUMBERS = (
    "scale",
    "largest",
    "features",
    "training_structures",
    "training_atoms",
    "calibration_structures",
    "components",
)
_TEXTS = ("calibrated_on", "module")

# grade above which the lines end a run; above 1 atoms are written to a file
STOP_ABOVE = 2.0


def check_uncertainty(uncertainty: Any) -> None:
    """Refuse what is not what a file of ours says.

    Raises:
        RefusedFile: with the entry
    """
    if uncertainty is None:
        return
    if not isinstance(uncertainty, Mapping):
        raise RefusedFile(f"its uncertainty is {shortened(uncertainty)}, which has no entries.")
    coverage = uncertainty.get("coverage")
    parts = coverage if isinstance(coverage, list) and len(coverage) == 2 else [coverage]
    numbers = [(name, uncertainty.get(name)) for name in _NUMBERS] + [("coverage", part) for part in parts]
    for name, value in numbers:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not (isfinite(value) and value >= 0):
            raise RefusedFile(f"its uncertainty.{name} is {shortened(value)}, which is no number from 0 on.")
    for name in _TEXTS:
        if not isinstance(uncertainty.get(name), str):
            raise RefusedFile(f"its uncertainty.{name} is {shortened(uncertainty.get(name))}, which is no text.")


def uncertainty_rows(info: Mapping[str, Any]) -> list[list[Any]]:
    """Name and value of what ``info`` prints."""
    found = info["uncertainty"]
    if found is None:
        return []
    one, two = (f"{100 * part:.0f} %" for part in found["coverage"])
    return [
        ["uncertainty", f"{UNCERTAINTY_KEY} {GRADE_KEY}, by code of {found['module']} in the file"],
        ["  grade 1 is", f"{found['largest']:.3g} eV/Å, the largest of {found['training_atoms']:.0f} training atoms"],
        ["  calibrated on", f"{found['calibrated_on']}: {one} of the errors within 1σ, {two} within 2σ"],
    ]


def grade_lines(info: Mapping[str, Any]) -> list[str]:
    """LAMMPS's lines that read the grade of each atom and the largest, after the pair style; none for a plain file."""
    if info["uncertainty"] is None:
        return []
    return [
        f"compute       grade all {info['pair_style']}/atom {GRADE_KEY} 1 0",
        "compute       worst all reduce max c_grade",
    ]


def watch_lines(info: Mapping[str, Any], dump: str) -> list[str]:
    """LAMMPS's lines that write atoms above grade 1 and end a run that goes on far beyond; none for a plain file.

    Args:
        dump: name of the file for those atoms, as one word
    """
    if info["uncertainty"] is None:
        return []
    return [
        f"dump          unknown all custom 100 {dump} id type x y z c_grade",
        "dump_modify   unknown thresh c_grade > 1 sort id",
        "variable      worst equal c_worst",
        f"fix           known all halt 1 v_worst > {STOP_ABOVE:g} error soft    # 1 where nothing new may be met",
    ]


def thermo_columns(info: Mapping[str, Any]) -> Sequence[str]:
    """What of it LAMMPS prints."""
    return () if info["uncertainty"] is None else ("c_worst",)
