"""What came of the runs of a study: how far each is, its errors along the training, and its test errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nequip_elemtransfer.outcome.errors import WEIGHTED_SUM
from nequip_elemtransfer.outcome.metrics import STEPS, number, rows, test_errors
from nequip_elemtransfer.study.grid import Grid, Run, State, failure_reason, finished, run_folder, state_of
from nequip_elemtransfer.study.run.callbacks import SECONDS
from nequip_elemtransfer.study.run.training_configs import config_of, validation_size, written_config

FORCE_MAE, ENERGY_MAE, STRESS_MAE = "forces_mae", "per_atom_energy_mae", "stress_mae"
_FIELDS = {FORCE_MAE: "force_mae", ENERGY_MAE: "energy_mae", STRESS_MAE: "stress_mae", WEIGHTED_SUM: "weighted_sum"}


@dataclass(frozen=True)
class Validation:
    """Errors on the validation set in the course of a training.

    Args:
        steps: optimizer steps done
        seconds: spent in them
        force_mae: eV/Å; None if not logged, as the others
        energy_mae: eV/atom
        stress_mae: eV/Å³
        weighted_sum: of the validation metrics, by their ``coeffs``
    """

    steps: int
    seconds: float
    force_mae: float | None
    energy_mae: float | None
    stress_mae: float | None = None
    weighted_sum: float | None = None


@dataclass(frozen=True)
class RunResult:
    """A run and what came of it.

    Args:
        run: the run
        folder: of its files
        state: how far it is
        reason: why it failed, or cannot run; empty otherwise
        validations: in the order of steps, the first before the training
        tests: name of the test set -> metric -> value, of the best checkpoint; empty unless finished
        machine: see :func:`.tasks.machine`; empty unless finished
        validated_on: labelled structures besides those it is trained on; None if not known
    """

    run: Run
    folder: Path
    state: State
    reason: str
    validations: tuple[Validation, ...]
    tests: Mapping[str, Mapping[str, float]]
    machine: Mapping[str, str] = field(default_factory=dict)
    validated_on: int | None = None

    @property
    def checkpoint(self) -> Path:
        """The best model."""
        return self.folder / "best.ckpt"

    def history(self, quantity: str) -> list[tuple[int, float, float]]:
        """Steps, seconds and error of each validation that logged the quantity."""
        errors = [(v.steps, v.seconds, getattr(v, _FIELDS[quantity])) for v in self.validations]
        return [entry for entry in errors if entry[2] is not None]


def read_results(grid: Grid, out: Path) -> list[RunResult]:
    """The result of every run of a study, as far as it has come."""
    names = list(grid.test_sets)
    found = []
    for run in grid.runs:
        folder = run_folder(out, run.name)
        state, reason = state_of(folder), failure_reason(folder)
        if state is State.NOT_STARTED and run.needs and state_of(run_folder(out, run.needs)) is State.FAILED:
            reason = f"its source, {run.needs}, failed"
        noted = finished(folder)
        tests = {} if noted is None else test_errors(folder)
        named = {names[index] if index < len(names) else f"test{index}": values for index, values in tests.items()}
        held_back = validation_size(written_config(out, run.name)) if config_of(out, run.name).exists() else None
        machine = (noted or {}).get("machine", {})
        found.append(RunResult(run, folder, state, reason, validations(folder), named, machine, held_back))
    return found


def validations(folder: Path) -> tuple[Validation, ...]:
    """All validations; of one that was done again after an interruption, the last."""
    found: dict[int, Validation] = {}
    for row in rows(folder / "metrics"):
        if row.get(STEPS):
            steps = int(float(row[STEPS]))
            errors = {name: number(row.get(f"val0_epoch/{logged}")) for logged, name in _FIELDS.items()}
            found[steps] = Validation(steps, float(row[SECONDS]), **errors)
    return tuple(found[steps] for steps in sorted(found))
