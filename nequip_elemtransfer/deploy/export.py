"""Write a model as TorchScript, AOTInductor or package file, each with NequIP's own code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Dict  # noqa: UP035  TorchScript knows this one

import torch
from hydra.errors import InstantiationException
from nequip.data import AtomicDataDict
from nequip.model.inference_models.torchscript import save_torchscript_model
from nequip.nn import GraphModel
from nequip.nn.graph_model import PER_EDGE_TYPE_CUTOFF_KEY, R_MAX_KEY
from nequip.scripts import package
from nequip.utils import get_current_code_versions
from nequip.utils.aot import aot_export_model
from nequip.utils.aoti_metadata import (
    NEQUIP_AOTI_INPUTS_KEY,
    NEQUIP_AOTI_OUTPUTS_KEY,
    NEQUIP_CUSTOM_OPS_LIBS_KEY,
    embed_custom_ops_libs,
    serialize_aoti_keys,
)
from nequip.utils.global_state import TF32_KEY

from nequip_elemtransfer import __version__
from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.checkpoints.nequip_loader import OlderFile, require_loadable, require_loadable_data
from nequip_elemtransfer.deploy.info import CARD_KEY, DEPLOY_KEY, PROVENANCE_KEY
from nequip_elemtransfer.deploy.trained import TrainedModel
from nequip_elemtransfer.outcome.model_card import card_of_checkpoint
from nequip_elemtransfer.output.refusal import RefusedFile

# installing any of these gives AOTInductor what it looks for
_COMPILER_ADVICE = (
    "install one (Debian, Ubuntu: `apt install g++`; Fedora: `dnf install gcc-c++`; conda: `conda install -c "
    "conda-forge cxx-compiler`; macOS: `xcode-select --install`), name it in the environment variable CXX, "
    "or write a .nequip.pth file, which needs none"
)


class NeedsCell(torch.nn.Module):
    """A model that passes messages, which refuses the ghost atoms without a cell that ``pair_style allegro`` gives.

    Their features would be those of atoms without neighbours. The check takes no time, and all else is NequIP's.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, data: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:  # noqa: UP006
        """The model's output."""
        if "cell" not in data:
            raise ValueError("this model passes messages between atoms and got no cell: use pair_style nequip.")
        return self.model(data)


def metadata_of(
    trained: TrainedModel,
    model: GraphModel,
    allow_tf32: bool,
    common_cutoff: bool,
    uncertainty: dict[str, Any] | None = None,
) -> dict[str, str]:
    """What the LAMMPS pair styles and ASE read, and where the model came from.

    Args:
        model: the one written, with its modifiers
        common_cutoff: leave out the cutoffs of pairs, so that the model is given all pairs within the largest of them,
            and its envelope makes zero of those beyond their own; where all are the largest, they are left out anyway
        uncertainty: what :class:`.calibration.Measured` says of itself, for a file that has it
    """
    deploy: dict[str, Any] = {
        "source": {"file": trained.path.name, "sha256": trained.sha256},
        "versions": {k: v for k, v in get_current_code_versions(verbose=False).items() if v is not None},
    }
    if uncertainty is not None:
        deploy["uncertainty"] = uncertainty | {"module": f"nequip-elemtransfer {__version__}"}
    metadata = model.metadata | {TF32_KEY: str(int(allow_tf32)), DEPLOY_KEY: json.dumps(deploy)}
    cutoffs = {float(cutoff) for cutoff in metadata.get(PER_EDGE_TYPE_CUTOFF_KEY, "").split()}
    if common_cutoff or cutoffs == {float(metadata[R_MAX_KEY])}:
        metadata.pop(PER_EDGE_TYPE_CUTOFF_KEY, None)
    if trained.provenance is not None:
        metadata[PROVENANCE_KEY] = json.dumps(trained.provenance)
    return metadata


def card_of(trained: TrainedModel, run: Path | None) -> dict[str, str]:
    """The model card as an entry of the metadata; none of a package, which says of itself what it says."""
    if trained.checkpoint is None:
        return {}
    return {CARD_KEY: json.dumps(card_of_checkpoint(trained.checkpoint, trained.path, run).to_dict())}


def write_torchscript(
    model: torch.nn.Module, metadata: dict[str, str], out: Path, device: str, strictly_local: bool
) -> None:
    """Write a ``.nequip.pth`` file.

    ``nequip-compile --mode torchscript`` refuses from PyTorch 2.10 on, but what it calls still works.

    Args:
        strictly_local: whether the model passes no messages, so that it may be given ghost atoms instead of a cell
    """
    save_torchscript_model(model if strictly_local else NeedsCell(model), metadata, str(out), device)


def write_aotinductor(
    model: torch.nn.Module,
    metadata: dict[str, str],
    out: Path,
    device: str,
    target: str,
    example: AtomicDataDict.Type,
    more: Sequence[str] = (),
) -> None:
    """Write a ``.nequip.pt2`` file, as ``nequip-compile --mode aotinductor`` does.

    Args:
        target: key of NequIP's ``COMPILE_TARGET_DICT``
        example: a structure with neighbour list and realistic shapes
        more: outputs besides those of the target

    Raises:
        ValueError: if a compiler is missing
        RuntimeError: if the model cannot be compiled
    """
    require_compiler(device)
    settings = imported("nequip.scripts._compile_utils.COMPILE_TARGET_DICT")[target]
    outputs = [*settings["output"], *more]
    data = settings["data_settings"](AtomicDataDict.to_(example.copy(), torch.device(device)))
    at_least_two = {
        field: torch.export.dynamic_shapes.Dim(name, min=2)
        for field, name in [("graph", "num_frames"), ("node", "num_nodes"), ("edge", "num_edges")]
    }
    metadata = metadata | {
        NEQUIP_AOTI_INPUTS_KEY: serialize_aoti_keys(settings["input"]),
        NEQUIP_AOTI_OUTPUTS_KEY: serialize_aoti_keys(outputs),
    }
    aot_export_model(
        model=model,
        device=device,
        input_fields=settings["input"],
        output_fields=outputs,
        data=data,
        batch_map=settings["batch_map_settings"](at_least_two),
        output_path=str(out),
        inductor_configs={"aot_inductor.metadata": metadata},
    )
    if NEQUIP_CUSTOM_OPS_LIBS_KEY in metadata:
        embed_custom_ops_libs(str(out), set(metadata[NEQUIP_CUSTOM_OPS_LIBS_KEY].split()))


def write_package(checkpoint: Path, out: Path) -> None:
    """Write a ``.nequip.zip`` file with ``nequip-package build``, which also packs a training structure.

    Raises:
        FileNotFoundError: if the training data are not where the training had them
        RefusedFile: if NequIP would call what is not called from a file, or misread an older one
    """
    set_workflow_state = imported("nequip.scripts._workflow_utils.set_workflow_state")
    try:
        require_loadable(checkpoint, what="model")
        require_loadable_data(checkpoint, what="model")
    except OlderFile:
        raise
    except RefusedFile as error:
        raise RefusedFile(
            f"{str(error).rstrip('.')}. To package a model of your own training all the same, run `nequip-package "
            "build`, which asks nothing of the file."
        ) from error
    try:
        package.main(["build", str(checkpoint), str(out)])
    except InstantiationException as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise FileNotFoundError(
            f"NequIP packs a structure of the training data, and {str(error.__cause__.filename)!r} does not exist: run "
            "the command in the folder where nequip-train was run, or write a .nequip.pth or .nequip.pt2, which need "
            "none."
        ) from error
    finally:
        set_workflow_state(None)


def require_compiler(device: str) -> None:
    """Check that AOTInductor finds what it compiles with.

    Raises:
        ValueError: with the package to install
    """
    no_compiler = imported("torch._inductor.exc.InvalidCxxCompiler")
    try:
        imported("torch._inductor.cpp_builder.get_cpp_compiler")()
    except no_compiler as error:
        raise ValueError(f"AOTInductor needs a C++ compiler and finds none: {_COMPILER_ADVICE}.") from error
    if device == "cuda" and not imported("torch.utils._triton.has_triton")():
        raise ValueError("AOTInductor needs Triton for CUDA and finds none: `pip install triton`.")
