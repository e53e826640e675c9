"""NequIP's calculator for ASE, with what a file says of how unsure it is."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from nequip.integrations.ase import NequIPCalculator

from nequip_elemtransfer.deploy.info import read_info
from nequip_elemtransfer.uncertainty.module import GRADE_KEY, UNCERTAINTY_KEY


class UncertaintyCalculator(NequIPCalculator):
    """A file of ``nequip-deploy build --uncertainty`` in ASE.

    .. code-block:: python

        from nequip_elemtransfer import UncertaintyCalculator

        atoms.calc = UncertaintyCalculator.from_compiled_model("ge.nequip.pth", device="cpu")
        atoms.get_forces()
        atoms.calc.results["forces_uncertainty"]   # σ of each component in eV/Å, shape (n_atoms, 3)
        atoms.calc.results["extrapolation_grade"]  # shape (n_atoms,)

    The names are those of apax and metatomic. The first time that an atom's grade is above 1 there is a warning. All
    else is as in NequIP's calculator.
    """

    _warned = False

    @classmethod
    def from_compiled_model(cls, compile_path: str | Path, *args: Any, **options: Any) -> "UncertaintyCalculator":
        """The calculator of a file, with the arguments of NequIP's.

        Raises:
            ValueError: the file says nothing of uncertainties
        """
        if read_info(Path(compile_path))["uncertainty"] is None:
            raise ValueError(
                f"{compile_path} says nothing of uncertainties: build it with `nequip-deploy build --uncertainty`, or "
                "use NequIPCalculator."
            )
        return super().from_compiled_model(compile_path, *args, **options)

    @classmethod
    def _get_aoti_compile_target(cls) -> dict[str, Any]:
        target = super()._get_aoti_compile_target()
        return target | {"output": [*target["output"], UNCERTAINTY_KEY, GRADE_KEY]}

    def save_extra_outputs(self, out: dict[str, Any]) -> None:
        """Keep σ and the grades, and warn once."""
        sigma, grades = (out[name].detach().cpu().numpy()[:, 0] for name in (UNCERTAINTY_KEY, GRADE_KEY))
        sigma = sigma * self.energy_units_to_eV / self.length_units_to_A
        self.results[UNCERTAINTY_KEY] = np.repeat(sigma[:, None], 3, axis=1)
        self.results[GRADE_KEY] = grades
        if grades.max() > 1 and not self._warned:
            self._warned = True
            worst = int(grades.argmax())
            warnings.warn(
                f"atom {worst} has the extrapolation grade {grades[worst]:.2f}: above 1 an atom is unlike all of the "
                f"training, and its force may be wrong (σ here: {sigma[worst]:.2g}). Further ones are in "
                f"results[{GRADE_KEY!r}] without a warning.",
                stacklevel=2,
            )
