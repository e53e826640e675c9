"""What NequIP's own loader may be given: it unpickles a checkpoint in full and calls what its sections name.

A restart (``ckpt_path``) and ``nequip-package`` cannot do without that loader.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nequip_elemtransfer.architecture.nequip_names import BEST_PATH, RANKED_PATHS, SAVED_PATHS
from nequip_elemtransfer.checkpoints.gate import read_checkpoint
from nequip_elemtransfer.checkpoints.migration import versions_of, who_wrote
from nequip_elemtransfer.checkpoints.named_calls import refused_call
from nequip_elemtransfer.checkpoints.stored_model import (
    Configuration,
    check_weights,
    is_package,
    read_configuration,
    training_module_class,
)
from nequip_elemtransfer.output.refusal import RefusedFile, shortened

# sections that a training module instantiates, and the kind of what they may name
_KINDS = {
    "loss": "metrics",
    "train_metrics": "metrics",
    "val_metrics": "metrics",
    "test_metrics": "metrics",
    "optimizer": "optimizer",
    "lr_scheduler": "scheduler",
}
# read elsewhere: the model by `read_configuration`, the training module by its class, the rest by nobody
_READ_ELSEWHERE = ("model", "info_dict")

# other places in a checkpoint that Lightning would take arguments of a training module from, or change them by
_OTHER_PLACES = ("hparams", "module_arguments", "hparams_type")


class OlderFile(RefusedFile):
    """What an older NequIP wrote, and today's own loader would misread."""


def require_loadable(
    path: str | Path, vouched: Collection[Mapping] = (), what: str = "checkpoint"
) -> tuple[dict[str, Any], Configuration]:
    """A checkpoint, and its model's configuration, once it is known to make NequIP's loader call only what it should.

    Args:
        vouched: the :func:`.named_calls.calls` in a configuration that the user wrote, such as
            that of a loss of the user's
        what: as for :func:`~nequip_elemtransfer.checkpoints.gate.read_checkpoint`

    Raises:
        FileNotFoundError: if there is no such file
        OlderFile: if it means something else to today's NequIP than to the one that wrote it
        RefusedFile: if it is damaged or hostile, or names what is on no list and not vouched for
    """
    checkpoint = read_checkpoint(path, what)
    hyper = checkpoint["hyper_parameters"]
    configuration = read_configuration(hyper.get("model"), versions_of(hyper.get("info_dict")), path, what)
    check_weights(checkpoint, configuration, f"{what} {str(path)!r}")
    _require_words_of_today(configuration, f"{what} {str(path)!r}")
    try:
        training_module_class(hyper)
        _check_sections(checkpoint, vouched)
    except RefusedFile as error:
        raise RefusedFile(f"{what} {str(path)!r} cannot be used: {error}") from error
    _check_saved_files(checkpoint, f"{what} {str(path)!r}", {Path(path).resolve()})
    for file in configuration.files:
        if is_package(file):
            raise RefusedFile(
                f"{what} {str(path)!r} has NequIP load the package {file!r}, which would run the code in it: use "
                "NequIP's own commands if you trust that package."
            )
        require_loadable(file, vouched, what)
    return checkpoint, configuration


def require_loadable_data(path: str | Path, vouched: Collection[Mapping] = (), what: str = "checkpoint") -> None:
    """Refuse a checkpoint whose ``data:`` section has NequIP call anything but its own readers of plain files.

    Args:
        vouched, what: as for :func:`require_loadable`

    Raises:
        RefusedFile: with the name
    """
    if name := uncalled_data(read_checkpoint(path, what), vouched):
        raise RefusedFile(
            f"{what} {str(path)!r} has its training data made by {name}, which is not called from a file."
        )


def uncalled_data(checkpoint: Mapping[str, Any], vouched: Collection[Mapping] = ()) -> str | None:
    """The first name in the ``data:`` section of a checkpoint that is not called from a file; None if there is none."""
    return refused_call((checkpoint["hyper_parameters"].get("info_dict") or {}).get("data"), "data", vouched)


def _check_sections(checkpoint: Mapping, vouched: Collection[Mapping]) -> None:
    hyper = checkpoint["hyper_parameters"]
    unusual = [name for name in _OTHER_PLACES if name in checkpoint]
    unusual += [name for name in hyper if not str(name).isidentifier() or str(name).startswith("_")]
    if unusual or checkpoint.get("hparams_name", "kwargs") != "kwargs":
        raise RefusedFile(
            f"it holds {shortened(unusual[0] if unusual else checkpoint['hparams_name'])} among the arguments of its "
            "training module, which NequIP does not write and Lightning would use."
        )
    for name, section in hyper.items():
        if name in _READ_ELSEWHERE:
            continue
        # a section that nothing is known of may only call what the user's configuration does
        if refused := refused_call(section, _KINDS.get(name, "nothing"), vouched):
            raise RefusedFile(
                f"its `{name}` names {refused}, which is not called from a file: it is not on the list of NequIP's, "
                "PyTorch's and the installed extensions' parts of a training, and no config of yours that is known "
                "here has it with these arguments."
            )


def _require_words_of_today(configuration: Configuration, owner: str) -> None:
    """Refuse what NequIP's own loader would not read, or misread without a word."""
    if changed := configuration.as_of_today().migrated:
        raise OlderFile(
            f"{owner} is of an older NequIP, and today's own loader, which is needed here, misreads it ({changed[0]}): "
            f"`nequip-elemtransfer import` writes it as a checkpoint of today.{who_wrote(configuration.versions)}"
        )


def _check_saved_files(checkpoint: Mapping, owner: str, read: set[Path]) -> None:
    """Refuse paths by which Lightning's ModelCheckpoint would load or delete anything but a checkpoint of this machine.

    It loads the best one when the training ends, by whatever protocol the path names, and that may name another. It
    deletes one that is no longer among the best, a folder with all that is in it, and takes ``..`` for a folder below.

    Args:
        read: files that have been read, to which those that are followed are added
    """
    for saved in _saved_files(checkpoint):
        if not _is_path_of_checkpoint(saved):
            raise RefusedFile(
                f"{owner} cannot be used: its callbacks say that {shortened(saved)} is one of their "
                "checkpoints, which Lightning would load or delete, and it is not the plain path of a .ckpt file."
            )
    for state in _states(checkpoint):
        best = state.get(BEST_PATH)
        if best and os.path.isfile(best) and (file := Path(best).resolve()) not in read:
            read.add(file)
            _check_saved_files(read_checkpoint(file, "checkpoint"), f"checkpoint {str(file)!r}", read)


def _states(checkpoint: Mapping) -> list[Mapping]:
    """What the checkpoint says of each callback."""
    return [state for state in (checkpoint.get("callbacks") or {}).values() if isinstance(state, Mapping)]


def _saved_files(checkpoint: Mapping) -> Iterator[Any]:
    for state in _states(checkpoint):
        yield from (state[name] for name in SAVED_PATHS if state.get(name))
        ranked = state.get(RANKED_PATHS) or {}
        yield from ranked if isinstance(ranked, Mapping) else [ranked]


def _is_path_of_checkpoint(path: Any) -> bool:
    if not isinstance(path, str) or not path.endswith(".ckpt") or ".." in Path(path).parts:
        return False
    # protocols of fsspec: `http://`, `simplecache::`, `data:`
    return "://" not in path and "::" not in path and (os.path.isabs(path) or ":" not in path)
