"""The trained model a transfer starts from. The only file that knows NequIP's file formats."""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nequip.nn import GraphModel
from nequip.nn.atomwise import PerTypeScaleShift
from nequip.train import EMALightningModule, NequIPLightningModule, ScheduleFreeLightningModule
from nequip.train.lightning import _SOLE_MODEL_KEY
from nequip.utils.dtype import floating_point_tolerance
from nequip.utils.logger import RankedLogger

from nequip_elemtransfer import architecture as arch
from nequip_elemtransfer.architecture import Architecture
from nequip_elemtransfer.probe import largest_difference, probe_cluster

# what this plugin's builder is called in a checkpoint
TRANSFERRED_MODEL = "nequip_elemtransfer.model.TransferredModel"

logger = RankedLogger(__name__, rank_zero_only=True)


@dataclass(frozen=True)
class SourceModel:
    """A trained model, taken apart.

    Args:
        path: where it was read
        sha256: of that file
        architecture: the builder's configuration, energy scales and shifts as trained
        state: parameters and buffers by name, the weights NequIP evaluates with (EMA where there are any), on the CPU
        provenance: of the transfer that made this model, if one did
    """

    path: str
    sha256: str
    architecture: Architecture
    state: dict[str, torch.Tensor]
    provenance: dict[str, Any] | None = None

    @property
    def type_names(self) -> list[str]:
        return list(self.architecture["type_names"])

    @property
    def r_max(self) -> float:
        """Cutoff radius in Å."""
        return float(self.architecture["r_max"])

    def build(self) -> GraphModel:
        """The eager model with its trained weights."""
        model = arch.build(self.architecture)
        model.load_state_dict(self.state)
        return model


def load_source(path: str, sha256: str | None = None) -> SourceModel:
    """Read a checkpoint of ``nequip-train``.

    The file is never unpickled in full, and nothing it names is called but model builders of NequIP and its
    installed extensions. The model is rebuilt from what was read and compared with NequIP's own loading.

    Args:
        path: of the ``.ckpt`` file
        sha256: hexadecimal digest the file must have

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it is not a checkpoint, differs from ``sha256``, or cannot be rebuilt
    """
    digest = _checked_digest(path, sha256)
    checkpoint = read_checkpoint(path)
    architecture, provenance = model_configuration(checkpoint, path)
    reference = _evaluation_model(checkpoint, architecture, path)
    source = SourceModel(
        path=str(path),
        sha256=digest,
        architecture=architecture | _trained_energies(reference),
        state={name: tensor.detach().clone() for name, tensor in reference.state_dict().items()},
        provenance=provenance,
    )
    _prove_round_trip(source, reference)
    return source


def read_checkpoint(path: str) -> dict[str, Any]:
    """The contents of a NequIP checkpoint, tensors on the CPU, with ``weights_only`` unpickling.

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it is not a checkpoint of ``nequip-train``
    """
    file, advice = existing_file(path), "give a .ckpt file written by `nequip-train`"
    if file.stat().st_size == 0:
        raise ValueError(f"source {str(path)!r} is empty: {advice}.")
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"source {str(path)!r} cannot be read as plain tensors and numbers, and nothing else is unpickled: "
            f"{advice}. ({_first_line(error)})"
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"source {str(path)!r} is truncated or not a checkpoint: {advice}. ({_first_line(error)})"
        ) from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters"} <= set(checkpoint):
        raise ValueError(f"source {str(path)!r} is a PyTorch file but not a checkpoint of NequIP: {advice}.")
    return checkpoint


def model_configuration(checkpoint: Mapping, path: str) -> tuple[Architecture, dict | None]:
    """The architecture in a checkpoint, and the provenance if this plugin's builder made the model.

    Raises:
        ValueError: if the model was not built from an architecture
    """
    model = checkpoint["hyper_parameters"].get("model")
    if not isinstance(model, dict) or "_target_" not in model:
        raise ValueError(
            f"source {str(path)!r} does not say how its model was built: it is no checkpoint of `nequip-train`."
        )
    provenance = None
    if model["_target_"] == TRANSFERRED_MODEL:
        model, provenance = model["architecture"], model["provenance"]
    try:
        arch.check(model)
    except ValueError as error:
        raise ValueError(f"source {str(path)!r} cannot be used: {error}") from error
    return dict(model), provenance


def existing_file(path: str) -> Path:
    """The path of a file.

    Raises:
        FileNotFoundError: if there is none
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"source {str(path)!r} does not exist: give the path of a .ckpt file written by `nequip-train` "
            f"(relative paths start from {Path.cwd()})."
        )
    return file


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _checked_digest(path: str, expected: str | None) -> str:
    found = sha256_of(existing_file(path))
    if expected is not None and found != expected:
        raise ValueError(
            f"source {str(path)!r} has the SHA-256 {found}, but `element_transfer.sha256` says {expected}: "
            "this is another file, or the pin is out of date."
        )
    return found


def _evaluation_model(checkpoint: Mapping, architecture: Architecture, path: str) -> GraphModel:
    """The model NequIP would evaluate: its own training modules know what EMA and the like mean for the weights."""
    state = {k: v for k, v in checkpoint["state_dict"].items() if k.startswith(("model.", "ema.", "run_stage"))}
    if not any(name.startswith(f"model.{_SOLE_MODEL_KEY}.") for name in state):
        raise ValueError(f"source {str(path)!r} holds several models or none; one model is needed.")
    module_class, options = _training_module(checkpoint)
    arch.initialize_nequip()
    with arch.override_model_compile_mode("eager"):
        module = module_class(model=architecture, num_datasets={"train": 1, "val": 0, "test": 0}, **options)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"the weights in source {str(path)!r} do not fit the model its configuration describes: {error}"
        ) from error
    module.on_load_checkpoint(checkpoint)
    return module.evaluation_model[_SOLE_MODEL_KEY].eval()


def _training_module(checkpoint: Mapping) -> tuple[type[NequIPLightningModule], dict]:
    hyper = checkpoint["hyper_parameters"]
    saved = arch.locate(hyper["info_dict"]["training_module"]["_target_"])
    if "ema._extra_state" in checkpoint["state_dict"]:
        return EMALightningModule, {"ema_decay": checkpoint["state_dict"]["ema._extra_state"]["decay"]}
    if issubclass(saved, ScheduleFreeLightningModule):
        optimizer = hyper["optimizer"]
        if not str(optimizer["_target_"]).startswith("schedulefree."):
            raise ValueError(f"the optimizer {optimizer['_target_']!r} is not one of the schedulefree package.")
        # NequIP would have Hydra call the `_target_` in them
        if optimizer.get("param_groups") is not None:
            raise ValueError(
                "a source trained with ScheduleFree is read only if its optimizer has no `param_groups`, found "
                f"{optimizer['param_groups']!r}."
            )
        return ScheduleFreeLightningModule, {"optimizer": optimizer}
    return NequIPLightningModule, {}


def _trained_energies(model: GraphModel) -> dict[str, Any]:
    """Energy scales and shifts as they are in the model: training or a modifier may have changed them."""
    options: dict[str, Any] = {}
    for module in model.modules():
        if isinstance(module, PerTypeScaleShift):
            for kind in ("scales", "shifts"):
                values = getattr(module, kind).detach().reshape(-1).tolist()
                if not values:
                    value = None
                elif len(values) == len(module.type_names):
                    value = dict(zip(module.type_names, values))
                else:
                    value = values[0]
                options[f"per_type_energy_{kind}"] = value
    return options


def _prove_round_trip(source: SourceModel, reference: GraphModel) -> None:
    """Rebuild the source from what was read and compare energies and forces with NequIP's own loading of it."""
    data = probe_cluster(source.architecture)
    difference = largest_difference(reference, source.build().eval(), data)
    tolerance = floating_point_tolerance(source.architecture["model_dtype"])
    if not difference <= tolerance:
        raise ValueError(
            f"source {source.path!r} was not understood: rebuilt from its configuration, it differs from the loaded "
            f"model by {difference:.1e} (tolerance {tolerance:.0e}; eV and eV/Å). "
            "Was it trained with another version of NequIP or of an extension?"
        )
    logger.info(f"Rebuilt source differs from the loaded one by at most {difference:.1e} (tolerance {tolerance:.0e}).")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
