"""Files of other programs that ASE reads no structures from: what they are, and by what they are converted."""

from collections.abc import Callable
from pathlib import Path

_PICKLES = (".pkl", ".pckl", ".pickle", ".pckl.gzip", ".pckl.gz", ".pkl.gz", ".pkl.gzip")
_PEEK = 4096  # characters of a file that tell what it is


def _dpdata(form: str) -> str:
    """The line that converts with dpdata."""
    return (
        f"dpdata converts it, `ase.io.write('all.xyz', dpdata.LabeledSystem(PATH, fmt='{form}').to('ase/structure'))`"
    )


def _begins(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_PEEK)
    except OSError:
        return ""


def _is_fitsnap(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    text = _begins(path)
    start = text.find("{")
    return start >= 0 and '"Dataset"' in text[start:]


def _is_deepmd_npy(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".npy" and path.parent.name.startswith("set.")
    return (path / "type.raw").is_file() and any(path.glob("set.*")) or any(path.glob("*/type.raw"))


_WRITE = "and write extended XYZ with `ase.io.write`"
_LABELLED = "in an `ase.calculators.singlepoint.SinglePointCalculator`"

# How a format is told, what it is, and what converts it
_FORMATS: tuple[tuple[Callable[[Path], bool], str, str], ...] = (
    (_is_deepmd_npy, "a folder of DeePMD-kit (npy)", _dpdata("deepmd/npy")),
    (
        lambda path: (path / "type.raw").is_file() or path.name in ("coord.raw", "box.raw", "type.raw"),
        "a folder of DeePMD-kit (raw)",
        _dpdata("deepmd/raw"),
    ),
    (
        _is_fitsnap,
        "a file of FitSNAP (JSON)",
        "read its `Dataset: Data` with Python's json, make `ase.Atoms` of each `Lattice`, `AtomTypes` and `Positions`, "
        f"give it `Energy` and `Forces` (and `Stress`, whose unit and sign the file says) {_LABELLED}, {_WRITE}",
    ),
    (
        lambda path: path.name.lower().endswith(_PICKLES),
        "a pickle, such as pacemaker's data frames",
        "a pickle is a program and is not opened here; where you trust it, read it with pandas, give each `ase_atoms` "
        f"its `energy_corrected` (or `energy`) and `forces` {_LABELLED}, {_WRITE}",
    ),
    (
        lambda path: path.suffix.lower() in (".npy", ".npz"),
        "an array or table of NumPy",
        f"make `ase.Atoms` of its arrays {_WRITE}; a training alone can read sGDML's with "
        "`nequip.data.dataset.NPZDataset`",
    ),
    (
        lambda path: path.suffix.lower() in (".h5", ".hdf5", ".hdf"),
        "an HDF5 file",
        f"make `ase.Atoms` of its groups {_WRITE}; a training alone can read some with "
        "`nequip.data.dataset.HDF5Dataset`",
    ),
    (
        lambda path: path.suffix.lower() == ".lmdb" or (path / "data.mdb").is_file(),
        "an LMDB database",
        "a training alone can read NequIP's, with `nequip.data.dataset.NequIPLMDBDataset`; make `ase.Atoms` of its "
        f"entries {_WRITE}",
    ),
    (
        lambda path: path.suffix.lower() == ".cfg" and "BEGIN_CFG" in _begins(path),
        "a file of MLIP (.cfg of MTP)",
        f"make `ase.Atoms` of each block {_WRITE}",
    ),
    (
        lambda path: "OUTCAR" in path.name.upper(),
        "an OUTCAR of VASP",
        f"where ASE trips over it, give the vasprun.xml of the same run, or the whole file; {_dpdata('vasp/outcar')}",
    ),
)


def foreign_format(path: Path) -> str:
    """What a file or folder is that ASE found no structures in, and how to convert it; empty where it is not known."""
    found = next(((what, advice) for known, what, advice in _FORMATS if known(path)), None)
    return "" if found is None else f"it is {found[0]}: {found[1]}"
