"""Other calculators beside the start, such as foundation models: held-out errors, and what a step costs.

A calculator is tried as it is, with the energy shift of each element fitted, and with one energy scale for energies,
forces and stresses fitted too, each on the structures outside a fold as the start itself is.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.stress import voigt_6_to_full_3x3_stress

from nequip_elemtransfer.calculators.process import LABEL, TIME, CalculatorProcess
from nequip_elemtransfer.config import LABEL_KINDS, LabelKind
from nequip_elemtransfer.energies import fit
from nequip_elemtransfer.energies.contributions import NetworkParts
from nequip_elemtransfer.materials.calculator import CallSeconds, read_description, seconds_of_forces
from nequip_elemtransfer.output.progress import progress_bar
from nequip_elemtransfer.plan.errors import Estimate
from nequip_elemtransfer.plan.start.cross_validation import HeldOut, Step, no_labels
from nequip_elemtransfer.structures.labels import Labels
from nequip_elemtransfer.transfer.start import Start

_WARM_UP, _TIMED = 2, 5  # force calls
# kinds of labels count alike, as in the key's own default
_EQUAL_WEIGHTS: Mapping[LabelKind, float] = dict.fromkeys(LABEL_KINDS, 1.0)
_MOVED = 1e-3  # Å, so that no call is answered from memory
_OURS = "this start"


@dataclass(frozen=True)
class StepCost:
    """Medians over force calls.

    Args:
        clock: ms per atom
        processor: the same of all threads; on a busy machine nearer to what the clock says on an idle one
    """

    clock: float
    processor: float


@dataclass(frozen=True)
class Compared:
    """One calculator.

    Args:
        name: given by the user
        calculator: what its description names
        steps: held-out errors as it is, with its energy zero fitted, and with its energy scale fitted too
        cost: of a force call; None where it was not measured
        failed: index among the structures -> why the calculator has no labels of it; errors are those of the others
    """

    name: str
    calculator: str
    steps: list[Step]
    cost: StepCost | None
    failed: dict[int, str]


@dataclass(frozen=True)
class Comparison:
    """All calculators.

    Args:
        rows: of the calculators
        cost: of a force call of the transferred model; None where it was not measured, or without one
        atoms: of the structure that was timed
        better: which start is the better one, and at what cost, in a sentence
        has_start: whether the calculators stand beside a transfer, or alone
    """

    rows: list[Compared]
    cost: StepCost | None
    atoms: int
    better: str
    has_start: bool = True

    @property
    def steps(self) -> list[Step]:
        """Errors of all calculators."""
        return [step for row in self.rows for step in row.steps]

    def notes(self, places: Sequence[int]) -> list[str]:
        """Structures that a calculator failed on, in words.

        Args:
            places: of the structures in their file
        """
        return [
            f"{row.name} has no labels of {len(row.failed)} structures, the first no. {places[min(row.failed)]} "
            f"({row.failed[min(row.failed)]}): its errors are those of the others."
            for row in self.rows
            if row.failed
        ]

    @property
    def costs(self) -> dict[str, StepCost | None]:
        """Of the start, if there is one, and of each calculator."""
        own = {_OURS: self.cost} if self.has_start else {}
        return own | {row.name: row.cost for row in self.rows}


@dataclass(frozen=True)
class CalculatedSet:
    """What a calculator says of structures.

    Args:
        name: given by the user
        description: of the calculator
        labels: NaN where it has none
        failed: index among the structures -> why it has none
    """

    name: str
    description: Mapping[str, Any]
    labels: Labels
    failed: dict[int, str]


def calculate_labels(
    compare: Mapping[str, str | Path], structures: Sequence[Atoms], progress: bool = False
) -> list[CalculatedSet]:
    """The labels of each calculator.

    Args:
        compare: name -> YAML file of an ASE calculator

    Raises:
        FileNotFoundError: a file is missing
        ValueError: a file describes no calculator, which cannot be made, or has labels of none of the structures
    """
    descriptions = {name: read_description(path) for name, path in compare.items()}
    return [_calculated(name, made_of, structures, progress) for name, made_of in descriptions.items()]


def compare_calculators(
    found: Sequence[CalculatedSet],
    structures: Sequence[Atoms],
    trial: HeldOut,
    own: Sequence[Step] = (),
    start: Start | None = None,
) -> Comparison:
    """Errors of calculators on held-out structures, and the time of a force call of each and of the start.

    Args:
        found: labels of the structures by the calculators
        structures: of the frames of ``trial``
        own: the ladder of the start; empty if there is none
        start: the transferred model, whose energies are changed; not timed if it reads more than geometry
    """
    usable = set(range(len(structures))) - {i for row in found for i in row.failed}
    timed = max(usable, key=lambda i: len(structures[i]), default=None)
    times: dict[str, StepCost] = {}
    if timed is not None:
        ours = None if start is None or start.target.source.embedded_fields else start.calculator()
        times = _step_costs(found, ours, structures[timed])
    rows = [
        Compared(
            row.name,
            str(row.description["_target_"]),
            _steps(row.name, row.labels, trial),
            times.get(row.name),
            row.failed,
        )
        for row in found
    ]
    atoms, better = 0 if timed is None else len(structures[timed]), _better(own, rows, times)
    return Comparison(rows, times.get(_OURS), atoms, better, has_start=start is not None)


def _process(name: str, description: Mapping[str, Any]) -> CalculatorProcess:
    return CalculatorProcess(f"--compare {name}", description)


def _calculated(
    name: str, description: Mapping[str, Any], structures: Sequence[Atoms], progress: bool
) -> CalculatedSet:
    energies, stresses = np.full(len(structures), np.nan), np.full((len(structures), 3, 3), np.nan)
    forces = [np.full((len(atoms), 3), np.nan) for atoms in structures]
    failed: dict[int, str] = {}
    with _process(name, description) as process:
        process.require_made()
        bar = progress_bar(structures, desc=name, unit="structure", disable=not progress, leave=False)
        for i, atoms in enumerate(bar):
            labels = process.ask(LABEL, atoms)
            if isinstance(labels, str):
                failed[i] = labels
                continue
            energies[i], forces[i] = labels["energy"], labels["forces"]
            if labels["stress"] is not None:
                stresses[i] = voigt_6_to_full_3x3_stress(labels["stress"])
    if len(failed) == len(structures):
        raise ValueError(f"--compare {name} has labels of none of the {len(structures)} structures: {failed[0]}.")
    return CalculatedSet(name, description, Labels(energies, np.concatenate(forces), stresses), failed)


def _steps(name: str, found: Labels, trial: HeldOut) -> list[Step]:
    zero, scaled = (_held_out(found, trial, scale=scale) for scale in (False, True))
    return [
        trial.step(name, found, zero),
        trial.step(f"{name}, energy zero fitted", zero, zero),
        trial.step(f"{name}, energy scale fitted", scaled, scaled),
    ]


def _held_out(found: Labels, trial: HeldOut, *, scale: bool) -> Labels:
    """A calculator's labels with shifts, and one energy scale, fitted outside each fold."""
    counts, fixed = trial.counts, no_labels(trial.counts)
    parts = NetworkParts(found.energies[None], found.forces[None], found.stresses[None], fixed, counts)
    one, free = np.zeros(1, dtype=bool), np.zeros(counts.shape[1])

    def predict(train: np.ndarray, fold: np.ndarray) -> Labels:
        labels, alpha = trial.labels.of_frames(train, counts), np.ones(1)
        if scale:
            try:
                alpha = fit.fit_energy_scales(parts.of_frames(train).terms(labels), _EQUAL_WEIGHTS, one).scales
            except fit.NoResemblance:
                pass  # as for the start itself, α then is one
        rest = labels.energies - alpha * found.energies[train]
        shifts = fit.fit_energy_shifts(rest, counts[train], free, free > 0).shifts
        return parts.of_frames(fold).predicted(alpha, shifts)

    return trial.predicted(predict)


def _step_costs(calculators: Sequence[CalculatedSet], ours: Calculator | None, atoms: Atoms) -> dict[str, StepCost]:
    """Of each calculator, all in turn. What else runs delays long calls more than short ones."""
    times: dict[str, list[CallSeconds]] = {} if ours is None else {_OURS: []}
    times |= {row.name: [] for row in calculators}
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        processes = {row.name: stack.enter_context(_process(row.name, row.description)) for row in calculators}
        for process in processes.values():
            process.require_made()
        for call in range(_WARM_UP + _TIMED):
            moved = atoms.copy()
            moved.positions += rng.normal(0.0, _MOVED, moved.positions.shape)
            for name, found in times.items():
                own = name == _OURS
                seconds = seconds_of_forces(moved, ours) if own else processes[name].ask(TIME, moved)
                if isinstance(seconds, str):
                    raise ValueError(f"--compare {name} cannot be timed: {seconds}.")
                if call >= _WARM_UP:
                    found.append(seconds)
    return {name: _median_cost(found, len(atoms)) for name, found in times.items()}


def _median_cost(found: Sequence[CallSeconds], n_atoms: int) -> StepCost:
    clock, processor = np.median([(seconds.clock, seconds.processor) for seconds in found], axis=0)
    return StepCost(1000 * float(clock) / n_atoms, 1000 * float(processor) / n_atoms)


def _better(own: Sequence[Step], rows: Sequence[Compared], times: Mapping[str, StepCost]) -> str:
    """The start with the lowest errors, and what the calculators cost beside this one."""
    starts = ({_OURS: own[-1]} if own else {}) | {row.name: row.steps[-1] for row in rows}
    sentences = []
    for what, unit, error in (
        ("forces", "meV/Å", "force_mae"),
        ("energies", "meV/atom", "energy_mae"),
    ):
        found: dict[str, Estimate] = {n: e for n, step in starts.items() if (e := getattr(step, error)) is not None}
        if len(found) > 1 and (_OURS in found or not own):
            ranked = sorted(found, key=lambda name: found[name].value)
            values = ", ".join(f"{name} {1000 * found[name].value:.1f}" for name in ranked)
            sentences.append(f"The better start in {what} is {ranked[0]} ({values} {unit}).")
    costs = [
        f"{name} {times[name].clock / times[_OURS].clock:.3g} by the clock, "
        f"{times[name].processor / times[_OURS].processor:.3g} in processor time"
        for name in times
        if name != _OURS and _OURS in times
    ]
    if costs:
        sentences.append(f"A step costs, in steps of {_OURS}: {'; '.join(costs)}.")
    return " ".join(sentences)
