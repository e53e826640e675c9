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
from nequip_elemtransfer.deploy.trained import TrainedModel
from nequip_elemtransfer.output.refusal import first_line
from nequip_elemtransfer.structures.files import read_structures, to_frames
from nequip_elemtransfer.structures.frames import trained_and_validated
from nequip_elemtransfer.structures.labels import labels_of
from nequip_elemtransfer.uncertainty.mahalanobis import Calibration, Known, Uncertainty
from nequip_elemtransfer.uncertainty.readout import Readings, take_readings

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


def measure(trained: TrainedModel, calibrate: Path | None = None) -> Measured:
    """The uncertainty of a model that NequIP trained, by its training's own structures.

    Args:
        calibrate: labelled structures that the training did not see, in a file that ASE reads; those that the
            training validated on if left out

    Raises:
        FileNotFoundError: if a file is not there
        ValueError: if the model has no readout, the training's structures cannot be read or are too few, or there is
            nothing to calibrate on
    """
    model = trained.model
    known_frames, others = _structures_of_training(trained)
    where = f"{len(others)} structures that the training validated on"
    if calibrate is not None:
        others = frames_of(trained, read_structures(calibrate))
        where = f"{len(others)} structures of {calibrate.name}"
    elif not others:
        raise ValueError(
            f"the training of {trained.path} had no validation structures, and uncertainties are calibrated on "
            "structures that the training did not see: name a file of labelled ones with --calibrate."
        )
    known_readings = take_readings(model, graphs_of(model, known_frames))
    known = Known.of(known_readings.features)
    readings = take_readings(model, graphs_of(model, others))
    seen = _seen(readings, known_readings, known)
    if seen.all():
        raise ValueError(f"all of the {where} are in the training too and say nothing of errors: name others.")
    residuals = np.where(np.repeat(seen, readings.n_atoms)[:, None], np.nan, labels_of(others).forces - readings.forces)
    calibration = Calibration.on(
        residuals, known.squared_distances(readings.features), _labelled(residuals, readings.n_atoms)
    )
    notes = []
    if seen.any():
        notes.append(f"{seen.sum()} of the {where} are in the training too and were left out of the calibration.")
    if calibration.n_structures < _FEW:
        notes.append(
            f"uncertainties are calibrated on {calibration.n_structures} structures, and {_FEW} are the least that "
            "tell: give more with --calibrate."
        )
    return Measured(Uncertainty(known, calibration), len(known_frames), where, tuple(notes))


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
    return [neighbors(frame.copy()) for frame in frames]


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


def _seen(readings: Readings, known_readings: Readings, known: Known) -> np.ndarray:
    """Which structures hold only atoms that the training has, shape (n_structures,)."""
    tree = cKDTree(known_readings.features / known.spread)
    nearest = tree.query(readings.features / known.spread)[0]
    return np.array([part.max() < _SAME for part in np.split(nearest, np.cumsum(readings.n_atoms)[:-1])])


def _labelled(residuals: np.ndarray, n_atoms: np.ndarray) -> int:
    """How many structures have a force to go by."""
    parts = np.split(np.isfinite(residuals).all(axis=1), np.cumsum(n_atoms)[:-1])
    return sum(bool(part.any()) for part in parts)
