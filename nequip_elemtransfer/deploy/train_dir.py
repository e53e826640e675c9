"""Which checkpoint of a ``nequip-train`` run to deploy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nequip_elemtransfer.architecture.nequip_names import BEST_PATH, BEST_SCORE, MONITOR
from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.output.paths import require_training_folder


def best_checkpoint(folder: Path, name: str | None = None) -> Path:
    """The best checkpoint of a run, as Lightning's ``ModelCheckpoint`` recorded it; without validation, the last.

    Args:
        folder: output folder of ``nequip-train``, or one above it
        name: file name of the checkpoint, if it shall not be the best

    Raises:
        FileNotFoundError: if there is no such folder, or no checkpoint in it
        ValueError: if several checkpoints could be meant, or one cannot be read
    """
    candidates = _candidates(folder, name)
    if len(candidates) == 1:
        return candidates[0]
    best = {file for run in sorted({c.parent for c in candidates}) for file in _best_of_run(run, candidates)}
    if not best:
        best = {c for c in candidates if c.name == "best.ckpt"}
    if len(best) != 1:
        choices = ", ".join(str(c.relative_to(folder)) for c in sorted(best) or candidates)
        raise ValueError(
            f"{folder} holds several checkpoints and does not say which is best: {choices}. "
            "Choose one with --checkpoint NAME, or give its path to --model."
        )
    return best.pop()


def _candidates(folder: Path, name: str | None) -> list[Path]:
    require_training_folder(folder)
    found = sorted(folder.rglob("*.ckpt"))
    if not found:
        raise FileNotFoundError(
            f"there is no checkpoint (*.ckpt) in {folder}: is it the output folder of a nequip-train run, "
            "and has its ModelCheckpoint callback saved one?"
        )
    named = [c for c in found if name in (None, c.name, str(c.relative_to(folder)))]
    if not named:
        choices = ", ".join(str(c.relative_to(folder)) for c in found)
        raise FileNotFoundError(f"there is no checkpoint {name!r} in {folder}; choices: {choices}.")
    return named


def _best_of_run(run: Path, candidates: list[Path]) -> set[Path]:
    """The files that the latest checkpoint of one folder names as best."""
    files = [c for c in candidates if c.parent == run]
    checkpoints = [read_checkpoint(file, "checkpoint") for file in files]
    latest = max(checkpoints, key=lambda checkpoint: checkpoint.get("global_step", 0))
    recorded = [Path(path) for path in _recorded_bests(latest)]
    # the folder may have been moved since, so the name counts
    return {file for file in files for path in recorded if file.name == path.name}


def _recorded_bests(checkpoint: Mapping[str, Any]) -> list[str]:
    """The best checkpoint of each callback that monitored something; if none did, the last of the first that saved.

    That one is tested, too, where a config has ``run: [train, test]``.
    """
    states = [state for state in (checkpoint.get("callbacks") or {}).values() if isinstance(state, Mapping)]
    saved = [state for state in states if isinstance(state.get(BEST_PATH), str) and state[BEST_PATH]]
    if any(state.get(MONITOR) for state in states):
        saved = [state for state in saved if state.get(BEST_SCORE) is not None]
    else:
        saved = saved[:1]
    return [state[BEST_PATH] for state in saved]
