"""Watches the grades of a simulation: the worst of each stretch of output, the structures to label, when to stop."""

from dataclasses import dataclass, field
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from nequip_elemtransfer.output.atomic import written_together
from nequip_elemtransfer.uncertainty.module import GRADE_KEY

# above it an atom is unlike all of the training
_KNOWN = 1.0


@dataclass
class Watch:
    """The grades of a run.

    Args:
        stop_above: grade of an atom at which the run shall end; never if left out
        stopped: the step at which it did
        largest: grade of the run
        flagged: of each stretch of output the structure with the largest grade, if that is above 1
    """

    stop_above: float | None = None
    stopped: int | None = None
    largest: float = 0.0
    flagged: list[Atoms] = field(default_factory=list)
    _worst: float = 0.0
    _structure: Atoms | None = None

    def see(self, step: int, grades: np.ndarray, atoms: Atoms) -> bool:
        """Take note of one step; says whether the run shall end.

        Args:
            grades: of the atoms, shape (n_atoms,)
        """
        worst = float(grades.max())
        if worst > max(self._worst, _KNOWN):
            self._structure = atoms.copy()
            self._structure.arrays[GRADE_KEY] = grades.copy()
            self._structure.info |= {"step": step, f"largest_{GRADE_KEY}": worst}
        self._worst, self.largest = max(worst, self._worst), max(worst, self.largest)
        if self.stopped is None and self.stop_above is not None and worst > self.stop_above:
            self.stopped = step
        return self.stopped == step

    def end_stretch(self) -> float:
        """The largest grade of the stretch that ends here; its structure is kept if that is above 1."""
        worst, structure = self._worst, self._structure
        if structure is not None:
            self.flagged.append(structure)
        self._worst, self._structure = 0.0, None
        return worst

    def write(self, path: Path, force: bool) -> int:
        """Write the flagged structures, without labels, and say how many; no file if there are none.

        Raises:
            OSError: if it cannot be written
        """
        self.end_stretch()  # a run that failed ends in the middle of one
        if self.flagged:
            with written_together([path], force=force) as (staged,):
                ase.io.write(staged, self.flagged, format="extxyz")
        return len(self.flagged)
