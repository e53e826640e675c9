"""The trained model a transfer starts from."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nequip
import torch
import yaml
from nequip.model import ModelFromPackage
from nequip.nn import GraphModel
from nequip.utils.dtype import floating_point_tolerance
from nequip.utils.logger import RankedLogger
from nequip.utils.model_repository import ModelNotFoundError

from nequip_elemtransfer.architecture import builders as arch
from nequip_elemtransfer.architecture.builders import Architecture, with_trained_options
from nequip_elemtransfer.architecture.nequip_names import imported
from nequip_elemtransfer.architecture.probe import largest_difference, probe_cluster
from nequip_elemtransfer.checkpoints.gate import read_checkpoint, sha256_of
from nequip_elemtransfer.checkpoints.legacy.model import load_old_model
from nequip_elemtransfer.checkpoints.legacy.reading import is_old_model, old_training_file, weights_file
from nequip_elemtransfer.checkpoints.migration import Release, release, todays_state, who_wrote
from nequip_elemtransfer.checkpoints.record import TransferRecord
from nequip_elemtransfer.checkpoints.stored_model import (
    BUILDERS_ERRORS,
    checkpoint_model,
    is_package,
    packaged_section,
    read_configuration,
    require_finite,
)
from nequip_elemtransfer.output.paths import existing_file
from nequip_elemtransfer.output.refusal import RefusedFile, first_line
from nequip_elemtransfer.output.table import printable
from nequip_elemtransfer.structures.named_files import NamedFile, named_files

logger = RankedLogger(__name__, rank_zero_only=True)


@dataclass(frozen=True)
class SourceModel:
    """A trained model, taken apart.

    Args:
        path: where it was read
        sha256: of that file
        architecture: the builder's configuration, with the options that training changed as they are now
        state: parameters and buffers by name, the weights NequIP evaluates with (EMA where there are any), on the CPU
        provenance: of the transfer that made this model, if one did
        training_files: that the training's config names, and how they are read; they may not be there
        conversion: what was changed to read a model of an older NequIP, in words
    """

    path: str
    sha256: str
    architecture: Architecture
    state: dict[str, torch.Tensor]
    provenance: dict[str, Any] | None = None
    training_files: tuple[NamedFile, ...] = ()
    conversion: tuple[str, ...] = ()

    @property
    def type_names(self) -> list[str]:
        return list(self.architecture["type_names"])

    @property
    def r_max(self) -> float:
        """Cutoff radius in Å."""
        return float(self.architecture["r_max"])

    @property
    def embedded_fields(self) -> Sequence[Mapping[str, Any]]:
        """What the model reads of a structure as a whole, NequIP's ``categorical_graph_field_embed``."""
        return self.architecture.get("categorical_graph_field_embed") or []

    @property
    def predicts_forces(self) -> bool:
        """Whether the model predicts forces and stresses."""
        return self.architecture.get("do_derivatives") is not False

    def describe(self) -> str:
        """What the model offers as a source, as text: its types, cutoff, options and history."""
        options = {name: value for name, value in self.architecture.items() if value is not None}
        title = printable(f"{self.path} (sha256 {self.sha256})")
        lines = [title, "", yaml.safe_dump(options, sort_keys=False).rstrip()]
        lines.append(f"\n{sum(t.numel() for t in self.build().parameters())} parameters")
        if self.conversion:
            lines.append(f"read as a model of today: {'; '.join(self.conversion)}")
        if self.provenance is not None:
            lines += ["", "made by a transfer:", "", TransferRecord.from_dict(self.provenance).text()]
        return "\n".join(lines)

    def build(self) -> GraphModel:
        """The eager model with its trained weights."""
        model = arch.build(self.architecture)
        model.load_state_dict(self.state)
        return model


def load_source(path: str, sha256: str | None = None) -> SourceModel:
    """Read a checkpoint of ``nequip-train``, a package, a model of nequip.net, or a model of NequIP 0.5 or 0.6.

    A checkpoint is read as data (:func:`nequip_elemtransfer.checkpoints.gate.read_checkpoint`), and nothing it names is
    called but model builders of NequIP and its installed extensions. Loading a package runs the code in it, as
    everywhere in NequIP. The model is rebuilt from what was read and compared with NequIP's own loading.

    Args:
        path: of a ``.ckpt`` or ``.nequip.zip`` file, or ``nequip.net:group/model:version``; for NequIP 0.5 and 0.6 of a
            training folder, or of a file that ``nequip-deploy build`` made
        sha256: hexadecimal digest the file must have

    Raises:
        FileNotFoundError: if there is no such file
        RefusedFile: if it is damaged, hostile, holds no model, differs from ``sha256``, or cannot be rebuilt
        ValueError: if it cannot be fetched
    """
    if is_old_model(path):
        digest = _checked_digest(path, weights_file(path), sha256)
        old = load_old_model(path)
        for sentence in old.changes:
            logger.info(f"Source {str(path)!r}: {sentence}.")
        return SourceModel(
            str(path),
            digest,
            old.architecture,
            old.state,
            training_files=tuple(_old_training_files(path)),
            conversion=old.changes,
        )
    trained_on: tuple[NamedFile, ...] = ()  # which packages do not say
    with _local_file(path) as file:
        digest = _checked_digest(path, file, sha256)
        if is_package(file):
            section, versions = packaged_section(file)
            configuration = read_configuration(section, versions, file).as_of_today()
            reference = packaged_model(file)
        else:
            checkpoint = read_checkpoint(file)
            configuration, reference = checkpoint_model(checkpoint, file)
            trained_on = _training_files(checkpoint)
    require_finite(reference, f"source {str(path)!r}")
    architecture = with_trained_options(configuration.architecture, reference)
    state, changed = _state(reference, architecture, configuration.written)
    source = SourceModel(
        path=str(path),
        sha256=digest,
        architecture=architecture,
        state=state,
        provenance=configuration.provenance,
        training_files=trained_on,
        conversion=(*configuration.migrated, *changed),
    )
    if source.conversion:
        logger.warning(
            f"source {source.path!r} is of NequIP {configuration.versions.get('nequip', '(not said)')} and read as one "
            f"of today: {'; '.join(source.conversion)}."
        )
    _prove_round_trip(source, reference, configuration.versions)
    return source


def packaged_model(path: str | Path, what: str = "source") -> GraphModel:
    """The eager model of a package; this runs the code in it, as everywhere in NequIP.

    Args:
        what: as for :func:`~nequip_elemtransfer.checkpoints.gate.read_checkpoint`

    Raises:
        RefusedFile: if it cannot be loaded
    """
    arch.initialize_nequip()
    try:
        return ModelFromPackage(str(path))[imported("nequip.train.lightning._SOLE_MODEL_KEY")].eval()
    except (*BUILDERS_ERRORS, ImportError, OSError, pickle.UnpicklingError) as error:
        raise RefusedFile(f"the model in {what} {str(path)!r} cannot be loaded: {first_line(error)}") from error


@contextmanager
def _local_file(path: str) -> Iterator[Path]:
    """The file itself, or the one that NequIP has in its cache or fetches."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(imported("nequip.model.saved_models.load_utils._get_model_file_path")(path))
        except (ModelNotFoundError, OSError, ValueError, AssertionError) as error:
            raise ValueError(
                f"source {path!r} cannot be fetched: check the id, nequip.net:group/model:version, and the connection, "
                f"which NequIP needs for a cached model too; or give a .nequip.zip file. ({first_line(error)})"
            ) from error
        yield file


def _training_files(checkpoint: Mapping[str, Any]) -> tuple[NamedFile, ...]:
    """The files to train on that a checkpoint names in its ``data:`` section, where ASE reads them."""
    info = checkpoint["hyper_parameters"].get("info_dict") or {}
    data = info.get("data")
    files = named_files(data) if isinstance(data, Mapping) else []
    return tuple(file for file in files if file.by_ase and "train" in file.roles)


def _old_training_files(path: str) -> list[NamedFile]:
    named = old_training_file(path)
    return [] if named is None else [NamedFile("dataset_file_name", named, frozenset({"train"}), True, {})]


def _checked_digest(path: str, file: Path, expected: str | None) -> str:
    found = sha256_of(existing_file(file))
    if expected is not None and found != expected:
        raise RefusedFile(
            f"source {str(path)!r} has the SHA-256 {found}, but `element_transfer.sha256` says {expected}: "
            "this is another file, or the pin is out of date."
        )
    return found


def _state(
    reference: GraphModel, architecture: Architecture, written: Release | None
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Parameters and buffers of a model, and what was changed of them, in words.

    Args:
        reference: in a package of an older NequIP it is made of that release's modules
    """
    state = {name: tensor.detach().clone() for name, tensor in reference.state_dict().items()}
    if written is None or written >= release(nequip.__version__):
        return state, []
    today = arch.build(architecture)
    return todays_state(state, today.state_dict(), [name for name, _ in today.named_parameters()], written)


def _prove_round_trip(source: SourceModel, reference: GraphModel, versions: Mapping[str, str]) -> None:
    """Rebuild the source from what was read and compare energies and forces with NequIP's own loading of it."""
    data = probe_cluster(source.architecture)
    difference = largest_difference(reference, source.build().eval(), data)
    tolerance = floating_point_tolerance(source.architecture["model_dtype"])
    if not difference <= tolerance:
        raise RefusedFile(
            f"source {source.path!r} was not understood: rebuilt from its configuration, it differs from the loaded "
            f"model by {difference:.1e} (tolerance {tolerance:.0e}; eV and eV/Å). "
            f"Was it trained with another version of NequIP or of an extension?{who_wrote(versions)}"
        )
    logger.info(f"Rebuilt source differs from the loaded one by at most {difference:.1e} (tolerance {tolerance:.0e}).")
