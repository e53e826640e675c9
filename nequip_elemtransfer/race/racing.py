"""From a source model and labelled structures to the start that wins on folds of them, and the config that trains it.

The folder of a race holds ``plan/``, the config of each start on all structures in ``starts/``, folds of the
structures, the trainings as in a study's folder, and in the end ``train.yaml``.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from nequip_elemtransfer.checkpoints.gate import existing_file, sha256_of
from nequip_elemtransfer.config import LabelKind
from nequip_elemtransfer.intervals import Replicate
from nequip_elemtransfer.output.atomic import write_text
from nequip_elemtransfer.plan.making import fitted_start, planned
from nequip_elemtransfer.plan.report.write import COPIES, write_plan
from nequip_elemtransfer.plan.structures import ChosenStructures
from nequip_elemtransfer.plan.training.train_config import Copies, batch_size, max_steps
from nequip_elemtransfer.plan.training.training_files import completed
from nequip_elemtransfer.race.course import FULL, HALF, MARKS, SHORT, STOP_MARK, Budget, Leg, leg_config
from nequip_elemtransfer.race.entrants import (
    MAP,
    SCRATCH,
    TRANSFER,
    Entrant,
    FromScratch,
    MapAlone,
    Planned,
    Transferred,
    other_source,
)
from nequip_elemtransfer.race.folds import groups_of, held_out
from nequip_elemtransfer.race.lineup import FILE, Lineup
from nequip_elemtransfer.race.options import RaceOptions
from nequip_elemtransfer.race.pace import affordable_steps
from nequip_elemtransfer.race.result import RaceResult, read_race
from nequip_elemtransfer.race.standings import JUDGES
from nequip_elemtransfer.source import load_source
from nequip_elemtransfer.structures.reading import read_structures
from nequip_elemtransfer.structures.specs import absolute_spec, split_spec
from nequip_elemtransfer.study.grid import Grid
from nequip_elemtransfer.study.run.tasks import only_one_study, run_tasks
from nequip_elemtransfer.study.run.training_configs import write_configs

CONFIG = "train.yaml"
_FOLDERS = ("plan", "starts", "structures", "grid", "runs")


class TrainingsFailed(ValueError):
    """Trainings of a race that ended with an error."""


def prepare_race(source: str, data: str | Path, out: Path, options: RaceOptions, *, jobs: int) -> Lineup:
    """Plan the transfer, and write the folds and the config of every training; nothing of them is run.

    A folder that holds the same race already is left as it is.

    Args:
        source: see :func:`.making.plan`
        data: labelled structures of the target
        out: folder of the race
        jobs: trainings at a time, to know what minutes allow

    Raises:
        ValueError: the folder holds another race, or there are too few structures; see :func:`.making.plan` besides
    """
    file, selection = split_spec(data)
    asked = {"source": source, "sha256": _digest(source), "data": [_digest(str(file)), selection], **options.asked()}
    if (out / FILE).exists():
        lineup = Lineup.read(out)
        _refuse_another(lineup.asked, asked, out)
        return lineup
    _refuse_other_files(out)
    structures = read_structures(data, options.plan.data).structures
    model = load_source(source)
    groups = groups_of(structures, model.r_max, options.group_by)
    held_out(groups, [], options.folds, options.plan.seed)  # too few are refused before the plan is made
    chosen = ChosenStructures.of(structures, options.plan.max_structures, model.r_max)
    plan, trial = planned(source, data, options.plan)
    alone = [chosen.places[i] for i in trial.start.structures.isolated]
    folds = held_out(groups, alone, options.folds, options.plan.seed)
    entrants = _entrants(options, Planned(plan, trial, chosen.places), chosen)
    labelled = completed(structures, plan.labels, plan.reading.graph_fields, 0)[0]
    judge = _judge(plan.labels, labelled, folds)
    with _all_or_nothing(out):
        write_plan(plan, out / "plan")
        if options.minutes is None:
            steps = options.steps or max_steps(plan.n_structures)
        else:
            steps = affordable_steps(options.minutes, len(entrants), len(folds), jobs, out)
        lineup = Lineup(
            asked=asked,
            source=plan.source,
            data=absolute_spec(data),
            plan=plan.verdict.word,
            species=trial.start.config.species(trial.type_names),
            kinds=list(plan.labels),
            judge=judge,
            starts=[entrant.name for entrant in entrants],
            groups=groups.tolist(),
            folds=[fold.tolist() for fold in folds],
            budget=Budget(steps, batch_size(plan), options.device),
        )
        copies = None if plan.reading.as_they_are else (out / "plan" / COPIES[0], out / "plan" / COPIES[1])
        _write(lineup, entrants, labelled, copies, out)
    return lineup


def run_race(
    lineup: Lineup,
    out: Path,
    *,
    jobs: int,
    progress: bool = False,
    write: Callable[[RaceResult], None],
    show: Callable[[RaceResult], None],
) -> RaceResult:
    """Run what is not finished: all starts to a third of the budget, those that can still win to its end, and the
    winner with a third of the steps and with half of the structures; then write its config.

    Args:
        lineup: of :func:`prepare_race`
        out: its folder
        jobs: trainings at a time
        progress: show bars with the remaining time
        write: is given what the race says after each training
        show: is given it after each of these parts

    Raises:
        TrainingsFailed: naming the log of one
        OSError, KeyboardInterrupt: see :func:`.tasks.run_tasks`
    """

    def run(legs: Sequence[Leg], mark: int) -> RaceResult:
        laps = [leg.lap(out, mark) for leg in legs]
        tally = run_tasks(laps, out, jobs=jobs, progress=progress, after_each=lambda: write(read_race(out)))
        if tally.failed:
            task = tally.failed[0]
            raise TrainingsFailed(
                f"{len(tally.failed)} of {len(legs)} trainings failed, the first is {task.name} (its log: {task.log}): "
                "the same command goes on once that is mended."
            )
        result = read_race(out)
        _require_errors(result, legs, mark)
        write(result)
        show(result)
        return result

    def interleaved(starts: Sequence[str]) -> list[Leg]:
        """A fold of every start before the next fold, so that what is compared comes together."""
        return [leg for legs in zip(*(lineup.of(start) for start in starts)) for leg in legs]

    result = run(interleaved(lineup.starts), STOP_MARK)
    result = run(interleaved([start for start in lineup.starts if start not in result.stopped]), MARKS)
    winner = str(result.winner)
    result = run([*lineup.of(winner, SHORT), *lineup.of(winner, HALF)], STOP_MARK)
    config = out / "starts" / _config_name(winner, result.schedule)
    write_text(out / CONFIG, config.read_text(encoding="utf-8"))
    return result


def _entrants(options: RaceOptions, own: Planned, chosen: ChosenStructures) -> list[Entrant]:
    known: Mapping[str, Callable[[str, Planned], Entrant]] = {
        TRANSFER: Transferred,
        SCRATCH: FromScratch,
        MAP: MapAlone,
    }
    found = [known[name](name, own) for name in options.starts]
    proposed = replace(options.plan, elements={})  # what is asked names types of the one source
    for name, source in options.sources.items():
        _, trial = fitted_start(load_source(source), chosen, proposed)
        found.append(Transferred(name, Planned(other_source(own.plan, trial), trial, chosen.places)))
    return found


def _write(
    lineup: Lineup, entrants: Sequence[Entrant], structures: Sequence[Atoms], copies: Copies | None, out: Path
) -> None:
    """Configs and structures, and at last what marks the race as prepared."""
    steps = {FULL: lineup.budget.steps, SHORT: round(lineup.budget.steps * STOP_MARK / MARKS)}
    for folder in ("starts", "structures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for entrant, schedule in product(entrants, steps):
        text = entrant.config(steps[schedule], copies)
        text = re.sub(r"^device: \w+", f"device: {lineup.budget.device}", text, count=1, flags=re.MULTILINE)
        write_text(out / "starts" / _config_name(entrant.name, schedule), text)
    configs = {}
    for entrant in entrants:
        path = (out / "starts" / _config_name(entrant.name, FULL)).resolve()
        for schedule in (FULL, SHORT, HALF):
            for leg in lineup.of(entrant.name, schedule):
                numbers = entrant.numbers(np.array(leg.train))
                configs[leg.name] = leg_config(leg, path, numbers, lineup.species, out, lineup.budget.device)
                for file, places in zip(leg.files(out), (leg.train, leg.held_out)):
                    ase.io.write(file, [structures[i] for i in places], format="extxyz")
    with only_one_study(out):
        write_configs(configs, out)
        Grid(tuple(leg.run for leg in lineup.legs)).write(out)
    lineup.write(out)


def _require_errors(result: RaceResult, legs: Sequence[Leg], mark: int) -> None:
    """Refuse trainings that have diverged."""
    for leg in legs:
        reached = result.curves[result.judge][leg.start].get(mark) if leg.schedule == FULL else None
        if leg.schedule == FULL and (reached is None or Replicate(leg.fold) not in reached.folds):
            raise TrainingsFailed(
                f"{leg.name} has no finite errors after {mark * leg.every} steps: it has diverged. Race without "
                "this start, with another --out."
            )


def _judge(kinds: Sequence[LabelKind], structures: Sequence[Atoms], folds: Sequence[np.ndarray]) -> LabelKind:
    """The first of :data:`.standings.JUDGES` that is labelled in every fold."""
    for kind in JUDGES:
        labelled = [np.isfinite(atoms.calc.results[kind]).any() for atoms in structures] if kind in kinds else []
        if kind in kinds and all(any(labelled[i] for i in fold) for fold in folds):
            return kind
    raise ValueError(
        f"no kind of label ({', '.join(kinds)}) is in every fold, to compare starts by: label more, or give another "
        "--seed."
    )


def _config_name(start: str, schedule: str) -> str:
    return f"{start}.yaml" if schedule == FULL else f"{start}_{schedule}.yaml"


def _digest(path: str) -> str | None:
    """SHA-256 of a file; None of a model that NequIP fetches."""
    return None if path.startswith("nequip.net:") else sha256_of(existing_file(path))


@contextmanager
def _all_or_nothing(out: Path) -> Iterator[None]:
    """Remove what the block has written if it fails; nothing of it was there before."""
    try:
        yield
    except BaseException:
        for name in _FOLDERS:
            shutil.rmtree(out / name, ignore_errors=True)
        with suppress(OSError):  # it was not empty
            out.rmdir()
        raise


def _refuse_other_files(out: Path) -> None:
    found = [name for name in (*_FOLDERS, CONFIG) if (out / name).exists()]
    if found:
        raise ValueError(f"{out} holds {', '.join(found)} but no race: give another --out, or remove what is there.")


def _refuse_another(before: Mapping[str, object], now: Mapping[str, object], out: Path) -> None:
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        name = other[0]
        raise ValueError(
            f"{out} holds a race of other {'structures' if name == 'data' else name} ({before.get(name)!r}, now "
            f"{now[name]!r}): give another --out."
        )
