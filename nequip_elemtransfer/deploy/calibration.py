"""The uncertainty of a trained model: distances from its training structures, calibrated on others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel
from nequip.nn.embedding.utils import cutoff_str_to_fulldict
from nequip.nn.graph_model import PER_EDGE_TYPE_CUTOFF_KEY
from scipy.spatial import cKDTree

from nequip_elemtransfer.checkpoints.nequip_loader import uncalled_data
from nequip_elemtransfer.deploy.deployed import neighbor_list
from nequip_elemtransfer.deploy.trained import TrainedModel, load_trained
from nequip_elemtransfer.output.refusal import first_line
from nequip_elemtransfer.structures.files import to_frames
from nequip_elemtransfer.structures.frames import without_edges
from nequip_elemtransfer.structures.labels import labels_of
from nequip_elemtransfer.structures.options import AS_THEY_ARE, DataOptions
from nequip_elemtransfer.structures.reading import read_files
from nequip_elemtransfer.structures.training_data import trained_and_validated
from nequip_elemtransfer.uncertainty.mahalanobis import Calibration, Known, Uncertainty
from nequip_elemtransfer.uncertainty.readout import take_readings

Frames = Sequence[AtomicDataDict.Type]

# more training structures than this are thinned out, evenly
_MAX_FRAMES = 2000

# with fewer, α is a guess
_FEW = 5

# a structure whose atoms all have a training atom this near, in spreads of a feature, is the same to the model
_SAME = 1e-4


@dataclass(frozen=True)
class Measured:
    """The uncertainty of one model, and where it comes from.

    Args:
        uncertainty: what is exported
        n_structures: of the training
        calibrated_on: in words
        notes: what the user should know besides
    """

    uncertainty: Uncertainty
    n_structures: int
    calibrated_on: str
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the metadata of a file."""
        known, calibration = self.uncertainty.known, self.uncertainty.calibration
        return {
            "scale": calibration.scale,
            "largest": self.uncertainty.largest,
            "features": len(known.mean),
            "training_structures": self.n_structures,
            "training_atoms": known.n_atoms,
            "calibrated_on": self.calibrated_on,
            "calibration_structures": calibration.n_structures,
            "components": calibration.n_components,
            "coverage": list(calibration.coverage),
        }


@dataclass(frozen=True)
class Graded:
    """What a model says of one structure, and how far it is to be trusted.

    Args:
        forces: in eV/Å, shape (n_atoms, 3)
        uncertainty: σ of a force component in eV/Å, shape (n_atoms,)
        grades: γ, shape (n_atoms,); above 1 the atom is unlike all of the training
    """

    forces: np.ndarray
    uncertainty: np.ndarray
    grades: np.ndarray


def measure(trained: TrainedModel, calibrate: Sequence[Path] = (), options: DataOptions = AS_THEY_ARE) -> Measured:
    """The uncertainty of a model that NequIP trained, by its training's own structures.

    Args:
        calibrate: files of labelled structures that the training did not see, or ``.ckpt`` files of trainings on parts
            of its data, as in cross-validation, each calibrated on what it validated on itself; what the training
            validated on if left out
        options: how files of structures are to be read

    Raises:
        FileNotFoundError: if a file is not there
        ValueError: if the model has no readout, the training's structures cannot be read or are too few, or there is
            nothing to calibrate on
    """
    own, notes = _Judge.of(trained), []
    others = [path for path in calibrate if path.suffix != ".ckpt"]
    named = ", ".join(path.name for path in calibrate)
    if calibrate and not others:
        judges = [_Judge.of(load_trained(path)) for path in calibrate]
        found = [judge.judged(judge.validated) for judge in judges]
        where = f"structures that {len(judges)} trainings on parts of the data validated on"
    elif len(others) < len(calibrate):
        raise ValueError(f"--calibrate {named}: give structures, or checkpoints of trainings on parts of the data.")
    elif others:
        files = read_files(others, options)
        notes += [sentence for file in files for sentence in file.said]
        structures = [atoms for file in files for atoms in file.structures]
        found, where = [own.judged(frames_of(trained, structures))], f"structures of {named}"
    else:
        found, where = [own.judged(own.validated)], "structures that the training validated on"
    n_seen, n_labelled = sum(one.n_seen for one in found), sum(one.n_labelled for one in found)
    if n_seen and not n_labelled:
        raise ValueError(
            f"all {n_seen} {where} are in the training too and say nothing of errors: name labelled ones that are not "
            "with --calibrate, or the .ckpt files of trainings on parts of the data, each with its own validation."
        )
    residuals, squared = (np.concatenate([getattr(one, name) for one in found]) for name in ("residuals", "squared"))
    calibration = Calibration.on(residuals, squared, n_labelled)
    if n_seen:
        notes.append(f"left out of the calibration, since the training has them too: {n_seen} {where}.")
    if n_labelled < _FEW:
        notes.append(
            f"uncertainties are calibrated on {n_labelled} structures, and {_FEW} are the least that tell: give more "
            "with --calibrate."
        )
    return Measured(Uncertainty(own.known, calibration), own.n_structures, f"{n_labelled} {where}", tuple(notes))


@dataclass(frozen=True)
class _Judged:
    """What one model says of structures: errors of its forces, and distances of the atoms.

    Args:
        residuals: in eV/Å, shape (n_atoms, 3); NaN of structures that are in the training too
        squared: M², shape (n_atoms,)
        n_seen: structures that are in the training too
        n_labelled: structures with a force to go by
    """

    residuals: np.ndarray
    squared: np.ndarray
    n_seen: int
    n_labelled: int


@dataclass(frozen=True)
class _Judge:
    """A model, its training atoms, and what its training validated on."""

    model: GraphModel
    known: Known
    features: np.ndarray
    n_structures: int
    validated: Frames

    @classmethod
    def of(cls, trained: TrainedModel) -> "_Judge":
        known_frames, validated = _structures_of_training(trained)
        features = take_readings(trained.model, graphs_of(trained.model, known_frames)).features
        return cls(trained.model, Known.of(features), features, len(known_frames), validated)

    def judged(self, frames: Frames) -> _Judged:
        readings = take_readings(self.model, graphs_of(self.model, frames))
        bounds = np.cumsum(readings.n_atoms)[:-1]
        tree = cKDTree(self.features / self.known.spread)
        nearest = tree.query(readings.features / self.known.spread)[0]
        seen = np.array([part.max() < _SAME for part in np.split(nearest, bounds)])
        residuals = labels_of(frames).forces - readings.forces
        residuals[np.repeat(seen, readings.n_atoms)] = np.nan
        labelled = [part.any() for part in np.split(np.isfinite(residuals).all(axis=1), bounds)]
        squared = self.known.squared_distances(readings.features)
        return _Judged(residuals, squared, int(seen.sum()), int(np.sum(labelled)))


def graded(model: GraphModel, uncertainty: Uncertainty, frames: Frames) -> list[Graded]:
    """Forces, uncertainties and grades of structures, by the eager model.

    Args:
        frames: as of :func:`frames_of`
    """
    readings = take_readings(model, graphs_of(model, frames))
    sigma, grades = uncertainty.forces_uncertainty(readings.features), uncertainty.grades(readings.features)
    parts = [np.split(values, np.cumsum(readings.n_atoms)[:-1]) for values in (readings.forces, sigma, grades)]
    return [Graded(*values) for values in zip(*parts)]


def frames_of(trained: TrainedModel, structures: Sequence[Atoms]) -> Frames:
    """Structures in NequIP's form for a model, without neighbour lists.

    Raises:
        ValueError: if the model has no type for an element of theirs
    """
    types = list(trained.model.type_names)
    species = (trained.provenance or {}).get("chemical_species", {})
    return to_frames(structures, types, [species.get(name, name) for name in types])


def graphs_of(model: GraphModel, frames: Frames) -> list[AtomicDataDict.Type]:
    """Structures with the neighbour lists that a model needs."""
    metadata, types = model.metadata, model.type_names
    cutoffs = metadata.get(PER_EDGE_TYPE_CUTOFF_KEY)
    neighbors = neighbor_list(float(metadata["r_max"]), cutoffs and cutoff_str_to_fulldict(cutoffs, types), types)
    return [neighbors(without_edges(frame)) for frame in frames]


def _structures_of_training(trained: TrainedModel) -> tuple[Frames, Frames]:
    """Training and validation structures.

    Raises:
        FileNotFoundError, ValueError: see :func:`measure`
    """
    if trained.checkpoint is None:
        raise ValueError(
            f"--uncertainty: the package {trained.path} does not say what its model was trained on, which "
            "uncertainties need: give the .ckpt file of the training."
        )
    if name := uncalled_data(trained.checkpoint):
        raise ValueError(
            f"--uncertainty needs the training's structures, and those of {trained.path} are made by {name}, which is "
            "not called from a file."
        )
    section = (trained.checkpoint["hyper_parameters"].get("info_dict") or {}).get("data") or {}
    try:
        return trained_and_validated(section, trained.model.type_names, _MAX_FRAMES)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"--uncertainty needs the training's structures, which are not where the training had them: "
            f"{first_line(error)} Run the command in the folder where nequip-train was run."
        ) from error
