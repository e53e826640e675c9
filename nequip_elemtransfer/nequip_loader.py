"""What NequIP's own loader may be given: it unpickles a checkpoint in full and calls what its sections name.

A restart (``ckpt_path``) and ``nequip-package`` cannot do without that loader.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from nequip_elemtransfer.callables import not_callable
from nequip_elemtransfer.checkpoint import read_checkpoint
from nequip_elemtransfer.checkpoint_model import check_weights, training_module_class
from nequip_elemtransfer.model_section import Configuration, read_configuration
from nequip_elemtransfer.package import is_package
from nequip_elemtransfer.refusal import RefusedFile, shortened

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


def require_loadable(path: str | Path, vouched: Collection[str] = ()) -> tuple[dict[str, Any], Configuration]:
    """A checkpoint, and its model's configuration, once it is known to make NequIP's loader call only what it should.

    Args:
        vouched: names that the user's own configuration holds, such as a loss of the user's

    Raises:
        FileNotFoundError: if there is no such file
        RefusedFile: if it is damaged or hostile, or names what is on no list and not vouched for
    """
    checkpoint = read_checkpoint(path)
    hyper = checkpoint["hyper_parameters"]
    configuration = read_configuration(hyper.get("model"), path)
    check_weights(checkpoint, configuration, path)
    try:
        training_module_class(hyper)
        _check_sections(checkpoint, vouched)
    except RefusedFile as error:
        raise RefusedFile(f"source {str(path)!r} cannot be used: {error}") from error
    for file in _best_checkpoints(checkpoint):
        read_checkpoint(file)
    for file in configuration.files:
        if is_package(file):
            raise RefusedFile(
                f"source {str(path)!r} has NequIP load the package {file!r}, which would run the code in it: use "
                "NequIP's own commands if you trust that package."
            )
        require_loadable(file, vouched)
    return checkpoint, configuration


def require_loadable_data(path: str | Path) -> None:
    """Refuse a checkpoint whose ``data:`` section has NequIP call anything but its own readers of plain files.

    Raises:
        RefusedFile: with the name
    """
    if name := uncalled_data(read_checkpoint(path)):
        raise RefusedFile(
            f"source {str(path)!r} has its training data made by {name}, which is not called from a file: if you trust "
            "it, package it with `nequip-package` and use the package."
        )


def uncalled_data(checkpoint: Mapping[str, Any]) -> str | None:
    """The first name in the ``data:`` section of a checkpoint that is not called from a file; None if there is none."""
    return not_callable((checkpoint["hyper_parameters"].get("info_dict") or {}).get("data"), "data")


def _check_sections(checkpoint: Mapping, vouched: Collection[str]) -> None:
    hyper = checkpoint["hyper_parameters"]
    unusual = [name for name in _OTHER_PLACES if checkpoint.get(name)]
    unusual += [name for name in hyper if not str(name).isidentifier() or str(name).startswith("_")]
    if unusual or checkpoint.get("hparams_name", "kwargs") != "kwargs":
        raise RefusedFile(
            f"it holds {shortened(unusual[0] if unusual else checkpoint['hparams_name'])} among the arguments of its "
            "training module, which NequIP does not write and Lightning would use."
        )
    for name, section in hyper.items():
        if name in _READ_ELSEWHERE:
            continue
        # a section that nothing is known of may only name what the user's configuration names
        if refused := not_callable(section, _KINDS.get(name, "nothing"), vouched):
            raise RefusedFile(
                f"its `{name}` names {refused}, which is not called from a file: it is not on the list of NequIP's, "
                "PyTorch's and the installed extensions' parts of a training."
            )


def _best_checkpoints(checkpoint: Mapping) -> list[str]:
    """The files that callbacks name as best so far: one of them is loaded when the training ends."""
    states = (checkpoint.get("callbacks") or {}).values()
    named = [state.get("best_model_path") for state in states if isinstance(state, Mapping)]
    return [path for path in named if isinstance(path, str) and Path(path).is_file()]
