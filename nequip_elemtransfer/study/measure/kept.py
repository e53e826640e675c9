"""Results that are kept, each with the settings and the checkpoint that it was made with."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nequip_elemtransfer.checkpoints.gate import sha256_of
from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.config.evaluation_settings import PLAN, STABILITY
from nequip_elemtransfer.study.folder import REFERENCE, RESULT_FILE, checkpoint_of, evaluation_folder, free_path
from nequip_elemtransfer.study.measure.plan import source_of


def made_from(out: Path, kind: str, model: str) -> dict[str, str]:
    """``checkpoint``, the SHA-256 of the file that an evaluation is of: the model's, or for a plan that of the source.

    Empty for the reference, and where there is no file.
    """
    if model == REFERENCE:
        return {}
    path = source_of(out, model) if kind == PLAN else checkpoint_of(out, model)
    if path is None or not path.is_file():
        return {}
    status = path.stat()
    return {"checkpoint": _sha256(path, status.st_mtime_ns, status.st_size)}


@cache
def _sha256(path: Path, changed: int, size: int) -> str:
    """Once for each state of a file, since a report asks again and again."""
    return sha256_of(path)


def read_result(out: Path, kind: str, model: str) -> dict[str, Any] | None:
    """The result of an evaluation; None if there is none of this model."""
    found = _read([evaluation_folder(out, kind, model) / RESULT_FILE], made_from(out, kind, model))
    return found[0] if found else None


def read_simulations(out: Path, model: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The results of simulations with this model that are there, by the names of their files."""
    folder = evaluation_folder(out, STABILITY, model)
    return _read([folder / name for name in names], made_from(out, STABILITY, model))


def is_kept(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the result for these settings is there."""
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["settings"] == _plain(settings)


def keep(path: Path, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a result, complete or not at all; one for other settings is moved aside."""
    if path.exists() and not is_kept(path, settings):
        path.rename(free_path(path.with_name(path.stem + ".before_{}" + path.suffix)))
    with written_together([path]) as (partial,):
        partial.write_text(json.dumps({"settings": settings, **content}) + "\n", encoding="utf-8")


def _read(paths: Sequence[Path], origin: Mapping[str, str]) -> list[dict[str, Any]]:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    return [result for result in results if result["settings"].get("checkpoint") == origin.get("checkpoint")]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))  # as it is read back
