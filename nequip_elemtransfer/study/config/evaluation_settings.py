"""What is done with trained models besides the test set: the keys ``crystal``, ``molecules``, ``reference``,
``properties``, ``stability`` and ``plan`` of a study, parsed and validated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from nequip_elemtransfer.materials.calculator_file import check_description
from nequip_elemtransfer.materials.crystal import Crystal
from nequip_elemtransfer.materials.dynamics import NPT, NVT, Criteria, Protocol
from nequip_elemtransfer.study.config.entries import (
    any_number,
    entries_of,
    field_names,
    filled_list,
    positive_integer,
    positive_number,
    text,
)
from nequip_elemtransfer.study.property_names import SURFACES, VALUES

ALL = "all"
CRYSTAL, VACANCY = "crystal", "vacancy"
PROPERTIES, STABILITY, PLAN = "properties", "stability", "plan"
KEYS = ("crystal", "molecules", "reference", PROPERTIES, STABILITY, PLAN)
EAGER, AOTINDUCTOR = "eager", "aotinductor"
REFERENCE_CALCULATOR = "`reference.calculator`"  # in messages


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


@dataclass(frozen=True)
class PropertySettings:
    """Which properties are calculated.

    Args:
        sizes: of the training sets whose models are evaluated, numbers or ``all``; None for every size
        supercell: conventional cells along each edge, for the vacancy
        phonon_supercell: primitive cells along each edge
        surfaces: Miller indices
    """

    sizes: tuple[int | str, ...] | None = None
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
class StabilitySettings:
    """Simulations of each model.

    Args:
        starts: name -> where simulations begin; ``crystal`` and ``vacancy`` without a file are built
        sizes: as in :class:`PropertySettings`
        runs: simulations of each model, start and temperature
        time: ps
        timestep: fs
        ensemble: ``nvt`` or ``npt``
        supercell: conventional cells along each edge
        engine: ``eager``, or ``aotinductor``, which compiles the model first
        criteria: of failure
    """

    starts: Mapping[str, Beginning]
    sizes: tuple[int | str, ...] | None = None
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
class PlanSettings:
    """What ``nequip-elemtransfer plan`` says of each transfer, with the first seed's structures.

    Args:
        sizes: as in :class:`PropertySettings`
        source_data: structures the source was trained on; None leaves it to the checkpoint
    """

    sizes: tuple[int | str, ...] | None = None
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
        parsers = {
            "crystal": _crystal,
            "molecules": _molecule_file,
            "reference": _reference,
            PROPERTIES: _properties,
            STABILITY: _stability,
            PLAN: _plan,
        }
        found = cls(**{key: parsers[key](value) for key, value in entries.items()})
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
        files = {f"stability.starts.{name}.file": start.file for name, start in starts.items()}
        files["molecules.file"] = self.molecules.file if self.molecules else None
        files["plan.source_data"] = self.plan.source_data if self.plan else None
        for key, file in files.items():
            if file is not None and not Path(file).is_file():
                raise FileNotFoundError(
                    f"`{key}` names {file!r}, which does not exist (relative paths start from {Path.cwd()})."
                )


def without_sizes(settings: Any) -> dict[str, Any]:
    """The settings of an evaluation that its results depend on: all but which models are evaluated."""
    return {name: value for name, value in asdict(settings).items() if name != "sizes"}


def _crystal(value: Any) -> Crystal:
    entry = entries_of("crystal", value, ("structure", "formula", "a"), required=("structure", "formula", "a"))
    words = [text(f"crystal.{name}", entry[name]) for name in ("structure", "formula")]
    return Crystal(*words, positive_number("crystal.a", entry["a"]))


def _molecule_file(value: Any) -> MoleculeFile:
    entry = entries_of("molecules", value, field_names(MoleculeFile), required=("file", "element"))
    for name in ("file", "element"):
        text(f"molecules.{name}", entry[name])
    if not atomic_numbers.get(entry["element"]):
        raise ValueError(f"`molecules.element` is {entry['element']!r}, which is no chemical element.")
    if not isinstance(entry.get("labels", {}), Mapping):
        raise ValueError(f"`molecules.labels` must be a mapping such as {{group: alkyl}}, found {entry['labels']!r}.")
    return MoleculeFile(**entry)


def _reference(value: Any) -> Reference:
    entry = entries_of("reference", value, field_names(Reference))
    calculator = entry.get("calculator")
    if calculator is not None:
        calculator = check_description(REFERENCE_CALCULATOR, calculator)
    values = entries_of("reference.values", entry.get("values", {}), tuple(VALUES))
    return Reference(calculator, {name: any_number(f"reference.values.{name}", item) for name, item in values.items()})


def _properties(value: Any) -> PropertySettings:
    entry = entries_of(PROPERTIES, {} if value is True else value, field_names(PropertySettings))
    for key in ("supercell", "phonon_supercell"):
        if key in entry:
            positive_integer(f"properties.{key}", entry[key])
    if "surfaces" in entry:
        entry["surfaces"] = tuple(_miller(item) for item in filled_list("properties.surfaces", entry["surfaces"]))
    return PropertySettings(**entry | _sizes(PROPERTIES, entry))


def _stability(value: Any) -> StabilitySettings:
    entry = entries_of(STABILITY, value, (*field_names(StabilitySettings), "temperatures"), required=("starts",))
    temperatures = entry.pop("temperatures", None)
    for key in ("runs", "supercell"):
        if key in entry:
            positive_integer(f"stability.{key}", entry[key])
    for key in ("time", "timestep"):
        if key in entry:
            entry[key] = positive_number(f"stability.{key}", entry[key])
    for key, choices in (("ensemble", (NVT, NPT)), ("engine", (EAGER, AOTINDUCTOR))):
        if entry.get(key, choices[0]) not in choices:
            raise ValueError(f"`stability.{key}` is {entry[key]!r}: choose {' or '.join(choices)}.")
    if "criteria" in entry:
        criteria = entries_of("stability.criteria", entry["criteria"], field_names(Criteria))
        entry["criteria"] = Criteria(**{k: positive_number(f"stability.criteria.{k}", v) for k, v in criteria.items()})
    starts = entry["starts"]
    if isinstance(starts, list):
        starts = dict.fromkeys(text("stability.starts", start) for start in starts)
    if not isinstance(starts, Mapping) or not starts:
        raise ValueError(f"`stability.starts` must name where simulations begin, found {starts!r}.")
    entry["starts"] = {str(name): _beginning(str(name), item, temperatures) for name, item in starts.items()}
    return StabilitySettings(**entry | _sizes(STABILITY, entry))


def _beginning(name: str, value: Any, temperatures: Any) -> Beginning:
    key = f"stability.starts.{name}"
    entry = entries_of(key, value or {}, field_names(Beginning))
    if "file" not in entry and name not in (CRYSTAL, VACANCY):
        raise ValueError(f"`{key}` needs `file`, structures to begin with; only {CRYSTAL} and {VACANCY} are built.")
    if not name.isidentifier():
        raise ValueError(f"`stability.starts` has the name {name!r}: use letters, digits and underscores.")
    if "file" in entry:
        text(f"{key}.file", entry["file"])
    found = entry.pop("temperatures", temperatures)
    if found is None:
        raise ValueError(f"`{key}` needs `temperatures` in K, there or for all starts in `stability.temperatures`.")
    return Beginning(
        tuple(positive_number(f"{key}.temperatures", t) for t in filled_list(f"{key}.temperatures", found)), **entry
    )


def _plan(value: Any) -> PlanSettings:
    entry = entries_of(PLAN, {} if value is True else value, field_names(PlanSettings))
    if "source_data" in entry:
        text("plan.source_data", entry["source_data"])
    return PlanSettings(**entry | _sizes(PLAN, entry))


def _sizes(kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry ``sizes``, validated."""
    if "sizes" not in entry:
        return {}
    sizes = filled_list(f"{kind}.sizes", entry["sizes"])
    return {"sizes": tuple(size if size == ALL else positive_integer(f"{kind}.sizes", size) for size in sizes)}


def _miller(value: Any) -> str:
    if str(value) not in SURFACES:
        raise ValueError(f"`properties.surfaces` has {value!r}: choose from {', '.join(SURFACES)}.")
    return str(value)
