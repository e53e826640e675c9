"""All that a plan says."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nequip_elemtransfer.config import LabelKind, TypeStart
from nequip_elemtransfer.plan.likeness.source_structures import AdversarialStep
from nequip_elemtransfer.plan.likeness.sufficiency import Sufficiency
from nequip_elemtransfer.plan.source_check.check import SourceCheck
from nequip_elemtransfer.plan.start.calculators import Comparison
from nequip_elemtransfer.plan.start.cross_validation import Step
from nequip_elemtransfer.plan.start.length_scan import LengthScan
from nequip_elemtransfer.plan.start.ranking import Candidate
from nequip_elemtransfer.plan.training.loss import Loss
from nequip_elemtransfer.plan.training.training_files import Reading
from nequip_elemtransfer.plan.verdict import PlanVerdict
from nequip_elemtransfer.structures.options import DataOptions


@dataclass(frozen=True)
class Plan:
    """What is known of a transfer before any training.

    Args:
        source: path or id of the source
        sha256: of the source
        data: path of the target's structures
        data_options: how that file is read
        source_types: of the source
        elements, chemical_species, kept_types: the map, as in the key
        proposed: target types whose start was proposed rather than asked for
        n_structures: in ``data``
        n_evaluated: of them, evenly spaced, that were run through the model
        held_back: of them, that the training sets aside to validate on
        labels: the kinds of labels that the evaluated structures have and the source predicts
        length_scale: λ by target type
        energy_scale, energy_shifts: α and μ (eV) by target type, fitted to all evaluated structures
        length_scale_errors, energy_scale_errors: standard errors, zero where nothing was fitted, None where the
            structures do not tell one
        r_max: of the target model, Å
        ladder, scan, ranking, adversarial, sufficiency, verdict: the parts; ``scan`` is None where λ is not searched
        source_check: what the source gets wrong of its own elements; None if nothing is known
        loss: what a training should minimise
        reading: how NequIP has to read the structures
        warnings: what may go wrong
        notes: what was left out, and why
        comparison: other calculators beside the start, if there were any to compare
        structure_seconds: of an eager training step on this machine, for each of its structures; None where the source
            is not compiled
    """

    source: str
    sha256: str
    data: str
    source_types: list[str]
    elements: dict[str, TypeStart]
    chemical_species: dict[str, str]
    proposed: list[str]
    n_structures: int
    n_evaluated: int
    held_back: int
    labels: list[LabelKind]
    length_scale: dict[str, float]
    energy_scale: dict[str, float]
    energy_shifts: dict[str, float]
    length_scale_errors: dict[str, float | None]
    energy_scale_errors: dict[str, float | None]
    r_max: float
    ladder: list[Step]
    scan: LengthScan | None
    ranking: list[Candidate]
    adversarial: list[AdversarialStep]
    sufficiency: Sufficiency
    source_check: SourceCheck | None
    verdict: PlanVerdict
    loss: Loss
    reading: Reading
    warnings: list[str]
    notes: list[str]
    data_options: DataOptions = field(default_factory=DataOptions)
    comparison: Comparison | None = None
    structure_seconds: float | None = None
    kept_types: str = "frozen"

    @property
    def steps(self) -> list[Step]:
        """The rows of a table of errors: the ladder, and the calculators that the start is compared with."""
        return [*self.ladder, *(self.comparison.steps if self.comparison else ())]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return plain(asdict(self))


@dataclass(frozen=True)
class CalculatorPlan:
    """What is known of calculators before any training, where there is no model to transfer from.

    Args:
        data: path of the structures
        n_structures: in ``data``
        n_evaluated: of them, evenly spaced, that were calculated
        labels: the kinds of labels that they have
        baseline: errors of predicting no forces and the mean energy
        comparison: of the calculators
        notes: what was left out, and why
    """

    data: str
    n_structures: int
    n_evaluated: int
    labels: list[LabelKind]
    baseline: Step
    comparison: Comparison
    notes: list[str]

    @property
    def steps(self) -> list[Step]:
        """The rows of a table of errors."""
        return [self.baseline, *self.comparison.steps]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return plain(asdict(self))


def plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's, NaN as None."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
