"""What a deployed file says about itself, read as a zip archive: nothing in it is run."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from nequip_elemtransfer.output.table import table
from nequip_elemtransfer.source import TRANSFERRED_MODEL

# endings NequIP gives its files
KINDS = {".nequip.pth": "TorchScript", ".nequip.pt2": "AOTInductor", ".nequip.zip": "package"}

# metadata that this command adds to what NequIP writes, each a JSON text
DEPLOY_KEY = "nequip_deploy"
PROVENANCE_KEY = "element_transfer"


def kind_of(path: Path) -> str:
    """``TorchScript``, ``AOTInductor`` or ``package``, by the file's ending.

    Raises:
        ValueError: if it is none of NequIP's endings
    """
    for ending, kind in KINDS.items():
        if path.name.endswith(ending) and path.name != ending:
            return kind
    choices = ", ".join(f"{ending} ({kind})" for ending, kind in KINDS.items())
    raise ValueError(f"the ending of {path.name!r} does not say what kind of file it is; choices: {choices}.")


def read_info(path: Path) -> dict[str, Any]:
    """The metadata of a deployed file, as plain data.

    Returns:
        ``file``, ``kind``, ``type_names``, ``r_max`` (Å), ``per_edge_type_cutoff`` (Å, center by neighbour),
        ``model_dtype``, ``allow_tf32``, ``device``, ``inputs``, ``outputs``, ``pair_style`` (LAMMPS's; None for a file
        that LAMMPS cannot run), ``versions``, ``source`` and ``element_transfer``; None for what the file does not say

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it is damaged or not a deployed model
    """
    kind = kind_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    read = {"TorchScript": _read_torchscript, "AOTInductor": _read_aotinductor, "package": _read_package}[kind]
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"its part {damaged} fails its checksum")
            info = read(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged or no {kind} file: {error}. Deploy the model again.") from error
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is an archive but not a {kind} file of NequIP: {error}.") from error
    return {"file": str(path), "kind": kind} | info


def find_provenance(model: Any) -> dict[str, Any] | None:
    """The provenance of a transfer in the configuration of a model, or None."""
    if not isinstance(model, Mapping):
        return None
    if model.get("_target_") == TRANSFERRED_MODEL:
        return model.get("provenance")
    return find_provenance(model.get("model"))  # e.g. in `nequip.model.modify`


def describe(info: Mapping[str, Any]) -> str:
    """The metadata as text."""
    rows = [
        ["file", info["file"]],
        ["kind", info["kind"]],
        ["types", " ".join(info["type_names"])],
        ["cutoff radius", "unknown" if info["r_max"] is None else f"{info['r_max']:g} Å"],
        ["precision", info["model_dtype"] or "unknown"],
        ["TF32", {True: "allowed", False: "not allowed", None: None}[info["allow_tf32"]]],
        ["compiled for", info["device"]],
        ["inputs", info["inputs"]],
        ["outputs", info["outputs"]],
        ["LAMMPS pair style", info["pair_style"]],
        ["made from", info["source"] and f"{info['source']['file']} (sha256 {info['source']['sha256'][:12]}...)"],
        ["versions", ", ".join(f"{name} {version}" for name, version in info["versions"].items()) or "unknown"],
    ]
    parts = ["\n".join(f"{name:<18} {value}" for name, value in rows if value)]
    if info["per_edge_type_cutoff"]:
        parts.append(_cutoffs(info["per_edge_type_cutoff"]))
    parts.append(_transfer(info["element_transfer"]))
    return "\n\n".join(parts)


def _read_torchscript(archive: zipfile.ZipFile) -> dict[str, Any]:
    names = archive.namelist()
    extra = {name.split("/extra/", 1)[1]: name for name in names if "/extra/" in name}
    info = _compiled({key: archive.read(name).decode() for key, name in extra.items()})
    local = any("/code/__torch__/allegro/" in name for name in names)  # where classes of that package are kept
    return info | {"pair_style": "allegro" if local else "nequip"}


def _read_aotinductor(archive: zipfile.ZipFile) -> dict[str, Any]:
    metadata: dict[str, str] = {}
    for name in archive.namelist():
        if name.endswith("_metadata.json"):
            metadata |= json.loads(archive.read(name))
    info = _compiled(metadata)
    if "virial" not in (info["outputs"] or "").split():
        return info  # compiled for ASE, or before NequIP wrote this
    return info | {"pair_style": "nequip" if "edge_cell_shift" in info["inputs"].split() else "allegro"}


def _compiled(metadata: Mapping[str, str]) -> dict[str, Any]:
    types = metadata["type_names"].split()
    deploy = json.loads(metadata.get(DEPLOY_KEY, "{}"))
    tf32 = metadata.get("allow_tf32")
    return {
        "type_names": types,
        "r_max": float(metadata["r_max"]),
        "per_edge_type_cutoff": _cutoff_table(metadata.get("per_edge_type_cutoff"), types),
        "model_dtype": metadata.get("model_dtype"),
        "allow_tf32": None if tf32 is None else tf32 == "1",
        "device": metadata.get("AOTI_DEVICE_KEY"),
        "inputs": metadata.get("nequip_aoti_inputs"),
        "outputs": metadata.get("nequip_aoti_outputs"),
        "pair_style": None,
        "versions": deploy.get("versions", {}),
        "source": deploy.get("source"),
        "element_transfer": json.loads(metadata.get(PROVENANCE_KEY, "null")),
    }


def _read_package(archive: zipfile.ZipFile) -> dict[str, Any]:
    texts = {name.split("/", 1)[-1]: name for name in archive.namelist()}
    metadata = yaml.safe_load(archive.read(texts["model/package_metadata.txt"]))
    config = yaml.safe_load(archive.read(texts["model/config.yaml"]))
    model = config["training_module"]["model"]
    architecture = _architecture(model)
    types = [metadata["atom_types"][i] for i in range(len(metadata["atom_types"]))]
    r_max = architecture.get("r_max")
    return {
        "type_names": types,
        "r_max": None if r_max is None else float(r_max),
        "per_edge_type_cutoff": architecture.get("per_edge_type_cutoff"),
        "model_dtype": architecture.get("model_dtype"),
        "allow_tf32": None,
        "device": None,
        "inputs": None,
        "outputs": None,
        "pair_style": None,
        "versions": {name: version for name, version in metadata["versions"].items() if version is not None},
        "source": None,
        "element_transfer": find_provenance(model),
    }


def _architecture(model: Any) -> Mapping[str, Any]:
    """The innermost builder configuration; empty where the model came from another file."""
    while isinstance(model, Mapping):
        inner = model.get("architecture") or model.get("model")
        if inner is None:
            return model
        model = inner
    return {}


def _cutoff_table(text: str | None, types: list[str]) -> dict[str, dict[str, float]] | None:
    if not text:
        return None
    values = [float(v) for v in text.split()]  # row-major, center by neighbour
    return {t: dict(zip(types, values[i * len(types) :])) for i, t in enumerate(types)}


def _cutoffs(cutoffs: Mapping[str, Any]) -> str:
    rows = [[t, str(row) if not isinstance(row, Mapping) else _row(row)] for t, row in cutoffs.items()]
    return table(["center", "cutoff radius by neighbour (Å)"], rows, [False, False])


def _row(row: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in row.items())


def _transfer(provenance: Mapping[str, Any] | None) -> str:
    if provenance is None:
        return "No element transfer is recorded."
    length, energy, shift = (provenance[k]["per_type"] for k in ("length_scale", "energy_scale", "energy_shifts"))
    rows = [
        [t, s if isinstance(s, str) else _row(s), f"{length[t]:.4f}", f"{energy[t]:.4f}", f"{shift[t]:.4f}"]
        for t, s in provenance["elements"].items()
    ]
    header = ["type", "started from", "length scale λ", "energy scale α", "energy shift μ (eV)"]
    title = f"Element transfer from {provenance['source']} (sha256 {provenance['sha256'][:12]}...):\n"
    return title + table(header, rows, [False, False, True, True, True])
