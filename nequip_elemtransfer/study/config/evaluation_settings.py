"""What is done with trained models besides the test set: the keys ``crystal``, ``molecules``, ``reference``,
``properties``, ``stability`` and ``plan`` of a study, read and validated, and the names of the quantities."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ase.data import atomic_numbers

from nequip_elemtransfer.materials.calculator import check_description
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import NPT, NVT, Criteria, Protocol
from nequip_elemtransfer.study.config import entries as read
from nequip_elemtransfer.study.quantities import SURFACES, VALUES

CRYSTAL, VACANCY = "crystal", "vacancy"
PROPERTIES, STABILITY, PLAN = "properties", "stability", "plan"
EAGER, AOTINDUCTOR = "eager", "aotinductor"


@dataclass(frozen=True)
class Reference:
    """What models are compared with.

    Args:
        calculator: Hydra's description of an ASE calculator, with ``_target_``; None if there is none
        values: known values of properties, in their units; they take precedence over the calculator's
    """

    calculator: Mapping[str, Any] | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MoleculeFile:
    """Molecules whose properties are calculated, in place of those of a crystal.

    Args:
        file: structures that ASE reads, each near a minimum
        element: whose bonds, angles and torsions are compared
        labels: that the structures must have
    """

    file: str
    element: str
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OfSizes:
    """Settings of an evaluation.

    Args:
        sizes: of the training sets whose models are evaluated, numbers or ``all``; None for every size
    """

    sizes: tuple[int | str, ...] | None = None

    def without_sizes(self) -> dict[str, Any]:
        """What its results depend on: all but which models are evaluated."""
        return {name: value for name, value in asdict(self).items() if name != "sizes"}


@dataclass(frozen=True)
class PropertySettings(OfSizes):
    """Which properties are calculated.

    Args:
        supercell: conventional cells along each edge, for the vacancy
        phonon_supercell: primitive cells along each edge
        surfaces: Miller indices
    """

    supercell: int = 2
    phonon_supercell: int = 3
    surfaces: tuple[str, ...] = SURFACES


@dataclass(frozen=True)
class Beginning:
    """Where simulations begin.

    Args:
        file: structures that ASE reads, of which the runs take one each in turn; None for a crystal built here
        labels: that the structures of ``file`` must have
        temperatures: K, of the simulations
    """

    temperatures: tuple[float, ...]
    file: str | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StabilitySettings(OfSizes):
    """Simulations of each model.

    Args:
        starts: name -> where simulations begin; ``crystal`` and ``vacancy`` without a file are built
        runs: simulations of each model, start and temperature
        time: ps
        timestep: fs
        ensemble: ``nvt`` or ``npt``
        supercell: conventional cells along each edge
        engine: ``eager``, or ``aotinductor``, which compiles the model first
        criteria: of failure
    """

    starts: Mapping[str, Beginning]
    runs: int = 20
    time: float = 50.0
    timestep: float = 2.0
    ensemble: str = NVT
    supercell: int = 2
    engine: str = AOTINDUCTOR
    criteria: Criteria = Criteria()

    def protocol(self, temperature: float, seed: int = 0) -> Protocol:
        """Of one simulation, at a temperature in K."""
        return Protocol(temperature, self.time, self.timestep, self.ensemble, seed)


@dataclass(frozen=True)
class PlanSettings(OfSizes):
    """What ``nequip-elemtransfer plan`` says of each transfer, with the first seed's structures.

    Args:
        source_data: structures the source was trained on; None leaves it to the checkpoint
    """

    source_data: str | None = None


@dataclass(frozen=True)
class EvaluationSettings:
    """All of it; what the study does not ask for is None."""

    crystal: Crystal | None = None
    molecules: MoleculeFile | None = None
    reference: Reference = Reference()
    properties: PropertySettings | None = None
    stability: StabilitySettings | None = None
    plan: PlanSettings | None = None

    @classmethod
    def from_mapping(cls, entries: Mapping[str, Any]) -> "EvaluationSettings":
        """Validate the entries of a study, others than :data:`KEYS` left aside.

        Raises:
            ValueError: a sentence on what is wrong
        """
        entries = {key: entries[key] for key in KEYS if entries.get(key) is not None}
        found = cls(**{key: _READERS[key](key, value) for key, value in entries.items()})
        found._check_subjects(entries)
        return found

    def _check_subjects(self, entries: Mapping[str, Any]) -> None:
        """Refuse properties and simulations of nothing, or of two things."""
        if self.crystal is not None and self.molecules is not None:
            raise ValueError("a study has `crystal` or `molecules`, not both: give each a study of its own.")
        crystal = "`crystal`, as in crystal: {structure: diamond, formula: Ge, a: 5.658}"
        if STABILITY in entries and self.crystal is None:
            raise ValueError(f"`{STABILITY}` needs {crystal}.")
        if PROPERTIES in entries and self.crystal is None and self.molecules is None:
            raise ValueError(
                f"`{PROPERTIES}` needs {crystal}, or `molecules`, as in molecules: {{file: Ge.xyz, element: Ge}}."
            )
        if self.molecules is not None and self.properties and self.reference.calculator is None:
            raise ValueError("`properties` of `molecules` need `reference.calculator`, from which they deviate.")
        if self.properties and self.crystal is not None and not self.crystal.is_elemental:
            raise ValueError(
                f"`properties` has vacancies and surfaces, which need a crystal of one element, not "
                f"{self.crystal.formula}."
            )

    def check_files(self) -> None:
        """Refuse files that are not there.

        Raises:
            FileNotFoundError: naming the first
        """
        starts = self.stability.starts if self.stability else {}
        files: dict[str, str | None] = {f"stability.starts.{name}.file": start.file for name, start in starts.items()}
        files["molecules.file"] = self.molecules.file if self.molecules else None
        files["plan.source_data"] = self.plan.source_data if self.plan else None
        for key, file in files.items():
            if file is not None:
                read.require_file(key, file)


def _calculator(key: str, value: Any) -> dict[str, Any]:
    return check_description(f"`{key}`", value)


def _reference_values(key: str, value: Any) -> dict[str, float]:
    return read.mapping(key, value, dict.fromkeys(VALUES, read.any_number))


def _element(key: str, value: Any) -> str:
    if not atomic_numbers.get(read.text(key, value)):
        raise ValueError(f"`{key}` is {value!r}, which is no chemical element.")
    return str(value)


def _surfaces(key: str, value: Any) -> tuple[str, ...]:
    for item in read.filled_list(key, value):
        if str(item) not in SURFACES:
            raise ValueError(f"`{key}` has {item!r}: choose from {', '.join(SURFACES)}.")
    return tuple(map(str, value))


def _stability(key: str, value: Any) -> StabilitySettings:
    readers: dict[str, read.Reader[Any]] = {
        "starts": read.as_it_is,
        "temperatures": read.as_it_is,
        "sizes": read.sizes,
        "runs": read.integer,
        "time": read.positive_number,
        "timestep": read.positive_number,
        "ensemble": read.one_of(NVT, NPT),
        "supercell": read.integer,
        "engine": read.one_of(EAGER, AOTINDUCTOR),
        "criteria": read.into(Criteria, {entry.name: read.positive_number for entry in fields(Criteria)}),
    }
    entry = read.mapping(key, value, readers, required=("starts",))
    starts, temperatures = entry.pop("starts"), entry.pop("temperatures", None)
    if isinstance(starts, list):
        starts = dict.fromkeys(read.text(f"{key}.starts", start) for start in starts)
    if not isinstance(starts, Mapping) or not starts:
        raise ValueError(f"`{key}.starts` must name where simulations begin, found {starts!r}.")
    beginnings = {str(name): _beginning(str(name), item, temperatures) for name, item in starts.items()}
    return StabilitySettings(beginnings, **entry)


def _beginning(name: str, value: Any, temperatures: Any) -> Beginning:
    key = f"stability.starts.{name}"
    readers = {"temperatures": read.as_it_is, "file": read.text, "labels": read.labels}
    entry = read.mapping(key, value or {}, readers)
    if "file" not in entry and name not in (CRYSTAL, VACANCY):
        raise ValueError(f"`{key}` needs `file`, structures to begin with; only {CRYSTAL} and {VACANCY} are built.")
    if not name.isidentifier():
        raise ValueError(f"`stability.starts` has the name {name!r}: use letters, digits and underscores.")
    found = entry.pop("temperatures", temperatures)
    if found is None:
        raise ValueError(f"`{key}` needs `temperatures` in K, there or for all starts in `stability.temperatures`.")
    key += ".temperatures"
    return Beginning(tuple(read.positive_number(key, t) for t in read.filled_list(key, found)), **entry)


_CRYSTAL = {"structure": read.text, "formula": read.text, "a": read.positive_number}
_MOLECULES = {"file": read.text, "element": _element, "labels": read.labels}
_PROPERTIES: dict[str, read.Reader[Any]] = {
    "sizes": read.sizes,
    "supercell": read.integer,
    "phonon_supercell": read.integer,
    "surfaces": _surfaces,
}
_READERS: dict[str, read.Reader[Any]] = {
    "crystal": read.into(Crystal, _CRYSTAL, required=tuple(_CRYSTAL)),
    "molecules": read.into(MoleculeFile, _MOLECULES, required=("file", "element")),
    "reference": read.into(Reference, {"calculator": _calculator, "values": _reference_values}),
    PROPERTIES: read.into(PropertySettings, _PROPERTIES),
    STABILITY: _stability,
    PLAN: read.into(PlanSettings, {"sizes": read.sizes, "source_data": read.text}),
}
KEYS = tuple(_READERS)
