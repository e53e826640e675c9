"""The trained model a transfer starts from. The only file that knows NequIP's file formats."""

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nequip
import torch
import yaml
from nequip.model import ModelFromPackage
from nequip.model.modify_utils import only_apply_persistent_modifiers
from nequip.model.saved_models.load_utils import _get_model_file_path
from nequip.nn import GraphModel
from nequip.train import EMALightningModule, NequIPLightningModule, ScheduleFreeLightningModule
from nequip.train.lightning import _SOLE_MODEL_KEY
from nequip.utils.dtype import floating_point_tolerance
from nequip.utils.logger import RankedLogger
from nequip.utils.model_repository import ModelNotFoundError
from omegaconf import OmegaConf

from nequip_elemtransfer import architecture as arch
from nequip_elemtransfer.architecture import Architecture
from nequip_elemtransfer.legacy.model import load as load_old
from nequip_elemtransfer.legacy.reading import is_old_model, old_training_file, weights_file
from nequip_elemtransfer.probe import largest_difference, probe_cluster
from nequip_elemtransfer.trained_options import with_trained_options

# what this plugin's builder is called in a checkpoint
TRANSFERRED_MODEL = "nequip_elemtransfer.model.TransferredModel"

logger = RankedLogger(__name__, rank_zero_only=True)


# NequIP's builders that name a file instead of an architecture, and the option that does
_LOADERS = {
    "nequip.model.ModelFromCheckpoint": "checkpoint_path",
    "nequip.model.ModelFromPackage": "package_path",
}

_NEQUIP_NET = "nequip.net:"

# The only functions that may group parameters for the optimizer of a ScheduleFree source.
_PARAMETER_GROUPS = (
    "nequip.train.lightning._default_param_group_factory",
    "nequip.model.MuonParamGroups",
    "allegro.model.MuonParamGroups",
)


@dataclass(frozen=True)
class Configuration:
    """A stored ``model:`` section, unwrapped.

    Args:
        architecture: the builder's configuration
        modifiers: lists given to ``nequip.model.modify``, innermost first
        provenance: of the transfer that made the model, if one did
    """

    architecture: Architecture
    modifiers: tuple[list, ...]
    provenance: dict[str, Any] | None


@dataclass(frozen=True)
class SourceModel:
    """A trained model, taken apart.

    Args:
        path: where it was read
        sha256: of that file
        architecture: the builder's configuration, with the options that training changed as they are now
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
    """Read a checkpoint of ``nequip-train``, a package, a model of nequip.net, or a model of NequIP 0.5 or 0.6.

    A checkpoint is never unpickled in full, and nothing it names is called but model builders of NequIP and its
    installed extensions. Loading a package runs the code in it, as everywhere in NequIP. The model is rebuilt from
    what was read and compared with NequIP's own loading.

    Args:
        path: of a ``.ckpt`` or ``.nequip.zip`` file, or ``nequip.net:group/model:version``; for NequIP 0.5 and 0.6 of a
            training folder, or of a file that ``nequip-deploy build`` made
        sha256: hexadecimal digest the file must have

    Raises:
        FileNotFoundError: if there is no such file
        ValueError: if it holds no model, differs from ``sha256``, or cannot be rebuilt
    """
    if is_old_model(path):
        digest = _checked_digest(path, weights_file(path), sha256)
        return SourceModel(str(path), digest, *load_old(path))
    with _local_file(path) as file:
        digest = _checked_digest(path, file, sha256)
        arch.initialize_nequip()
        configuration, reference = _package(file) if _is_package(file) else _checkpoint(file)
    source = SourceModel(
        path=str(path),
        sha256=digest,
        architecture=with_trained_options(configuration.architecture, reference),
        state={name: tensor.detach().clone() for name, tensor in reference.state_dict().items()},
        provenance=configuration.provenance,
    )
    _prove_round_trip(source, reference)
    return source


def read_checkpoint(path: str | Path) -> dict[str, Any]:
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


def read_configuration(model: Any, path: str | Path) -> Configuration:
    """What a stored ``model:`` section says once wrappers around the architecture are taken off.

    A model made by ``nequip.model.modify`` or by this plugin holds its architecture; one made by
    ``ModelFromCheckpoint`` or ``ModelFromPackage`` names a file, which is followed while it exists.

    Args:
        model: the section
        path: of the file it was read from, for messages

    Raises:
        ValueError: if there is no architecture in it, or one that is not accepted
    """
    if not isinstance(model, Mapping) or "_target_" not in model:
        raise ValueError(
            f"source {str(path)!r} does not say how its model was built: it is no checkpoint of `nequip-train`."
        )
    target = model["_target_"]
    if target == TRANSFERRED_MODEL:
        return Configuration(_accepted(model["architecture"], path), (), model["provenance"])
    if target == "nequip.model.modify":
        inner = read_configuration(model["model"], path)
        return replace(inner, modifiers=(*inner.modifiers, _modifiers(model.get("modifiers"), path)))
    if target in _LOADERS:
        return _followed(str(model.get(_LOADERS[target])), target, path)
    return Configuration(_accepted(model, path), (), None)


def training_file(path: str) -> str | None:
    """The training file a checkpoint names in its ``data:`` section; None where it names none, as in a package.

    Args:
        path: as for :func:`load_source`
    """
    if is_old_model(path):
        return old_training_file(path)
    with _get_model_file_path(path) as file:
        if _is_package(file):
            return None
        info = read_checkpoint(file)["hyper_parameters"].get("info_dict") or {}
    named = (info.get("data") or {}).get("train_file_path")
    return named if isinstance(named, str) else None


def existing_file(path: str | Path) -> Path:
    """The path of a file.

    Raises:
        FileNotFoundError: if there is none
    """
    file = Path(path)
    if not file.is_file():
        problem = "is a folder" if file.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"source {str(path)!r} {problem}: give the path of a .ckpt file written by `nequip-train`, of a "
            f".nequip.zip package, or a nequip.net id (relative paths start from {Path.cwd()})."
        )
    return file


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _local_file(path: str) -> Iterator[Path]:
    """The file itself, or the one that NequIP has in its cache or fetches."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_get_model_file_path(path))
        except (ModelNotFoundError, OSError, ValueError, AssertionError) as error:
            raise ValueError(
                f"source {path!r} cannot be fetched: check the id, nequip.net:group/model:version, and the connection, "
                f"which NequIP needs for a cached model too; or give a .nequip.zip file. ({_first_line(error)})"
            ) from error
        yield file


def _checked_digest(path: str, file: Path, expected: str | None) -> str:
    found = sha256_of(existing_file(file))
    if expected is not None and found != expected:
        raise ValueError(
            f"source {str(path)!r} has the SHA-256 {found}, but `element_transfer.sha256` says {expected}: "
            "this is another file, or the pin is out of date."
        )
    return found


def _is_package(file: str | Path) -> bool:
    return str(file).endswith(".nequip.zip")


def _checkpoint(file: Path) -> tuple[Configuration, GraphModel]:
    checkpoint = read_checkpoint(file)
    configuration = read_configuration(checkpoint["hyper_parameters"].get("model"), file)
    return configuration, _evaluation_model(checkpoint, configuration, file)


def _package(file: Path) -> tuple[Configuration, GraphModel]:
    configuration = read_configuration(_package_model_section(file), file)
    model = ModelFromPackage(str(file))[_SOLE_MODEL_KEY]
    return configuration, model.eval()


def _package_model_section(file: Path) -> Any:
    try:
        importer = torch.package.PackageImporter(str(existing_file(file)))
        metadata = yaml.safe_load(importer.load_text("model", "package_metadata.txt"))
        config = OmegaConf.create(importer.load_text("model", "config.yaml"))
    except (RuntimeError, KeyError, OSError, yaml.YAMLError) as error:
        raise ValueError(
            f"source {str(file)!r} is truncated or not a package of `nequip-package`. ({_first_line(error)})"
        ) from error
    written_by = str(metadata["versions"].get("nequip"))
    if _release(written_by) > _release(nequip.__version__):
        raise ValueError(
            f"source {str(file)!r} was packaged by NequIP {written_by}, which is newer than the installed "
            f"{nequip.__version__}: update NequIP."
        )
    return OmegaConf.to_container(config.training_module.model)


def _release(version: str) -> tuple[int, ...]:
    """Major and minor number; what NequIP may change a package's contents with."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _modifiers(value: Any, path: str | Path) -> list:
    """The list given to ``nequip.model.modify``, which may stand under the model's name."""
    modifiers = value.get(_SOLE_MODEL_KEY) if isinstance(value, Mapping) else value
    if not isinstance(modifiers, list) or not all(isinstance(m, Mapping) and "modifier" in m for m in modifiers):
        raise ValueError(
            f"source {str(path)!r} holds modifiers that `nequip.model.modify` does not take, {value!r}: "
            "a list of `{modifier: name, ...}` is needed."
        )
    return modifiers


def _accepted(architecture: Mapping, path: str | Path) -> Architecture:
    try:
        arch.check(dict(architecture))
    except ValueError as error:
        raise ValueError(f"source {str(path)!r} cannot be used: {error}") from error
    return dict(architecture)


def _followed(inner: str, target: str, path: str | Path) -> Configuration:
    if not Path(inner).is_file():
        raise ValueError(
            f"source {str(path)!r} names no architecture: its model was made by {target} from {inner!r}, which is not "
            "there (any more). Put that file back at that path, or run from where it was trained."
        )
    if _is_package(inner):
        return read_configuration(_package_model_section(Path(inner)), inner)
    return read_configuration(read_checkpoint(inner)["hyper_parameters"].get("model"), inner)


def _evaluation_model(checkpoint: Mapping, configuration: Configuration, path: str | Path) -> GraphModel:
    """The model NequIP would evaluate: its own training modules know what EMA and the like mean for the weights."""
    state = {k: v for k, v in checkpoint["state_dict"].items() if k.startswith(("model.", "ema.", "run_stage"))}
    if not any(name.startswith(f"model.{_SOLE_MODEL_KEY}.") for name in state):
        raise ValueError(f"source {str(path)!r} holds several models or none; one model is needed.")
    module_class, options = _training_module(checkpoint)
    model = configuration.architecture
    for modifiers in configuration.modifiers:
        model = {"_target_": "nequip.model.modify", "model": model, "modifiers": modifiers}
    with arch.override_model_compile_mode("eager"), only_apply_persistent_modifiers(persistent_only=True):
        try:
            module = module_class(model=model, num_datasets={"train": 1, "val": 0, "test": 0}, **options)
        except (RuntimeError, TypeError, AttributeError, LookupError, AssertionError) as error:
            raise ValueError(
                f"the model in source {str(path)!r} cannot be built from its configuration, modifiers included: was it "
                f"trained with another version of NequIP or of an extension? ({_first_line(error)})"
            ) from error
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
        ema = checkpoint["state_dict"]["ema._extra_state"]
        if not ema["is_holding_ema_weights"]:
            raise ValueError(
                "the source was saved inside a validation, when NequIP has its EMA weights swapped with the raw ones, "
                "and NequIP refuses it too: use another checkpoint, and train with `check_val_every_n_epoch: 1` or a "
                "ModelCheckpoint with `save_on_train_epoch_end: true`."
            )
        return EMALightningModule, {"ema_decay": ema["decay"]}
    if issubclass(saved, ScheduleFreeLightningModule):
        return ScheduleFreeLightningModule, {"optimizer": _schedule_free(hyper["optimizer"])}
    return NequIPLightningModule, {}


def _schedule_free(optimizer: Mapping) -> Mapping:
    """A checkpoint's optimizer, which NequIP builds to evaluate; it has Hydra call what the parameter groups name."""
    if not str(optimizer["_target_"]).startswith("schedulefree."):
        raise ValueError(f"the optimizer {optimizer['_target_']!r} is not one of the schedulefree package.")
    groups = optimizer.get("param_groups")
    if groups is not None:
        calls = [item["_target_"] for item in arch.nested(groups) if isinstance(item, Mapping) and "_target_" in item]
        hidden = [item for item in arch.nested(groups) if isinstance(item, str) and "${" in item]
        if hidden or len(calls) != 1 or calls[0] not in _PARAMETER_GROUPS:
            raise ValueError(
                f"the `param_groups` of a source trained with ScheduleFree may call one of "
                f"{', '.join(_PARAMETER_GROUPS)} and nothing else, found {groups!r}: package the model with "
                "`nequip-package` and use the package as the source."
            )
    if find_spec("schedulefree") is None:
        raise ValueError("a source trained with ScheduleFree needs the schedulefree package: pip install schedulefree.")
    return optimizer


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
