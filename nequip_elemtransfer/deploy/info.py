"""What a deployed file says about itself, read as a zip archive: nothing in it is run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nequip_elemtransfer.architecture.builders import check_model_options
from nequip_elemtransfer.checkpoints import archive
from nequip_elemtransfer.checkpoints.legacy.reading import is_old_model
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.checkpoints.stored_model import is_transferred, read_package, type_names
from nequip_elemtransfer.deploy.executable_stack import asks_for_executable_stack
from nequip_elemtransfer.deploy.uncertainty_info import check_uncertainty, uncertainty_rows
from nequip_elemtransfer.outcome.model_card import ModelCard, card_of_sections
from nequip_elemtransfer.output.paths import require_deployed
from nequip_elemtransfer.output.refusal import RefusedFile, first_line, shortened
from nequip_elemtransfer.output.table import printable, table

# endings NequIP gives its files
FILE_KINDS = {
    ".nequip.pth": "TorchScript",
    ".nequip.pt2": "AOTInductor",
    ".nequip.lmp.pt": "ML-IAP",
    ".nequip.zip": "package",
}

# metadata that this command adds to what NequIP writes, each a JSON text
DEPLOY_KEY = "nequip_deploy"
PROVENANCE_KEY = "element_transfer"
CARD_KEY = "model_card"

# where that is in a file for ML-IAP, which NequIP gives none
METADATA_MEMBER = "extra/nequip_deploy.json"

# in what NequIP 0.5 and 0.6 deployed
_OLD_VERSIONS = ("/extra/nequip_version", "/extra/e3nn_version", "/extra/torch_version")


def kind_of(path: Path) -> str:
    """``TorchScript``, ``AOTInductor``, ``ML-IAP`` or ``package``, by the file's ending.

    Raises:
        ValueError: if it is none of NequIP's endings
    """
    for ending, kind in FILE_KINDS.items():
        if path.name.endswith(ending) and path.name != ending:
            return kind
    choices = ", ".join(f"{ending} ({kind})" for ending, kind in FILE_KINDS.items())
    raise ValueError(f"the ending of {path.name!r} does not say what kind of file it is; choices: {choices}.")


def read_info(path: Path) -> dict[str, Any]:
    """The metadata of a deployed file, as plain data.

    Returns:
        ``file``, ``kind``, ``type_names``, ``r_max`` (Å), ``per_edge_type_cutoff`` (Å, center by neighbour),
        ``model_dtype``, ``allow_tf32``, ``device``, ``inputs``, ``outputs``, ``pair_style`` (LAMMPS's; None for a file
        that LAMMPS cannot run), ``executable_stack`` (whether loading it needs one), ``versions``, ``source``,
        ``uncertainty`` (what :class:`.calibration.Measured` says of itself, and ``module``, whose code is in the file),
        ``element_transfer`` and ``model_card``; None for what the file does not say

    Raises:
        FileNotFoundError: if there is no such file
        RefusedFile: if it is damaged, not a deployed model, or one of NequIP 0.5 or 0.6
        ValueError: if its ending is none of NequIP's
    """
    _refuse_old(path)
    kind = kind_of(path)
    require_deployed(path)
    info = _read_package(path) if kind == "package" else _read_compiled(path, kind)
    try:
        _check(info)
    except RefusedFile as error:
        raise RefusedFile(f"{path} says of itself what no {kind} file of NequIP does: {error}") from error
    if kind == "package":
        _, config = read_package(path, "file")
        module = config["training_module"]
        info["model_card"] = card_of_sections(config, module, module["model"]).to_dict()
    stack = asks_for_executable_stack(path) if kind == "AOTInductor" else None
    return {"file": str(path), "kind": kind} | info | {"executable_stack": stack}


def find_provenance(model: Any) -> dict[str, Any] | None:
    """The provenance of a transfer in the configuration of a model, or None."""
    if not isinstance(model, Mapping):
        return None
    if is_transferred(model):
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
        *uncertainty_rows(info),
        ["executable stack", info["executable_stack"] and "needed"],
        ["made from", info["source"] and f"{info['source']['file']} (sha256 {info['source']['sha256'][:12]}...)"],
        ["versions", ", ".join(f"{name} {version}" for name, version in info["versions"].items()) or "unknown"],
    ]
    parts = ["\n".join(f"{name:<18} {printable(value)}" for name, value in rows if value)]
    if info["per_edge_type_cutoff"]:
        parts.append(_cutoffs(info["per_edge_type_cutoff"]))
    if info["model_card"] is not None:
        parts.append(ModelCard.from_dict(info["model_card"]).text())
    parts.append(_transfer(info["element_transfer"]))
    return "\n\n".join(parts)


def _refuse_old(path: Path) -> None:
    """Refuse what ``nequip-deploy`` of NequIP 0.5 and 0.6 made, with the versions that it holds."""
    if not path.is_file() or not is_old_model(path):
        return
    try:
        _, contents = archive.read(path, lambda name: name.endswith(_OLD_VERSIONS))
    except archive.Damaged as error:
        raise RefusedFile(f"{path} is damaged: {error}. Copy it again.") from error
    texts = {name.rpartition("/")[2]: text.decode(errors="replace") for name, text in contents.items()}
    versions = {name.removesuffix("_version"): text[:20] for name, text in texts.items()}
    shown = ", ".join(f"{name} {versions[name]}" for name in ("nequip", "e3nn", "torch") if name in versions)
    raise RefusedFile(
        f"{path} is a deployed model of an old NequIP ({shown or 'no versions are in it'}), which today's LAMMPS pair "
        "style does not read: write it as a checkpoint of today with `nequip-elemtransfer import`, and deploy that."
    )


def _read_compiled(path: Path, kind: str) -> dict[str, Any]:
    read, wanted = {
        "TorchScript": (_read_torchscript, lambda name: "/extra/" in name),
        "AOTInductor": (_read_aotinductor, lambda name: name.endswith("_metadata.json")),
        "ML-IAP": (_read_mliap, lambda name: name.endswith(f"/{METADATA_MEMBER}")),
    }[kind]
    try:
        return read(*archive.read(path, wanted))
    except archive.Damaged as error:
        raise RefusedFile(f"{path} is damaged or no {kind} file: {error}. Deploy the model again.") from error
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = f"its metadata lack {error}" if isinstance(error, KeyError) else first_line(error)
        raise RefusedFile(f"{path} is an archive but not a {kind} file of NequIP: {reason}.") from error


def _read_torchscript(names: list[str], contents: Mapping[str, bytes]) -> dict[str, Any]:
    info = _compiled({name.split("/extra/", 1)[1]: text.decode() for name, text in contents.items()})
    local = any("/code/__torch__/allegro/" in name for name in names)  # where classes of that package are kept
    return info | {"pair_style": "allegro" if local else "nequip"}


def _read_aotinductor(names: list[str], contents: Mapping[str, bytes]) -> dict[str, Any]:
    metadata: dict[str, str] = {}
    for text in contents.values():
        metadata |= json.loads(text)
    info = _compiled(metadata)
    if "virial" not in (info["outputs"] or "").split():
        return info  # compiled for ASE, or before NequIP wrote this
    return info | {"pair_style": "nequip" if "edge_cell_shift" in info["inputs"].split() else "allegro"}


def _read_mliap(names: list[str], contents: Mapping[str, bytes]) -> dict[str, Any]:
    if not contents:
        raise ValueError(
            "it says nothing of itself, as `nequip-prepare-lmp-mliap` leaves it; `nequip-deploy build` writes a file "
            "that does"
        )
    (text,) = contents.values()
    return _compiled(json.loads(text)) | {"pair_style": "mliap"}


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
        "uncertainty": deploy.get("uncertainty"),
        "element_transfer": json.loads(metadata.get(PROVENANCE_KEY, "null")),
        "model_card": json.loads(metadata.get(CARD_KEY, "null")),
    }


def _read_package(path: Path) -> dict[str, Any]:
    metadata, config = read_package(path, "file")
    model = config["training_module"]["model"]
    architecture = _architecture(model)
    return {
        "type_names": type_names(metadata),
        "r_max": architecture.get("r_max"),
        "per_edge_type_cutoff": architecture.get("per_edge_type_cutoff"),
        "model_dtype": architecture.get("model_dtype"),
        "allow_tf32": None,
        "device": None,
        "inputs": None,
        "outputs": None,
        "pair_style": None,
        "versions": {name: version for name, version in metadata["versions"].items() if version is not None},
        "source": None,
        "uncertainty": None,
        "element_transfer": find_provenance(model),
        "model_card": None,  # read once the record of the transfer is known to be one
    }


def _check(info: Mapping[str, Any]) -> None:
    """Refuse metadata that are not what is shown of them and used."""
    options = ("type_names", "r_max", "per_edge_type_cutoff", "model_dtype")
    check_model_options({name: info[name] for name in options if info[name] is not None})
    if info["element_transfer"] is not None:
        TransferRecord.from_dict(info["element_transfer"])
    check_uncertainty(info["uncertainty"])
    if info["model_card"] is not None:
        ModelCard.from_dict(info["model_card"])
    source, versions = info["source"], info["versions"]
    texts = {name: info[name] for name in ("device", "inputs", "outputs") if info[name] is not None}
    if source is not None:
        known = source if isinstance(source, Mapping) else {}
        texts |= {f"source.{name}": known.get(name) for name in ("file", "sha256")}
    texts |= versions if isinstance(versions, Mapping) else {"versions": versions}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise RefusedFile(f"its {shortened(name)} is {shortened(text)}, which is no text.")


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
    if len(values) != len(types) ** 2:
        raise ValueError(f"it has {len(values)} cutoffs for {len(types)} types")
    return {t: dict(zip(types, values[i * len(types) :])) for i, t in enumerate(types)}


def _cutoffs(cutoffs: Mapping[str, Any]) -> str:
    rows = [[t, str(row) if not isinstance(row, Mapping) else _row(row)] for t, row in cutoffs.items()]
    return table(["center", "cutoff radius by neighbour (Å)"], rows, [False, False])


def _row(row: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in row.items())


def _transfer(provenance: Mapping[str, Any] | None) -> str:
    if provenance is None:
        return "No element transfer is recorded."
    record = TransferRecord.from_dict(provenance)
    fits = (record.length_scale, record.energy_scale, record.energy_shifts)
    rows = [
        [t, s if isinstance(s, str) else _row(s), *(f"{fit.per_type[t]:.4f}" for fit in fits)]
        for t, s in record.elements.items()
    ]
    header = ["type", "started from", "length scale λ", "energy scale α", "energy shift μ (eV)"]
    title = printable(f"Element transfer from {record.source} (sha256 {record.sha256[:12]}...):")
    return f"{title}\n" + table(header, rows, [False, False, True, True, True])
