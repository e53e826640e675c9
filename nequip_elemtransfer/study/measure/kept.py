"""Results that are kept: each with the settings that it was made with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.study.folder import RESULT_FILE, evaluation_folder, free_path


def read_result(out: Path, kind: str, model: str) -> dict[str, Any] | None:
    """The result of an evaluation; None if there is none."""
    path = evaluation_folder(out, kind, model) / RESULT_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def is_kept(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the result for these settings is there."""
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["settings"] == _plain(settings)


def keep(path: Path, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a result, complete or not at all; one for other settings is moved aside."""
    if path.exists() and not is_kept(path, settings):
        path.rename(free_path(path.with_name(path.stem + ".before_{}" + path.suffix)))
    with written_together([path]) as (partial,):
        partial.write_text(json.dumps({"settings": settings, **content}) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))  # as it is read back
