"""From a source model and labelled structures of the target to everything that the report says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nequip_elemtransfer.architecture.duration import step_seconds
from nequip_elemtransfer.checkpoints.record import known_errors
from nequip_elemtransfer.config import LABEL_KINDS
from nequip_elemtransfer.energies.kept import another_method
from nequip_elemtransfer.energies.populations import energy_gap
from nequip_elemtransfer.energies.units import check_units, unit_of_scale
from nequip_elemtransfer.energies.zeros import doubtful_zero_stresses
from nequip_elemtransfer.materials.crystal import parse_crystal
from nequip_elemtransfer.plan.likeness.source_structures import AdversarialStep, compare_structures, source_structures
from nequip_elemtransfer.plan.likeness.sufficiency import assess
from nequip_elemtransfer.plan.options import PlanOptions
from nequip_elemtransfer.plan.result import CalculatorPlan, Plan
from nequip_elemtransfer.plan.source_check.check import check_source, inherited
from nequip_elemtransfer.plan.source_check.crystal import check_references
from nequip_elemtransfer.plan.start.calculators import calculate_labels, compare_calculators
from nequip_elemtransfer.plan.start.cross_validation import (
    CrossValidation,
    FittedEnergies,
    HeldOut,
    labelled_start,
)
from nequip_elemtransfer.plan.start.length_scan import length_scan
from nequip_elemtransfer.plan.start.ranking import Proposal, propose
from nequip_elemtransfer.plan.structures import ChosenStructures, require_labels
from nequip_elemtransfer.plan.training.loss import loss_of
from nequip_elemtransfer.plan.training.training_files import label_notes, n_validation, reading_of
from nequip_elemtransfer.plan.verdict import GO, PlanVerdict, judge
from nequip_elemtransfer.source import SourceModel, load_source
from nequip_elemtransfer.structures.files import elements_in, to_frames
from nequip_elemtransfer.structures.frames import compositions, isolated_atoms, with_neighbors
from nequip_elemtransfer.structures.labels import labels_of
from nequip_elemtransfer.structures.reading import read_files
from nequip_elemtransfer.structures.words import listed
from nequip_elemtransfer.transfer.start import Start

_DEFAULTS = PlanOptions()
# Å; without a model, structures that agree within it are copies, and atoms without a neighbour within it are isolated
_REACH = 5.0


def plan(source: str, data: str | Path, options: PlanOptions = _DEFAULTS) -> Plan:
    """Find out what a transfer will do, before any training.

    Args:
        source: ``.ckpt`` or ``.nequip.zip`` file, or ``nequip.net:group/model:version``
        data: labelled structures of the target, any format of ASE
        options: what is asked besides

    Raises:
        FileNotFoundError: if a file is missing
        ValueError: if source, data, elements and calculators do not go together
        UnusableStructure, NoLabels, WrongUnit: naming a structure that is damaged, or what is wrong with the labels
        ModuleNotFoundError: naming the extra, if scikit-learn or the descriptor library is not installed
    """
    return planned(source, data, options)[0]


def planned(source: str, data: str | Path, options: PlanOptions = _DEFAULTS) -> tuple[Plan, CrossValidation]:
    """The plan of :func:`plan`, and the start that it is about, on the structures that it looked at."""
    crystal = None if options.crystal is None else parse_crystal(options.crystal)
    check_references(options.references, crystal)
    model, progress = load_source(source), options.progress
    given = () if options.source_data is None else (options.source_data,)
    read, *source_data = read_files([data, *given], options.data)
    chosen = ChosenStructures.of(read.structures, options.max_structures, model.r_max)
    held_back = n_validation(len(chosen.every), options.held_back)
    own, origin = source_structures(model, *source_data)
    calculated = calculate_labels(options.compare, chosen.picked, progress)

    proposal, trial = fitted_start(model, chosen, options)
    start = trial.start
    ladder = trial.ladder(trial.tried_scales)
    scan = length_scan(start, options.lattice_ratio) if start.searchable else None
    scan_warnings, disagreement = (scan.warnings, scan.disagreement) if scan else ([], "")
    energies = trial.energies(start.scales, np.arange(len(chosen.places)))
    doubts = _doubts(trial, energies, chosen.places)

    labels, types = trial.labels, trial.type_names
    species = start.config.species(model.type_names)
    check = check_source(model, species, own, crystal, options.references, "source" if progress else "")
    n_stresses = int(np.isfinite(labels.stresses).all(axis=(1, 2)).sum())
    kept_faults, mended_faults = inherited(check.faults if check else [], labels.kinds, n_stresses)
    likeness, likeness_notes = compare_structures(own, origin, chosen, start, options.seed)

    target_model, r_max = start.target.model_at(start.scales)
    n_parameters = sum(p.numel() for p in target_model.parameters())
    compiled, example = model.architecture.get("compile_mode") == "compile", start.structures.frames[0]
    seconds = step_seconds(target_model, with_neighbors(example, r_max), 1) if compiled else None
    radii = [disagreement] if disagreement else []
    verdict = _verdict(trial, likeness, [*doubts, *scan_warnings, *kept_faults])
    comparison = compare_calculators(calculated, chosen.picked, trial, ladder, start) if calculated else None
    notes = label_notes(labels, trial.counts, start.structures.isolated, chosen.places, model.predicts_forces)
    notes += _nothing_held_out(trial) + (comparison.notes(chosen.places) if comparison else [])
    found = Plan(
        source=model.path,
        sha256=model.sha256,
        data=str(data),
        source_types=model.type_names,
        elements=start.target.element_map.describe(),
        chemical_species=dict(options.chemical_species),
        kept_types=options.kept_types,
        proposed=proposal.proposed,
        n_structures=len(chosen.every),
        n_evaluated=len(chosen.places),
        held_back=held_back,
        labels=list(labels.kinds),
        length_scale=dict(zip(types, start.scales.tolist())),
        length_scale_errors=known_errors(types, start.lengths.errors.tolist()),
        energy_scale=dict(zip(types, energies.scales.tolist())),
        energy_scale_errors=known_errors(types, energies.errors.tolist()),
        energy_shifts=dict(zip(types, energies.shifts.tolist())),
        r_max=r_max,
        ladder=ladder,
        scan=scan,
        ranking=proposal.ranking,
        adversarial=likeness,
        sufficiency=assess(chosen.every, r_max, start.config.species(types), n_parameters),
        source_check=check,
        verdict=verdict,
        loss=loss_of(labels, trial.counts, labels.kinds),
        data_options=options.data,
        reading=reading_of(read, labels.kinds, [field["field"] for field in model.embedded_fields]),
        warnings=[*doubts, *scan_warnings, *([] if verdict.word == GO else radii), *kept_faults],
        notes=[
            *read.said,
            *(line for each in source_data for line in each.said),
            *notes,
            *(radii if verdict.word == GO else []),
            *mended_faults,
            *likeness_notes,
        ],
        comparison=comparison,
        structure_seconds=seconds,
    )
    return found, trial


def fitted_start(
    model: SourceModel, chosen: ChosenStructures, options: PlanOptions
) -> tuple[Proposal, CrossValidation]:
    """The element map that was asked for or is proposed, and its start, λ searched.

    Raises:
        ValueError, NoLabels, WrongUnit: see :func:`plan`
    """
    proposal = propose(model, chosen, options)
    start = labelled_start(proposal.config, model, chosen)
    start.scan(task="length scale" if options.progress else "")
    _check_units(start)
    return proposal, CrossValidation(start, chosen.folds(options.seed), chosen.families)


def compare_alone(data: str | Path, options: PlanOptions) -> CalculatorPlan:
    """Compare calculators with labelled structures and each other, where there is no model to transfer from.

    Args:
        data: labelled structures, any format of ASE
        options: of which ``compare``, ``max_structures``, ``seed`` and ``progress`` count

    Raises:
        FileNotFoundError: a file is missing
        ValueError: no calculator is named, one cannot be made, or structures are damaged
        NoLabels: the structures have no labels
    """
    if not options.compare:
        raise ValueError("without a source there is nothing to plan but --compare NAME=FILE.yaml: name a calculator.")
    [read] = read_files([data], options.data)
    chosen = ChosenStructures.of(read.structures, options.max_structures, _REACH)
    elements = elements_in(chosen.picked)
    frames = to_frames(chosen.picked, elements, elements, places=chosen.places)
    isolated = isolated_atoms(frames, _REACH)
    labels = labels_of(frames).without(isolated, compositions(frames, len(elements)))
    require_labels(labels)
    trial = HeldOut(frames, labels, elements, chosen.folds(options.seed), chosen.families)
    calculated = calculate_labels(options.compare, chosen.picked, options.progress)
    comparison = compare_calculators(calculated, chosen.picked, trial)
    notes = [
        f"No structure has a label of {kind}, so its errors are not known."
        for kind in LABEL_KINDS
        if not labels.has(kind)
    ]
    if isolated:
        notes.append(f"Isolated atoms were left out: {listed([chosen.places[i] for i in isolated])}.")
    notes = [*read.said, *notes, *_nothing_held_out(trial), *comparison.notes(chosen.places)]
    n_structures, n_chosen = len(chosen.every), len(chosen.places)
    return CalculatorPlan(str(data), n_structures, n_chosen, list(labels.kinds), trial.baseline(), comparison, notes)


def _check_units(start: Start) -> None:
    parts, labels = start.search.parts(start.scales), start.structures.labels
    check_units(labels, parts.predicted(np.ones(len(start.frozen)), start.target.start_shifts), parts.counts)


def _doubts(trial: CrossValidation, energies: FittedEnergies, places: Sequence[int]) -> list[str]:
    """What speaks for a second zero of energy, placeholders, another unit, or another method of kept types."""
    start, parts = trial.start, trial.start.search.parts(trial.start.scales)
    found, weights = (energies.scales, energies.shifts), start.config.fit_weights
    return [
        *energy_gap(parts, trial.labels, *found, places),
        *doubtful_zero_stresses(parts, trial.labels, *found, places),
        *unit_of_scale(trial.type_names, energies.scales, ~start.frozen),
        *another_method(parts, trial.labels, found, start.frozen, trial.type_names, weights),
    ]


def _verdict(trial: CrossValidation, likeness: Sequence[AdversarialStep], warnings: Sequence[str]) -> PlanVerdict:
    """From held-out forces and from how alike the structures are."""
    several, frozen, scales = len(trial.folds) > 1, trial.start.frozen, trial.tried_scales
    some_kept = bool(frozen.any() and not frozen.all())
    on_all = trial.unexplained(scales, all_types=True) if several and some_kept else {}
    alike = [step.result.auc for step in likeness if step.features != "model"]
    return judge(
        unexplained=trial.unexplained(scales).get("forces") if several else None,
        map_alone=trial.unexplained_map_alone().get("forces") if several else None,
        auc=min(alike, default=None),
        warnings=warnings,
        new_types=trial.judged_types if some_kept else (),
        on_all=on_all.get("forces"),
    )


def _nothing_held_out(trial: HeldOut) -> list[str]:
    if len(trial.folds) > 1:
        return []
    return ["One structure, or copies of one, leaves nothing to hold out: the errors are without fits."]
