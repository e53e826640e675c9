"""Write a file and prove it: load it afresh and compare it with the model it was made from."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from nequip.data import AtomicDataDict
from nequip.nn import GraphModel
from nequip.nn.graph_model import PER_EDGE_TYPE_CUTOFF_KEY
from nequip.utils.global_state import set_global_state

from nequip_elemtransfer.checkpoints.stored_model import is_package
from nequip_elemtransfer.deploy import export, verify
from nequip_elemtransfer.deploy.calibration import Measured, measure
from nequip_elemtransfer.deploy.deployed import DeployedModel, neighbor_list, require_device
from nequip_elemtransfer.deploy.info import kind_of
from nequip_elemtransfer.deploy.mliap import require_runnable, write_mliap
from nequip_elemtransfer.deploy.trained import NoTrainingData, TrainedModel, example_data, load_trained, modified
from nequip_elemtransfer.output.paths import require_model
from nequip_elemtransfer.output.refusal import first_line
from nequip_elemtransfer.structures.options import AS_THEY_ARE, DataOptions
from nequip_elemtransfer.uncertainty.module import GRADE_KEY, UNCERTAINTY_KEY, WithUncertainty


@dataclass(frozen=True)
class Recipe:
    """What to make from what.

    Args:
        model: ``.ckpt`` or ``.nequip.zip`` file
        target: of AOTInductor: ``pair_nequip``, ``pair_allegro`` or ``ase``; the model's pair style if left out
        device: ``cpu`` or ``cuda``, where the file will run
        allow_tf32: whether products may be rounded to TF32 on CUDA
        modifiers: names of NequIP's model modifiers
        common_cutoff: whether the file names one cutoff for all pairs of types, as :func:`.export.metadata_of` has it
        run: folder of the training, which may hold the errors of a test; for the model card
        uncertainty: whether the file says how unsure it is of each force
        calibrate, reading: files to calibrate that on, and how to read them, as of :func:`.calibration.measure`
    """

    model: Path
    target: str | None = None
    device: str = "cpu"
    allow_tf32: bool = False
    modifiers: tuple[str, ...] = ()
    common_cutoff: bool = False
    run: Path | None = None
    uncertainty: bool = False
    calibrate: tuple[Path, ...] = ()
    reading: DataOptions = AS_THEY_ARE


@dataclass(frozen=True)
class Verdict:
    """How a written file compares with its model.

    Args:
        report: the differences as a table
        passed: whether all are within the tolerance
        note: what the user should know besides, or nothing
        measured: the uncertainty that the file gives, if it does
    """

    report: str
    passed: bool
    note: str = ""
    measured: Measured | None = None


def check_options(recipe: Recipe, kind: str) -> None:
    """Refuse a model that is not there, and options that a kind of file does not have.

    Raises:
        FileNotFoundError: with the model
        ValueError: with the option
    """
    require_model(recipe.model)
    if recipe.target is not None and kind != "AOTInductor":
        raise ValueError(f"--target is an option of .nequip.pt2 files, and {kind} files have none.")
    if kind == "ML-IAP" and recipe.device != "cpu":
        raise ValueError("--device: a .nequip.lmp.pt file is for every device, and LAMMPS chooses; leave it out.")
    if kind == "package" and recipe.modifiers:
        raise ValueError("--modifiers: a package holds the model without them; they are applied when it is compiled.")
    if recipe.common_cutoff and kind not in ("TorchScript", "AOTInductor"):
        raise ValueError(
            f"--common-cutoff is for the pair styles nequip and allegro; {kind} files need none: leave it out."
        )
    _check_uncertainty(recipe, kind)
    if kind == "package" and is_package(recipe.model):
        raise ValueError(f"{recipe.model} is a package already: copy it.")


def _check_uncertainty(recipe: Recipe, kind: str) -> None:
    if recipe.calibrate and not recipe.uncertainty:
        raise ValueError("--calibrate names files for --uncertainty: give both, or neither.")
    if not recipe.uncertainty:
        return
    if kind not in ("TorchScript", "AOTInductor"):
        reason = {
            "package": "a package holds the model alone, without a module of this project",
            "ML-IAP": "LAMMPS's ML-IAP takes energies and forces from a file and nothing else",
        }[kind]
        raise ValueError(f"--uncertainty: {reason}; write a .nequip.pth or .nequip.pt2.")
    if recipe.reading != AS_THEY_ARE and not any(path.suffix != ".ckpt" for path in recipe.calibrate):
        raise ValueError("--key is for files of structures that --calibrate names.")
    if missing := [path for path in recipe.calibrate if not path.is_file()]:
        raise FileNotFoundError(f"--calibrate: {missing[0]} does not exist.")


def write_and_verify(recipe: Recipe, out: Path) -> Verdict:
    """Write ``out`` and compare it with the model; it stays where it is, good or bad.

    Raises:
        OSError: if a file cannot be read or written
        ValueError: if the model or an option cannot be used
        RuntimeError: if the model cannot be exported
    """
    require_device(recipe.device)
    set_global_state(allow_tf32=recipe.allow_tf32)
    trained = load_trained(recipe.model)
    frames, note = _check_structures(trained, recipe.common_cutoff)
    measured = measure(trained, recipe.calibrate, recipe.reading) if recipe.uncertainty else None
    expected = verify.expected(trained.model, frames, recipe.device, measured.uncertainty if measured else None)
    model = modified(trained, recipe.modifiers) if recipe.modifiers else trained.model
    try:
        _write(recipe, replace(trained, model=model), measured, next(iter(frames.values())), out)
    except (ValueError, OSError):
        raise
    except Exception as error:  # PyTorch's exporters have many
        raise RuntimeError(
            f"NequIP could not write the {kind_of(out)} file: {first_line(error.__cause__ or error)}"
        ) from error
    differences = verify.compare_predictions(DeployedModel(out, recipe.device), frames, expected)
    tolerance = verify.tolerance(trained.model.metadata["model_dtype"], recipe.allow_tf32 and recipe.device == "cuda")
    passed = all(difference.within(tolerance) for difference in differences)
    notes = [note, *(measured.notes if measured else ())]
    return Verdict(verify.report(differences, tolerance), passed, " ".join(filter(None, notes)), measured)


def _write(
    recipe: Recipe, trained: TrainedModel, measured: Measured | None, frame: AtomicDataDict.Type, out: Path
) -> None:
    kind, model = kind_of(out), trained.model
    described = measured.as_dict() if measured else None
    metadata = export.metadata_of(trained, model, recipe.allow_tf32, recipe.common_cutoff, described)
    metadata |= export.card_of(trained, recipe.run)
    exported = WithUncertainty(model, measured.uncertainty) if measured else model
    extra = verify.extra_inputs(model)
    if kind == "package":
        export.write_package(recipe.model, out)
    elif extra:
        raise ValueError(f"the model takes {', '.join(extra)}, which LAMMPS and compiled files do not: use a package.")
    elif kind == "TorchScript":
        export.write_torchscript(exported, metadata, out, recipe.device, trained.pair_style == "allegro")
    elif kind == "ML-IAP":
        require_runnable(model)
        with TemporaryDirectory() as folder:
            package = recipe.model if is_package(recipe.model) else Path(folder) / "model.nequip.zip"
            if package != recipe.model:
                export.write_package(recipe.model, package)
            write_mliap(package, metadata, out, recipe.modifiers, recipe.allow_tf32)
    else:
        target = recipe.target or f"pair_{trained.pair_style}"
        if target == "pair_allegro" and trained.pair_style != "allegro":
            raise ValueError(
                "--target pair_allegro is for strictly local models such as Allegro; this one passes messages: "
                "use --target pair_nequip."
            )
        graph = neighbor_list(float(metadata["r_max"]), None, model.type_names)(frame.copy())
        more = (UNCERTAINTY_KEY, GRADE_KEY) if measured else ()
        export.write_aotinductor(exported, metadata, out, recipe.device, target, graph, more)


def _check_structures(trained: TrainedModel, common_cutoff: bool) -> tuple[verify.TrialFrames, str]:
    cutoffs, note = _cutoffs(trained.model), ""
    try:
        example = example_data(trained)
    except NoTrainingData as error:
        example, note = verify.made_up_crystal(cutoffs), f"{error}; a made-up crystal stands in for it."
    if trained.migrated:
        read = f"{trained.path} is of an older NequIP and read as a model of today: {'; '.join(trained.migrated)}."
        note = f"{read} {note}".strip()
    frames = verify.check_structures(example, cutoffs, verify.extra_inputs(trained.model))
    return frames | ({"beyond cutoffs": verify.beyond_cutoffs(cutoffs)} if common_cutoff else {}), note


def _cutoffs(model: GraphModel) -> np.ndarray:
    """Cutoff of each pair of types in Å, shape (n_types, n_types)."""
    metadata, n_types = model.metadata, len(model.type_names)
    text = metadata.get(PER_EDGE_TYPE_CUTOFF_KEY) or " ".join([metadata["r_max"]] * n_types**2)
    return np.array(text.split(), dtype=float).reshape(n_types, n_types)
